package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"strangler/capability"
)

const root = "../.."

// The files that are shipped must be what the program accepts.
func TestShippedFiles(t *testing.T) {
	t.Setenv("LEGACY_DATABASE_URL", "postgres://mover@127.0.0.1/legacy")
	t.Setenv("ORDERS_DATABASE_URL", "postgres://mover@127.0.0.1/orders")
	t.Setenv("CATALOG_DATABASE_URL", "postgres://mover@127.0.0.1/catalog")

	c, problems := Load(filepath.Join(root, "config.yaml"))
	if len(problems) > 0 {
		t.Fatalf("config.yaml: %v", problems)
	}
	if c.Listen != "127.0.0.1:8080" || c.Admin != "127.0.0.1:8090" || c.Legacy.Database != "postgres://mover@127.0.0.1/legacy" {
		t.Errorf("config.yaml decodes to %+v", c)
	}
	if c.Routes != filepath.Join(root, "routes") || c.State != filepath.Join(root, ".strangler") {
		t.Errorf("directories are %s and %s, want them beside the file", c.Routes, c.State)
	}

	if _, problems := Load(filepath.Join(root, "deploy", "config.yaml")); len(problems) > 0 {
		t.Errorf("deploy/config.yaml: %v", problems)
	}
	if _, problems := Documents("deploy/routes", documentsIn(t, "deploy/routes")); len(problems) > 0 {
		t.Errorf("deploy/routes: %v", problems)
	}

	documents, problems := Documents(c.Routes, shipped(t))
	if len(problems) > 0 {
		t.Fatalf("routes: %v", problems)
	}
	names := []string{}
	for _, d := range documents {
		names = append(names, d.Name)
		if d.Traffic.Owner != capability.Legacy || d.Traffic.Weight != 0 || d.Data.State != capability.DataStopped {
			t.Errorf("%s is shipped in motion: %+v", d.Name, d.Traffic)
		}
	}
	if !slices.Equal(names, []string{"catalog", "orders"}) {
		t.Errorf("capabilities are %v", names)
	}
}

func shipped(t testing.TB) map[string][]byte { return documentsIn(t, "routes") }

func documentsIn(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, dir))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) == 0 {
		t.Fatalf("%s is empty", dir)
	}
	contents := map[string][]byte{}
	for _, entry := range entries {
		if contents[entry.Name()], err = os.ReadFile(filepath.Join(root, dir, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return contents
}
