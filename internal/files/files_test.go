package files

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"strangler/capability"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds what tests wait for; nothing waits that long unless it fails.
const deadline = 10 * time.Second

// newStore is a store over two fresh directories. Its documents are lines of
// `name orders`, `weight 5` and `table t`, of which a broken one has `broken`.
func newStore(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	routes := filepath.Join(dir, "routes")
	if err := os.Mkdir(routes, 0o755); err != nil {
		t.Fatal(err)
	}
	return reopen(&Store{routes: routes, state: filepath.Join(dir, "state")})
}

// reopen is the same directories as another process sees them.
func reopen(s *Store) *Store {
	return New(Options{Routes: s.routes, State: s.state, Decode: decodeLines, Apply: applyLines})
}

func decodeLines(dir string, contents map[string][]byte) ([]capability.Document, []capability.Problem) {
	var documents []capability.Document
	var problems []capability.Problem
	names, tables := map[string]bool{}, map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(contents)) {
		d := capability.Document{File: filepath.Join(dir, file), Revision: fmt.Sprintf("%x", contents[file])}
		before := len(problems)
		problem := func(message string) {
			problems = append(problems, capability.Problem{File: d.File, Message: message})
		}
		for line := range strings.Lines(string(contents[file])) {
			key, text, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch key {
			case "name":
				d.Name = text
			case "weight":
				weight, err := capability.ParseWeight(text)
				if d.Traffic.Weight = weight; err != nil {
					problem(err.Error())
				}
			case "table":
				if tables[text] {
					problem("table twice: " + text)
				}
				tables[text] = true
			case "broken":
				problem("broken")
			}
		}
		if len(problems) == before && (d.Name == "" || names[d.Name]) {
			problem("no name of its own")
		}
		names[d.Name] = true
		if len(problems) == before {
			documents = append(documents, d)
		}
	}
	return documents, problems
}

func applyLines(content []byte, edit capability.Edit) ([]byte, error) {
	at := bytes.Index(content, []byte("weight "))
	if at < 0 {
		return nil, fmt.Errorf("no weight")
	}
	end := at + bytes.IndexByte(content[at:], '\n')
	return slices.Concat(content[:at], []byte("weight "+edit.Weight.String()), content[end:]), nil
}

func (s *Store) put(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.routes, file), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *Store) remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.routes, file)); err != nil {
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
	var words []string
	for _, d := range documents {
		words = append(words, d.Name+"="+d.Traffic.Weight.String())
	}
	for _, p := range problems {
		words = append(words, "!"+filepath.Base(p.File))
	}
	return strings.Join(words, " ")
}

func (s *Store) expect(t *testing.T, want string) {
	t.Helper()
	if got := s.loaded(t); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
