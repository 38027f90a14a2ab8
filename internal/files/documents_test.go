package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

func TestLastGoodWins(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.expect(t, "")
	s.put(t, "a.yaml", "name a\nweight 1%\n")
	s.put(t, "b.yml", "name b\n")
	s.put(t, ".a.yaml.swp", "broken\n")
	s.put(t, "#a.yaml", "broken\n")
	s.put(t, "README.md", "broken\n")
	s.expect(t, "a=1% b=0%")
	s.put(t, "a.yaml", "name a\nbroken\n")
	s.put(t, "b.yml", "name b\nweight 2%\n")
	s.expect(t, "a=1% b=2% !a.yaml")
	reopen(s).expect(t, "a=1% b=2% !a.yaml") // a restart does not lose it
	s.put(t, "a.yaml", "name a\nweight 3%\n")
	s.expect(t, "a=3% b=2%")
	s.put(t, "a.yaml", "")
	reopen(s).expect(t, "a=3% b=2% !a.yaml")
}

func TestBrokenFromTheStart(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put(t, "a.yaml", "name a\nbroken\n")
	s.put(t, "b.yaml", "name b\n")
	s.expect(t, "b=0% !a.yaml")
}

// A change that spoils another document waits until the other has changed too.
func TestChangesThatClash(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put(t, "a.yaml", "name a\ntable t\n")
	s.put(t, "b.yaml", "name b\n")
	s.put(t, "c.yaml", "name c\n")
	s.expect(t, "a=0% b=0% c=0%")
	s.put(t, "b.yaml", "name b\ntable t\nweight 5%\n")
	s.put(t, "c.yaml", "name c\nweight 1%\n")
	s.expect(t, "a=0% b=0% c=1% !b.yaml")
	s.put(t, "c.yaml", "broken\n")
	s.put(t, "a.yaml", "name a\nweight 6%\n")
	s.expect(t, "a=6% b=5% c=1% !c.yaml")
	// The earlier file is the one that changed, the later one gets the problem.
	s.put(t, "a.yaml", "name a\ntable t\nweight 7%\n")
	s.expect(t, "a=6% b=5% c=1% !b.yaml !c.yaml")
	// A swap fits only when both come at once.
	s.put(t, "c.yaml", "name c\ntable u\n")
	s.put(t, "a.yaml", "name a\n")
	s.expect(t, "a=0% b=5% c=0%")
	s.put(t, "b.yaml", "name b\ntable u\n")
	s.put(t, "c.yaml", "name c\ntable t\n")
	s.put(t, "a.yaml", "broken\n")
	s.expect(t, "a=0% b=0% c=0% !a.yaml")
}

// Editors move the old version away before the new one is there.
func TestRemovalIsBelievedLater(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	s.put(t, "a.yaml", "name a\n")
	s.put(t, "b.yaml", "name b\n")
	s.expect(t, "a=0% b=0%")
	s.remove(t, "a.yaml")
	s.expect(t, "a=0% b=0%")
	s.put(t, "a.yaml", "name a\nweight 1%\n")
	s.expect(t, "a=1% b=0%")
	s.remove(t, "a.yaml")
	now = now.Add(2 * settle)
	s.expect(t, "a=1% b=0%") // seen for the first time
	now = now.Add(settle)
	s.expect(t, "b=0%")
	s.put(t, "a.yaml", "broken\n")
	s.expect(t, "b=0% !a.yaml") // not back from the dead
	reopen(s).expect(t, "b=0% !a.yaml")
}

// Once a move has begun, a document that is taken away is a mistake: without its
// routes, writes would go to a database that refuses them.
func TestRemovalDuringAMoveIsNotBelieved(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	s.put(t, "a.yaml", "name a\nweight 1%\n")
	s.put(t, "b.yaml", "name b\n")
	s.expect(t, "a=1% b=0%")
	begun := capability.Effective{Capability: "a", Revision: 1, Epoch: 1}
	if err := s.Publish(t.Context(), begun); err != nil {
		t.Fatal(err)
	}
	s.remove(t, "a.yaml")
	s.remove(t, "b.yaml")
	s.expect(t, "a=1% b=0%")
	now = now.Add(settle)
	s.expect(t, "a=1% !a.yaml")
	gone, err := reopen(s).Gone(t.Context())
	if err != nil || len(gone) != 1 || !strings.Contains(gone[0].String(), "the move of a has begun") {
		t.Errorf("gone: %v, %v", gone, err)
	}
	other := reopen(s) // a restart does not lose it
	other.now = func() time.Time { return now }
	other.expect(t, "a=1%")
	now = now.Add(settle)
	other.expect(t, "a=1% !a.yaml")
	s.put(t, "z.yaml", "name a\nweight 2%\n") // another file may describe it
	s.expect(t, "a=2%")
	s.remove(t, "z.yaml")
	s.expect(t, "a=2%")
	now = now.Add(settle)
	s.expect(t, "a=2% !z.yaml")
	begun.Revision, begun.Epoch = 2, 0 // the move was taken back
	if err := s.Publish(t.Context(), begun); err != nil {
		t.Fatal(err)
	}
	s.expect(t, "")
}

func TestRenamedDocument(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	s.put(t, "a.yaml", "name a\n")
	s.expect(t, "a=0%")
	if err := os.Rename(filepath.Join(s.folder.Dir, "a.yaml"), filepath.Join(s.folder.Dir, "z.yaml")); err != nil {
		t.Fatal(err)
	}
	s.expect(t, "a=0%")
	now = now.Add(settle)
	s.expect(t, "a=0%")
	if d, _, err := s.Load(t.Context()); err != nil || filepath.Base(d[0].File) != "z.yaml" {
		t.Errorf("served from %v, %v", d, err)
	}
}

// A directory that cannot be read is not an empty one.
func TestDirectoryAway(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put(t, "a.yaml", "name a\n")
	s.expect(t, "a=0%")
	if err := os.Rename(s.folder.Dir, s.folder.Dir+".away"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Load(t.Context()); err == nil {
		t.Error("a directory that is away loads as empty")
	}
	if err := os.Rename(s.folder.Dir+".away", s.folder.Dir); err != nil {
		t.Fatal(err)
	}
	s.put(t, "a.yaml", "broken\n")
	s.expect(t, "a=0% !a.yaml")
}

// A file that is there and cannot be read is a problem; the last good version
// serves.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put(t, "a.yaml", "name a\n")
	s.expect(t, "a=0%")
	s.remove(t, "a.yaml")
	if err := os.Mkdir(filepath.Join(s.folder.Dir, "a.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.expect(t, "a=0% !a.yaml")
	reopen(s).expect(t, "a=0% !a.yaml")
}

// A document may hold a password, and its file be closed to others for that: so is
// what is kept of it, also what was kept open to all before.
func TestLastGoodIsPrivate(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	private := func() {
		t.Helper()
		info, err := os.Stat(s.path("good", "orders.yaml"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	s.put(t, "orders.yaml", "name orders\n")
	s.loaded(t)
	private()
	if err := os.Chmod(s.path("good", "orders.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	reopen(s).loaded(t)
	private()
}
