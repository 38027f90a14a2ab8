package cluster

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUsualPlacesAreValidPatterns(t *testing.T) {
	t.Parallel()
	for _, pattern := range usual {
		if _, err := filepath.Match(pattern, "/"); err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}

// program writes an executable script.
func program(t *testing.T, dir, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestVersionOfAFolder(t *testing.T) {
	t.Parallel()
	for output, want := range map[string]int{
		"echo 'postgres (PostgreSQL) 16.4 (Debian 16.4-1)'": 16,
		"echo 'postgres (PostgreSQL) 18beta1'":              18,
		"echo 'postgres (PostgreSQL) 9.6.24'":               9,
		"echo 'something else'":                             0,
		"exit 1":                                            0,
	} {
		dir := t.TempDir()
		program(t, dir, "postgres", output)
		if got := versionIn(t.Context(), dir); got != 0 {
			t.Errorf("%s without initdb: %d", output, got)
		}
		program(t, dir, "initdb", "exit 0")
		if got := versionIn(t.Context(), dir); got != want {
			t.Errorf("%s: %d, want %d", output, got, want)
		}
	}
}

func TestServerOnPathIsFound(t *testing.T) {
	dir := t.TempDir()
	program(t, dir, "postgres", "echo 'postgres (PostgreSQL) 99.1'")
	program(t, dir, "initdb", "exit 0")
	bin := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "postgres"), filepath.Join(bin, "postgres")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	found, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if found.Dir != real || found.Version != 99 {
		t.Errorf("found %+v, want version 99 in %s", found, real)
	}
	if psql := found.Path("psql"); psql != "psql" {
		t.Errorf("a client that is not there: %s", psql)
	}
}

func TestInstallSaysTheLineToType(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	log := slog.New(slog.DiscardHandler)
	if err := Install(t.Context(), log); !errors.Is(err, ErrNoBinaries) || !strings.Contains(err.Error(), "put its bin folder on PATH") {
		t.Errorf("without a package manager: %v", err)
	}
	name, want := "dnf", "sudo dnf install -y postgresql-server"
	if os.Geteuid() == 0 {
		name, want = "brew", "brew install postgresql@17" // which refuses to run as root
	}
	program(t, bin, name, "exit 0")
	if err := Install(t.Context(), log); !errors.Is(err, ErrNoBinaries) || !strings.Contains(err.Error(), want) {
		t.Errorf("without the rights: %v; want %q", err, want)
	}
}

func TestInstallRunsThePackageManager(t *testing.T) {
	name := "dnf"
	if os.Geteuid() != 0 {
		name = "brew"
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	program(t, bin, name, `echo "$@" >> "`+bin+`/said"`)
	log := slog.New(slog.DiscardHandler)
	if err := Install(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	if said, err := os.ReadFile(filepath.Join(bin, "said")); err != nil || !strings.HasPrefix(string(said), "install ") {
		t.Errorf("said %q, %v", said, err)
	}
	program(t, bin, name, "echo no network; exit 3")
	if err := Install(t.Context(), log); err == nil || !strings.Contains(err.Error(), "no network") {
		t.Errorf("a failed installation: %v", err)
	}
}

func TestDebianDoesNotGetASystemCluster(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "createcluster.d")
	restore, err := withoutSystemCluster(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.conf"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	if text, err := os.ReadFile(files[0]); err != nil || string(text) != "create_main_cluster = false\n" {
		t.Errorf("%q, %v", text, err)
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(files[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the wish stays: %v", err)
	}
}
