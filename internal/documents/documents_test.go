package documents_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/internal/documents"
	"strangler/internal/documents/documentstest"
)

var folder = documents.Folder{Dir: "routes", Decode: documentstest.Decode, Apply: documentstest.Apply}

// contents reads `a.yaml: name a; weight 1%` from lines.
func contents(lines ...string) map[string][]byte {
	all := map[string][]byte{}
	for _, line := range lines {
		file, text, _ := strings.Cut(line, ": ")
		all[file] = []byte(strings.ReplaceAll(text, "; ", "\n") + "\n")
	}
	return all
}

func TestIsDocument(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"a.yaml": true, "a.yml": true, "a.b.yaml": true, "a": false, "a.json": false, ".a.yaml": false, "#a.yaml": false, "": false} {
		if documents.IsDocument(name) != want {
			t.Errorf("%q: want %v", name, want)
		}
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name                string
		current, good, kept []string
		want                string
	}{
		{name: "nothing"},
		{"all new", []string{"a.yaml: name a", "b.yaml: name b; weight 2%"}, nil, nil, "a=0% b=2%"},
		{"one broken", []string{"a.yaml: broken", "b.yaml: name b"}, []string{"a.yaml: name a; weight 1%"}, nil, "a=1% b=0% !a.yaml"},
		{"broken from the start", []string{"a.yaml: broken", "b.yaml: name b"}, nil, nil, "b=0% !a.yaml"},
		{"one that is kept", []string{"b.yaml: name b"}, []string{"a.yaml: name a"}, []string{"a.yaml: name a"}, "a=0% b=0%"},
		{"one that is kept, and taken", []string{"b.yaml: name a"}, nil, []string{"a.yaml: name a"}, "a=0%"},
		{"a change that spoils another waits", []string{"a.yaml: name a; table t", "b.yaml: name b; table t"},
			[]string{"a.yaml: name a; table t", "b.yaml: name b; weight 1%"}, nil, "a=0% b=1% !b.yaml"},
		{"the file with the problem need not be the one that changed", []string{"a.yaml: name a; table t; weight 7%", "b.yaml: name b; table t"},
			[]string{"a.yaml: name a; weight 6%", "b.yaml: name b; table t"}, nil, "a=6% b=0% !b.yaml"},
		{"a swap", []string{"a.yaml: name a; table u", "b.yaml: name b; table t"},
			[]string{"a.yaml: name a; table t", "b.yaml: name b; table u"}, nil, "a=0% b=0%"},
		{"a swap beside one that is broken", []string{"a.yaml: name a; table u", "b.yaml: name b; table t", "c.yaml: broken"},
			[]string{"a.yaml: name a; table t", "b.yaml: name b; table u", "c.yaml: name c"}, nil, "a=0% b=0% c=0% !c.yaml"},
		{"one after the other", []string{"a.yaml: name a; table u", "b.yaml: name b; weight 3%", "c.yaml: name c; table v", "d.yaml: broken"},
			[]string{"a.yaml: name a", "b.yaml: name b; table u", "c.yaml: name c", "d.yaml: name d; table v"}, nil, "a=0% b=3% c=0% d=0% !d.yaml"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			served := folder.Serve(contents(row.current...), contents(row.good...), contents(row.kept...))
			if got := documentstest.Show(served.Documents, served.Problems); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// Whatever people write: what is served has no problem, is what is there or was good,
// and lacks no document that was good and still stands there.
func FuzzServe(f *testing.F) {
	f.Add("abt", "a7bxct")
	f.Add("atbu", "aubt")
	f.Fuzz(func(t *testing.T, before, after string) {
		good := folder.Serve(spell(before), nil, nil).Contents
		current := spell(after)
		served := folder.Serve(current, good, nil)
		if _, problems := folder.Decode("", served.Contents); len(problems) > 0 {
			t.Fatalf("%q, then %q: served with %v", before, after, problems)
		}
		for file, content := range served.Contents {
			if !bytes.Equal(content, current[file]) && !bytes.Equal(content, good[file]) {
				t.Errorf("%s is neither new nor old: %q", file, content)
			}
		}
		if len(served.Problems) == 0 && !maps.EqualFunc(served.Contents, current, bytes.Equal) {
			t.Errorf("all is well, and %q is served of %q", served.Contents, current)
		}
		for file := range good {
			if _, there := current[file]; there && served.Contents[file] == nil {
				t.Errorf("%q, then %q: %s is not served", before, after, file)
			}
		}
	})
}

// spell turns each of at most a dozen letters into a line of one of three documents.
func spell(letters string) map[string][]byte {
	all := map[string][]byte{}
	for i, letter := range []byte(letters[:min(len(letters), 12)]) {
		file := fmt.Sprintf("%c.yaml", 'a'+i%3)
		line := []string{"name a", "name b", "name c", "table t", "table u", "weight 1%", "weight 7", "broken"}[letter%8]
		all[file] = append(all[file], line+"\n"...)
	}
	return all
}

func TestMissing(t *testing.T) {
	t.Parallel()
	begun := documents.Begun(map[string]capability.Effective{"a": {Epoch: 1}, "b": {Epoch: 1}, "c": {Epoch: 0}})
	missing := folder.Missing(contents("z.yaml: name b", "d.yaml: broken"),
		contents("a.yaml: name a", "b.yaml: name b", "c.yaml: name c", "d.yaml: name d"), begun)
	var got []string
	for _, m := range missing {
		got = append(got, fmt.Sprint(m.File, m.Capability, m.Needed))
	}
	if want := []string{"a.yamlatrue", "b.yamlbfalse", "c.yamlcfalse"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	gone := folder.Gone(missing[0], "/good/a.yaml")
	if gone.File != "routes/a.yaml" || !strings.Contains(gone.Message, "the move of a has begun") || !strings.HasPrefix(gone.Mend, "put it back from /good/a.yaml, or") {
		t.Errorf("got %+v", gone)
	}
}

func TestEdit(t *testing.T) {
	t.Parallel()
	weight := func(w capability.Weight) capability.Edit { return capability.Edit{Weight: &w} }
	for _, row := range []struct {
		name    string
		current []string
		edit    capability.Edit
		replace error
		file    string // that is replaced
		fail    error
		why     string
	}{
		{name: "of several", current: []string{"a.yaml: name other; weight 0%", "b.yaml: name orders; weight 0%"}, edit: weight(500), file: "b.yaml"},
		{name: "that changes nothing", current: []string{"b.yaml: name orders; weight 5%"}, edit: weight(500)},
		{name: "that mends", current: []string{"b.yaml: name orders; weight auto"}, edit: weight(500), file: "b.yaml"},
		{name: "of what is not there", current: []string{"a.yaml: name other"}, edit: weight(500), fail: documents.ErrUnknown},
		{name: "of what is broken", current: []string{"a.yaml: name orders; weight 1%; broken"}, edit: weight(500), fail: documents.ErrUnknown, why: "a.yaml: broken"},
		{name: "that cannot be made", current: []string{"a.yaml: name orders"}, edit: weight(500), why: "no weight"},
		{name: "too late", current: []string{"a.yaml: name orders; weight 0%"}, edit: weight(500), file: "a.yaml", replace: documents.ErrConflict, fail: documents.ErrConflict},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			replaced := ""
			revision, err := folder.Edit("orders", row.edit, contents(row.current...), func(file string, content []byte) error {
				replaced = file
				if !bytes.Contains(content, []byte("weight 5%\n")) {
					t.Errorf("becomes %q", content)
				}
				return row.replace
			})
			if replaced != row.file || row.fail != nil && !errors.Is(err, row.fail) || (err == nil) != (row.fail == nil && row.why == "") || (revision == "") != (err != nil) {
				t.Errorf("replaced %q, revision %q, %v", replaced, revision, err)
			}
			if row.why != "" && !strings.Contains(err.Error(), row.why) {
				t.Errorf("does not say why: %v", err)
			}
		})
	}
}
