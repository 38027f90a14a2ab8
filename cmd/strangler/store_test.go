package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strangler/internal/config"
	"strangler/internal/consul"
	"strangler/internal/files"
)

const twoWide = `capability: NAME
routes:
  - path: PATH
extracted:
  endpoints: [http://127.0.0.1:1]
traffic: {owner: OWNER}
`

// A change that the proxies cannot serve is no change for the controller either,
// which would otherwise act on one half of it.
func TestOverlappingChangeWaits(t *testing.T) {
	t.Parallel()
	routes := t.TempDir()
	put := func(name, path, owner string) {
		t.Helper()
		content := strings.NewReplacer("NAME", name, "PATH", path, "OWNER", owner).Replace(twoWide)
		if err := os.WriteFile(filepath.Join(routes, name+".yaml"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	store, err := newStore(config.Config{Routes: routes, State: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	put("a", "/a/{id}", "legacy")
	put("b", "/b/{id}", "legacy")
	if docs, problems, err := store.Load(t.Context()); err != nil || len(docs) != 2 || len(problems) != 0 {
		t.Fatal(docs, problems, err)
	}
	put("b", "/a/{name}", "extracted")
	docs, problems, err := store.Load(t.Context())
	if err != nil || len(docs) != 2 || len(problems) != 1 || !strings.Contains(problems[0].String(), "with equal right") {
		t.Fatal(docs, problems, err)
	}
	if d := docs[1]; d.Routes[0].Path != "/b/{id}" || d.Traffic.Owner != "legacy" || problems[0].File != d.File {
		t.Errorf("in effect: %+v, problem of %s", d, problems[0].File)
	}
}

// Who decides by an error of the store need not know which one it is.
func TestStoresFailAlike(t *testing.T) {
	t.Parallel()
	if !errors.Is(files.ErrConflict, consul.ErrConflict) || !errors.Is(files.ErrUnknown, consul.ErrUnknown) {
		t.Error("the same fault is another error in another store")
	}
}

// check reads the files that the store reads, and no others.
func TestReadDocuments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a.yaml", "b.yml", ".#a.yaml", "#a.yaml", "README.md"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	contents, err := readDirectory(dir)
	if err != nil || len(contents) != 2 || contents["a.yaml"] == nil || contents["b.yml"] == nil {
		t.Errorf("%v, %v", contents, err)
	}
}
