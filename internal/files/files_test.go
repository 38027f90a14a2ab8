package files

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"strangler/internal/documents/documentstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds what tests wait for; nothing waits that long unless it fails.
const deadline = 20 * time.Second

// newStore is a store over two fresh directories.
func newStore(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	routes := filepath.Join(dir, "routes")
	if err := os.Mkdir(routes, 0o755); err != nil {
		t.Fatal(err)
	}
	return reopen(New(Options{Routes: routes, State: filepath.Join(dir, "state")}))
}

// reopen is the same directories as another process sees them.
func reopen(s *Store) *Store {
	return New(Options{Routes: s.folder.Dir, State: s.state, Decode: documentstest.Decode, Apply: documentstest.Apply})
}

func (s *Store) put(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.folder.Dir, file), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *Store) remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.folder.Dir, file)); err != nil {
		t.Fatal(err)
	}
}

// loaded writes what Load returns on one line: each capability with its weight,
// then each problem.
func (s *Store) loaded(t *testing.T) string {
	t.Helper()
	documents, problems, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return documentstest.Show(documents, problems)
}

func (s *Store) expect(t *testing.T, want string) {
	t.Helper()
	if got := s.loaded(t); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
