package config

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"strangler/capability"
	"strangler/internal/files"
)

func numbered(i int, endpoint string) string {
	return fmt.Sprintf("capability: c%d\nroutes: [{path: '/c%d/{id:[0-9]+}/**'}]\nextracted: {endpoints: [\"%s\"]}\n", i, i, endpoint)
}

// One change among 300 documents costs the parsing of one, however often the store
// looks and whoever asks; a broken one and its last good version are told apart.
func TestOnlyAChangedDocumentIsParsed(t *testing.T) {
	const many = 300
	routes, checks := t.TempDir(), 0
	reader := NewReader(func([]capability.Document) []capability.Problem { checks++; return nil })
	store := files.New(files.Options{Routes: routes, State: t.TempDir(), Decode: reader.Documents, Apply: Apply, Log: slog.New(slog.DiscardHandler)})
	write := func(i int, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(routes, fmt.Sprintf("c%d.yaml", i)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func(parses, mostChecks, problems int) map[string]capability.Document {
		t.Helper()
		before, checked := reader.parses, checks
		var docs []capability.Document
		for range 3 { // the proxy, the controller, and somebody who asks
			var found []capability.Problem
			var err error
			docs, found, err = store.Load(t.Context())
			if err != nil || len(docs) != many || len(found) != problems {
				t.Fatalf("%d documents, problems %v, %v", len(docs), found, err)
			}
		}
		if n := reader.parses - before; n != parses {
			t.Errorf("%d documents were parsed, not %d", n, parses)
		}
		if n := checks - checked; n > mostChecks {
			t.Errorf("documents were held against each other %d times, not %d at most", n, mostChecks)
		}
		by := map[string]capability.Document{}
		for _, d := range docs {
			by[d.Name] = d
		}
		return by
	}
	for i := range many {
		write(i, numbered(i, "http://127.0.0.1:1"))
	}
	load(many, 1, 0)
	load(0, 0, 0)
	write(7, numbered(7, "http://127.0.0.1:2"))
	if d := load(1, 1, 0)["c7"]; d.Extracted.Endpoints[0] != "http://127.0.0.1:2" {
		t.Errorf("the change is not served: %v", d.Extracted)
	}
	write(7, "capability: c7\nroutes: []\n")
	if d := load(1, 1, 2)["c7"]; len(d.Extracted.Endpoints) == 0 || d.Extracted.Endpoints[0] != "http://127.0.0.1:2" {
		t.Errorf("the last good version is not served: %v", d.Extracted)
	}
	write(7, numbered(7, "http://127.0.0.1:1"))
	load(0, 0, 0)
}

// Whoever changes what it was given changes nothing for others.
func TestWhatAReaderReturnsIsTheCallers(t *testing.T) {
	reader := NewReader(nil)
	contents := map[string][]byte{"a.yaml": []byte(numbered(1, "http://127.0.0.1:1"))}
	first, _ := reader.Documents("routes", contents)
	first[0].Extracted.Endpoints[0], first[0].Routes[0].Path = "http://changed", "/changed"
	second, _ := reader.Documents("routes", contents)
	if second[0].Extracted.Endpoints[0] != "http://127.0.0.1:1" || second[0].Routes[0].Path == "/changed" {
		t.Errorf("changed for others: %+v", second[0])
	}
}

// Versions that nobody asks for any more do not stay.
func TestAReaderKeepsABoundedNumberOfVersions(t *testing.T) {
	reader := NewReader(nil)
	steady := map[string][]byte{"a.yaml": []byte(numbered(1, "http://127.0.0.1:1"))}
	for i := range 3 * generation {
		contents := maps.Clone(steady)
		contents["b.yaml"] = fmt.Appendf(nil, "capability: b\n# %d\n", i)
		reader.Documents("routes", contents)
	}
	if n := len(reader.young) + len(reader.old); n > 2*generation {
		t.Errorf("%d versions are kept", n)
	}
	if len(reader.sets) > keptSets {
		t.Errorf("%d sets are kept", len(reader.sets))
	}
	if n := reader.parses; n != 3*generation+1 {
		t.Errorf("%d documents were parsed: the one that is in use was forgotten", n)
	}
}
