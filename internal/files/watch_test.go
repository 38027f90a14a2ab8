package files

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"strangler/capability"
)

// woken waits for a signal after which what is read is as wanted.
func woken(t *testing.T, signals <-chan struct{}, what string, as func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	timeout := time.After(deadline)
	for {
		select {
		case _, open := <-signals:
			if !open {
				t.Fatalf("%s: the channel was closed", what)
			}
			if as() {
				return time.Since(start)
			}
		case <-timeout:
			t.Fatalf("%s: not woken", what)
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put(t, "a.yaml", "name a\n")
	s.expect(t, "a=0%")
	ctx, cancel := context.WithCancel(t.Context())
	signals := s.Watch(ctx)
	is := func(want string) func() bool { return func() bool { return s.loaded(t) == want } }
	path := filepath.Join(s.folder.Dir, "a.yaml")

	var took []time.Duration
	for i := range 5 {
		w := capability.Weight(100 * (i + 1))
		s.put(t, "a.yaml", "name a\nweight "+w.String()+"\n")
		took = append(took, woken(t, signals, "saved in place", is("a="+w.String())))
	}
	if fastest := slices.Min(took); fastest > poll/10 {
		t.Errorf("woken after %v at best: only polling", fastest)
	}

	s.put(t, "new~", "name a\nweight 20%\n")
	if err := os.Rename(path, path+"~"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.folder.Dir, "new~"), path); err != nil {
		t.Fatal(err)
	}
	woken(t, signals, "saved by renaming", is("a=20%"))

	if _, err := s.Edit(t.Context(), "a", weight(3000)); err != nil {
		t.Fatal(err)
	}
	woken(t, signals, "edited", is("a=30%"))

	if err := reopen(s).Publish(t.Context(), capability.Effective{Capability: "a", Revision: 1}); err != nil {
		t.Fatal(err)
	}
	woken(t, signals, "published", func() bool {
		states, err := s.Effective(t.Context())
		return err == nil && states["a"].Revision == 1
	})

	s.remove(t, "a.yaml")
	woken(t, signals, "removed", is(""))

	cancel()
	timeout := time.After(deadline)
	for open := true; open; {
		select {
		case _, open = <-signals:
		case <-timeout:
			t.Fatal("the channel stays open")
		}
	}
}

// A reader that is busy when a document goes sees it for the first time when the
// watch has nothing more to say of it, and yet is told when it may be believed.
func TestRemovalIsBelievedByASlowReader(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	start := time.Now()
	s.now = func() time.Time { return start.Add(time.Since(start) / 5) } // for it the time to settle is five times as long
	s.put(t, "a.yaml", "name a\n")
	s.expect(t, "a=0%")
	signals := s.Watch(t.Context())
	s.remove(t, "a.yaml")
	woken(t, signals, "removed", func() bool { return s.loaded(t) == "" })
}

// The directory is replaced, as by a checkout or a mount: its watch is gone with
// it, the next look finds the new one and watches it.
func TestWatchReplacedDirectory(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put(t, "a.yaml", "name a\n")
	s.expect(t, "a=0%")
	signals := s.Watch(t.Context())
	if err := os.Rename(s.folder.Dir, s.folder.Dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.folder.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.put(t, "a.yaml", "name a\nweight 1%\n")
	woken(t, signals, "replaced", func() bool { return s.loaded(t) == "a=1%" })
	s.put(t, "a.yaml", "name a\nweight 2%\n")
	woken(t, signals, "saved after that", func() bool { return s.loaded(t) == "a=2%" })
}

// Bursts are one signal to a reader that is busy, and every reader has its own.
func TestWatchCoalesces(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	one, two := s.Watch(t.Context()), s.Watch(t.Context())
	for range 100 {
		s.put(t, "a.yaml", "name a\n")
	}
	for _, signals := range []<-chan struct{}{one, two} {
		woken(t, signals, "a burst", func() bool { return true })
		if cap(signals) != 1 {
			t.Errorf("%d slots", cap(signals))
		}
	}
}
