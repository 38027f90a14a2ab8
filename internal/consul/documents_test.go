package consul

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"strangler/internal/documents/documentstest"
)

func TestLastGoodWins(t *testing.T) {
	s := newStore(t)
	s.expect(t, "")
	s.put(t, "a.yaml", "name a\nweight 1%\n")
	s.put(t, "b.yml", "name b\n")
	if _, err := s.client.KV().Put(pair(s.key(routes, "deep/c.yaml"), "broken\n"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.KV().Put(pair(s.key(routes, "README.md"), "broken\n"), nil); err != nil {
		t.Fatal(err)
	}
	s.expect(t, "a=1% b=0%")
	s.put(t, "a.yaml", "name a\nbroken\n")
	s.put(t, "b.yml", "name b\nweight 2%\n")
	s.expect(t, "a=1% b=2% !a.yaml")
	s.another(t).expect(t, "a=1% b=2% !a.yaml") // a restart does not lose it
	s.elsewhere(t).expect(t, "b=2% !a.yaml")
	s.put(t, "a.yaml", "name a\nweight 3%\n")
	s.expect(t, "a=3% b=2%")
	if d, _, err := s.Load(t.Context()); err != nil || d[0].File != s.prefix+"/routes/a.yaml" {
		t.Errorf("%v, %v", d, err)
	}
}

// A change that spoils another document waits until the other has changed too.
func TestChangesThatClash(t *testing.T) {
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
	s.put(t, "a.yaml", "name a\ntable t\nweight 7%\n")
	s.expect(t, "a=6% b=5% c=1% !b.yaml !c.yaml")
}

// One document that is removed is believed; all at once are held for a while, also
// by a process that starts meanwhile; and then that is believed, too.
func TestAllDocumentsGone(t *testing.T) {
	s := newStore(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	s.put(t, "a.yaml", "name a\n")
	s.put(t, "b.yaml", "name b\n")
	s.put(t, "c.yaml", "name c\n")
	s.expect(t, "a=0% b=0% c=0%")
	s.remove(t, "c.yaml")
	s.expect(t, "a=0% b=0%")
	s.lose(t, routes)
	s.expect(t, "a=0% b=0% !a.yaml !b.yaml")
	s.another(t).expect(t, "a=0% b=0% !a.yaml !b.yaml")
	s.put(t, "b.yaml", "name b\n")
	s.expect(t, "b=0%") // something is left, and a was removed
	s.lose(t, routes)
	now = now.Add(s.bounds.patience)
	s.expect(t, "b=0% !b.yaml") // seen for the first time
	now = now.Add(s.bounds.patience)
	s.expect(t, "")
	s.another(t).expect(t, "")
}

// Nobody removes states: where they vanish together with the documents, Consul has
// lost its data, and what was served is served until somebody stores a document.
func TestDataLostWithAllStatesIsNotBelieved(t *testing.T) {
	s := newStore(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	s.put(t, "a.yaml", "name a\n")
	s.put(t, "b.yaml", "name b\n")
	s.publish(t, "a", 1, 0)
	s.expect(t, "a=0% b=0%")
	s.lose(t, routes)
	s.lose(t, effective)
	s.expect(t, "a=0% b=0% !a.yaml !b.yaml !a")
	now = now.Add(100 * s.bounds.patience)
	s.expect(t, "a=0% b=0% !a.yaml !b.yaml !a")
	s.another(t).expect(t, "a=0% b=0% !a.yaml !b.yaml !a")
	s.publish(t, "a", 2, 0) // the controller's next change brings its state back, and no document
	s.expect(t, "a=0% b=0% !a.yaml !b.yaml")
	now = now.Add(100 * s.bounds.patience)
	s.expect(t, "a=0% b=0% !a.yaml !b.yaml")
	s.put(t, "b.yaml", "name b\n")
	s.expect(t, "b=0%")
}

// The watch comes back by itself when the patience is over.
func TestEmptinessIsBelievedWithoutAnotherChange(t *testing.T) {
	s := newStore(t)
	s.bounds.patience = 200 * time.Millisecond
	signals := s.watching(t)
	s.put(t, "a.yaml", "name a\n")
	s.become(t, signals, "a=0%")
	s.lose(t, routes)
	s.become(t, signals, "")
}

// Once a move has begun, a document that is taken away is a mistake: without its
// routes, writes would go to a database that refuses them.
func TestRemovalDuringAMoveIsNotBelieved(t *testing.T) {
	s := newStore(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	s.put(t, "a.yaml", "name a\nweight 1%\n")
	s.put(t, "b.yaml", "name b\n")
	s.expect(t, "a=1% b=0%")
	s.publish(t, "a", 1, 1)
	s.remove(t, "a.yaml")
	s.expect(t, "a=1% b=0% !a.yaml")
	gone, err := s.another(t).Gone(t.Context())
	if err != nil || len(gone) != 1 || !strings.Contains(gone[0].String(), "the move of a has begun") {
		t.Errorf("gone: %v, %v", gone, err)
	}
	s.another(t).expect(t, "a=1% b=0% !a.yaml") // a restart does not lose it
	s.put(t, "z.yaml", "name a\nweight 2%\n")   // another file may describe it
	s.expect(t, "b=0% a=2%")
	s.lose(t, "") // even everything, its state included
	now = now.Add(time.Hour)
	s.expect(t, "b=0% a=2% !z.yaml !b.yaml !a")
	s.put(t, "c.yaml", "name c\n") // from then on somebody tells which documents there are
	s.expect(t, "c=0% a=2% !z.yaml !a")
	s.another(t).expect(t, "c=0% a=2% !z.yaml !a")
	s.publish(t, "a", 2, 0) // the move was taken back
	s.expect(t, "c=0%")
}

func TestDocumentsOfTheCommandLine(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	s.put(t, "a.yaml", "name a\nbroken\n")
	contents, err := s.Contents(ctx)
	if err != nil || !slices.Equal(slices.Sorted(maps.Keys(contents)), []string{"a.yaml"}) || string(contents["a.yaml"]) != "name a\nbroken\n" {
		t.Errorf("contents: %q, %v", contents, err)
	}
	for _, name := range []string{"", "a", ".a.yaml", "../a.yaml", "x/a.yaml", "#a.yaml"} {
		if s.Put(ctx, name, nil) == nil || !errors.Is(s.Remove(ctx, name), ErrUnknown) {
			t.Errorf("%q can be put or removed", name)
		}
	}
	if err := s.Remove(ctx, "b.yaml"); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if err := s.Put(ctx, "b.yaml", make([]byte, largest+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if err := s.Put(ctx, "b.yaml", make([]byte, largest)); err != nil {
		t.Errorf("what just fits: %v", err)
	}
	s.remove(t, "b.yaml")
	s.remove(t, "a.yaml")
	if contents, err := s.Contents(ctx); err != nil || len(contents) != 0 {
		t.Errorf("left: %q, %v", contents, err)
	}
}

func weight(w capability.Weight) capability.Edit { return capability.Edit{Weight: &w} }

func TestEdit(t *testing.T) {
	s := newStore(t)
	s.put(t, "1.yaml", "name other\nweight 0%\n")
	s.put(t, "2.yaml", "name orders # kept\nname orders\nweight 0%\n")
	revision, err := s.Edit(t.Context(), "orders", weight(500))
	if err != nil {
		t.Fatal(err)
	}
	contents, err := s.Contents(t.Context())
	if got := string(contents["2.yaml"]); err != nil || got != "name orders # kept\nname orders\nweight 5%\n" {
		t.Errorf("got %q, %v", got, err)
	}
	documents, _, err := s.Load(t.Context())
	if err != nil || documents[1].Revision != revision {
		t.Errorf("revision %q is not that of %+v, %v", revision, documents, err)
	}
	index := s.keys(t, routes)[1].ModifyIndex
	if again, err := s.Edit(t.Context(), "orders", weight(500)); err != nil || again != revision {
		t.Errorf("an edit that changes nothing: %q, %v", again, err)
	}
	if got := s.keys(t, routes)[1].ModifyIndex; got != index {
		t.Errorf("an edit that changes nothing was written")
	}
	s.put(t, "2.yaml", "name orders\nweight auto\n")
	if _, err := s.Edit(t.Context(), "orders", weight(100)); err != nil {
		t.Errorf("an edit that mends: %v", err)
	}
}

func TestEditRefuses(t *testing.T) {
	s := newStore(t)
	if _, err := s.Edit(t.Context(), "orders", weight(1)); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	s.put(t, "a.yaml", "name orders\nweight 1%\nbroken\n")
	_, err := s.Edit(t.Context(), "orders", weight(1))
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "a.yaml: broken") {
		t.Errorf("does not say why: %v", err)
	}
	s.put(t, "a.yaml", "name orders\n")
	if _, err := s.Edit(t.Context(), "orders", weight(1)); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

// Who saves while an edit is made wins, and the editor is told.
func TestEditConflict(t *testing.T) {
	s := newStore(t)
	s.put(t, "a.yaml", "name orders\nweight 0%\n")
	s.folder.Apply = func(content []byte, edit capability.Edit) ([]byte, error) {
		s.put(t, "a.yaml", "name orders\nweight 7%\n")
		return documentstest.Apply(content, edit)
	}
	if _, err := s.Edit(t.Context(), "orders", weight(100)); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v", err)
	}
	s.expect(t, "orders=7%")
}
