package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/internal/documents/documentstest"
)

func weight(w capability.Weight) capability.Edit { return capability.Edit{Weight: &w} }

func (s *Store) content(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(s.folder.Dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestEdit(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put(t, "1.yaml", "name other\nweight 0%\n")
	s.put(t, "2.yaml", "name orders # kept\nname orders\nweight 0%\n")
	if err := os.Chmod(filepath.Join(s.folder.Dir, "2.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	revision, err := s.Edit(t.Context(), "orders", weight(500))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.content(t, "2.yaml"); got != "name orders # kept\nname orders\nweight 5%\n" {
		t.Errorf("got %q", got)
	}
	if info, err := os.Stat(filepath.Join(s.folder.Dir, "2.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	documents, _, err := s.Load(t.Context())
	if err != nil || documents[1].Revision != revision {
		t.Errorf("revision %q is not that of %+v, %v", revision, documents, err)
	}
	if again, err := s.Edit(t.Context(), "orders", weight(500)); err != nil || again != revision {
		t.Errorf("an edit that changes nothing: %q, %v", again, err)
	}
	if entries, err := os.ReadDir(s.folder.Dir); err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestEditRefuses(t *testing.T) {
	t.Parallel()
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
	if got := s.content(t, "a.yaml"); got != "name orders\n" {
		t.Errorf("changed to %q", got)
	}
}

func TestEditMendsWhatIsBroken(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put(t, "a.yaml", "name orders\nweight auto\n")
	if _, err := s.Edit(t.Context(), "orders", weight(100)); err != nil {
		t.Fatal(err)
	}
	s.expect(t, "orders=1%")
}

func TestEditFollowsLinks(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	target := filepath.Join(t.TempDir(), "real")
	if err := os.WriteFile(target, []byte("name orders\nweight 0%\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(s.folder.Dir, "a.yaml")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Edit(t.Context(), "orders", weight(100)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	s.expect(t, "orders=1%")
}

// Who saves while an edit is made wins, and the editor is told.
func TestEditConflict(t *testing.T) {
	t.Parallel()
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
