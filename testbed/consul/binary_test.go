package consul

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestManyWantItOneBuilds(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "deep", "consul")
	var builds atomic.Int32
	build := func(_ context.Context, output string) error {
		builds.Add(1)
		return os.WriteFile(output, []byte("agent"), 0o755)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := buildOnce(t.Context(), slog.New(slog.DiscardHandler), binary, build); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := builds.Load(); n != 1 {
		t.Errorf("built %d times", n)
	}
	if text, err := os.ReadFile(binary); err != nil || !bytes.Equal(text, []byte("agent")) {
		t.Errorf("binary: %q, %v", text, err)
	}
}

func TestFailedBuildLeavesNoBinary(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "consul")
	broken := errors.New("compiler is out")
	fail := func(_ context.Context, output string) error {
		return errors.Join(broken, os.WriteFile(output, []byte("half"), 0o755))
	}
	if err := buildOnce(t.Context(), slog.New(slog.DiscardHandler), binary, fail); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if exists(binary) {
		t.Error("a binary after a failed build")
	}
}

// The version in the file name must be the version that is built, or a cached old one would pass for the new.
func TestVersionIsThePinnedOne(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(toolsDir(), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if want := source + " v" + Version; !strings.Contains(string(text), want+" ") && !strings.Contains(string(text), want+"\n") {
		t.Errorf("tools/consul/go.mod does not pin %s", want)
	}
}
