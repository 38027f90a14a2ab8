package match

import (
	"fmt"
	"testing"

	"strangler/capability"
)

// Of 300 documents with seven routes each, one that changes a path costs the
// compilation of one template, in the check and in the table together.
func TestATemplateIsCompiledOnce(t *testing.T) {
	var docs []capability.Document
	for i := range 300 {
		d := capability.Document{Name: fmt.Sprintf("c%d", i)}
		for j := range 7 {
			d.Routes = append(d.Routes, capability.Route{Path: fmt.Sprintf("/once%d/r%d/{id:[0-9]+}/**", i, j)})
		}
		docs = append(docs, d)
	}
	serve := func() int {
		t.Helper()
		before := compilations.compiled
		if problems := Check(docs); len(problems) > 0 {
			t.Fatal(problems)
		}
		var routes []capability.Route
		for _, d := range docs {
			routes = append(routes, d.Routes...)
		}
		if _, err := Compile(routes); err != nil {
			t.Fatal(err)
		}
		return compilations.compiled - before
	}
	if n := serve(); n != 2100 {
		t.Errorf("%d templates were compiled at first, not 2100", n)
	}
	docs[7].Routes[3].Path = "/once7/other/{id:[a-z]+}"
	if n := serve(); n != 1 {
		t.Errorf("one path has changed, and %d templates were compiled", n)
	}
}

func TestCompiledTemplatesAreBounded(t *testing.T) {
	var r recent[int]
	for i := range 3*lately + 1 {
		if _, err := r.get(fmt.Sprint(i), func() (int, error) { return i, nil }); err != nil {
			t.Fatal(err)
		}
		if v, _ := r.get("0", func() (int, error) { return -1, nil }); v != 0 {
			t.Fatalf("one that is in use was made anew after %d others", i)
		}
	}
	if n := len(r.young) + len(r.old); n > 2*lately {
		t.Errorf("%d are kept", n)
	}
}
