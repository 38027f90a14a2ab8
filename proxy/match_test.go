package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"strangler/capability"
)

func tableOf(t testing.TB, routes ...capability.Route) *table {
	t.Helper()
	docs := []capability.Document{{Name: "c", File: "c.yaml", Routes: routes}}
	if problems := Check(docs); len(problems) > 0 {
		t.Fatal(problems)
	}
	return build(docs, func(d capability.Document) *binding { return &binding{document: d} })
}

func TestMatchMostSpecificWins(t *testing.T) {
	paths := []string{
		"/", "/api/orders", "/api/orders/**", "/api/orders/{id:[0-9]+}", "/api/orders/{slug}", "/api/orders/search",
		"/api/orders/{id:[0-9]+}/lines/{line}", "/api/orders/{id}/lines/first", "/api/orders/export-{month}.csv",
		"/api/{module}/health", "/files/{rest:.*}", "/files/{name}", "/shop/**", "/api/orders/{id:[0-9]+}/**", "/trail/",
	}
	var routes []capability.Route
	for _, p := range paths {
		routes = append(routes, capability.Route{Path: p})
	}
	table := tableOf(t, routes...)
	for path, want := range map[string]string{
		"/":                            "/",
		"/api":                         "",
		"/api/orders":                  "/api/orders",
		"/api/orders/":                 "/api/orders/**",
		"/api/orders/17":               "/api/orders/{id:[0-9]+}",
		"/api/orders/seventeen":        "/api/orders/{slug}",
		"/api/orders/search":           "/api/orders/search",
		"/api/orders/searching":        "/api/orders/{slug}",
		"/api/orders/17/lines/2":       "/api/orders/{id:[0-9]+}/lines/{line}",
		"/api/orders/x/lines/first":    "/api/orders/{id}/lines/first",
		"/api/orders/1/lines/first":    "/api/orders/{id:[0-9]+}/lines/{line}",
		"/api/orders/1/other":          "/api/orders/{id:[0-9]+}/**",
		"/api/orders/x/other":          "/api/orders/**",
		"/api/orders/export-5.csv":     "/api/orders/export-{month}.csv",
		"/api/orders/health":           "/api/orders/{slug}",
		"/api/billing/health":          "/api/{module}/health",
		"/api/ordersx":                 "",
		"/files/a":                     "/files/{name}",
		"/files/a/b":                   "/files/{rest:.*}",
		"/files/":                      "/files/{rest:.*}",
		"/shop":                        "/shop/**",
		"/shop/":                       "/shop/**",
		"/shop/a/b\nc":                 "/shop/**",
		"/shopping":                    "",
		"/trail":                       "",
		"/trail/":                      "/trail/",
		"/API/orders":                  "",
		"/" + strings.Repeat("a/", 99): "",
	} {
		got := ""
		if r := table.index.find("GET", path); r != nil {
			got = r.Path
		}
		if got != want {
			t.Errorf("%q matched %q, want %q", path, got, want)
		}
	}
}

func TestMatchMethods(t *testing.T) {
	table := tableOf(t,
		capability.Route{Path: "/o/{id}", Methods: []string{"GET", "DELETE"}},
		capability.Route{Path: "/o/search", Methods: []string{"POST"}, Class: capability.Read},
		capability.Route{Path: "/o/**", Methods: []string{"PATCH"}},
	)
	for request, want := range map[string]string{
		"GET /o/1": "/o/{id}", "HEAD /o/1": "/o/{id}", "OPTIONS /o/1": "", "POST /o/1": "", "PATCH /o/1": "/o/**",
		"POST /o/search": "/o/search", "GET /o/search": "/o/{id}", "DELETE /o/search": "/o/{id}", "PUT /o/search": "",
	} {
		method, path, _ := strings.Cut(request, " ")
		got := ""
		if r := table.index.find(method, path); r != nil {
			got = r.Path
		}
		if got != want {
			t.Errorf("%s matched %q, want %q", request, got, want)
		}
	}
}

func TestDeepLiteralTemplate(t *testing.T) {
	deep := strings.Repeat("/a", 40)
	table := tableOf(t, capability.Route{Path: deep}, capability.Route{Path: deep + "/**"}, capability.Route{Path: deep + "b"})
	for _, path := range []string{deep, deep + "b"} {
		if r := table.index.find("GET", path); r == nil || r.Path != path {
			t.Errorf("%q matched %v", path, r)
		}
	}
	if r := table.index.find("GET", deep+"/x"); r == nil || r.Path != deep+"/**" {
		t.Errorf("subtree matched %v", r)
	}
}

func TestCheck(t *testing.T) {
	doc := func(name string, routes ...capability.Route) capability.Document {
		for i := range routes {
			routes[i].Line = 10 + i
		}
		return capability.Document{Name: name, File: "routes/" + name + ".yaml", Routes: routes}
	}
	path := func(p string, methods ...string) capability.Route { return capability.Route{Path: p, Methods: methods} }
	for _, c := range []struct {
		name string
		docs []capability.Document
		want []string // one part of each problem
	}{
		{"nothing shared", []capability.Document{doc("a", path("/a/**")), doc("b", path("/b/**"))}, nil},
		{"more specific wins", []capability.Document{doc("a", path("/a/**")), doc("b", path("/a/b"))}, nil},
		{"other methods", []capability.Document{doc("a", path("/a", "GET")), doc("b", path("/a", "POST"))}, nil},
		{"the same", []capability.Document{doc("a", path("/a/b")), doc("b", path("/a/b", "PUT"))}, []string{"PUT /a/b is claimed"}},
		{"other names", []capability.Document{doc("a", path("/a/{x}")), doc("b", path("/a/{y}"))}, []string{"GET /a/a is claimed"}},
		{"disjoint expressions", []capability.Document{doc("a", path("/a/{x:[0-9]+}")), doc("b", path("/a/{y:[a-z]+}"))}, nil},
		{"expressions that meet", []capability.Document{doc("a", path("/a/{x:[0-9a]+}")), doc("b", path("/a/{y:a[bc]?|zz}"))}, []string{"GET /a/a is claimed"}},
		{"folded case", []capability.Document{doc("a", path("/a/{x:(?i)k}")), doc("b", path("/a/{y:[K]}"))}, []string{"/a/K"}},
		{"later literals differ", []capability.Document{doc("a", path("/{x}/a")), doc("b", path("/{x}/b"))}, nil},
		{"subtrees", []capability.Document{doc("a", path("/a/{x}/**")), doc("b", path("/a/{y}/**"))}, []string{"is claimed"}},
		{"HEAD meets GET", []capability.Document{doc("a", path("/a", "GET")), doc("b", path("/a", "HEAD"))}, []string{"HEAD /a"}},
		{"within one document", []capability.Document{doc("a", path("/a"), path("/a"))}, []string{"is claimed"}},
		{"twice the name", []capability.Document{doc("a"), doc("a")}, []string{"described in"}},
		{"no templates", []capability.Document{doc("a", path("a"), path("/{x"), path("/{x:[}"), path("/{x:(a)}"), path("/**/b"), path("/a//b"), path("/a/../b"), path("/ok", "get"))},
			[]string{"slash", "unbalanced", "missing", "capture groups", "last segment", "no request has", "no request has", "no method"}},
		{"endpoints", []capability.Document{{Name: "a", Extracted: capability.Upstream{Endpoints: []string{"127.0.0.1:80", "http://h/x", "ftp://h", "http://ok:1"}}}},
			[]string{"endpoint", "endpoint", "endpoint"}},
	} {
		problems := Check(c.docs)
		if len(problems) != len(c.want) {
			t.Errorf("%s: %d problems, want %d: %v", c.name, len(problems), len(c.want), problems)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(problems[i].String(), want) || problems[i].Mend == "" {
				t.Errorf("%s: problem %q, want %q", c.name, problems[i], want)
			}
		}
	}
}

// FuzzMatch holds the index against gorilla/mux, whose syntax it speaks: both
// must agree on whether a template matches, for every path in normal form.
func FuzzMatch(f *testing.F) {
	f.Add("/api/orders/{id:[0-9]+}", "/api/orders/17")
	f.Add("/a/{x}/b-{y:[a-z]{2}}.c", "/a/1/b-xy.c")
	f.Add("/a/{rest:.*}", "/a/b/c")
	f.Add("/{a:x|y/z}", "/y/z")
	f.Add("/{a:(?i)k+}/", "/K/")
	f.Add("/{a:[^x]+}/b", "/1/2/b")
	f.Fuzz(func(t *testing.T, text, in string) {
		path, _, err := normalise(in)
		if err != nil || strings.HasSuffix(text, "/**") {
			return
		}
		tpl, err := compileTemplate(text)
		if err != nil {
			return
		}
		index := &index{}
		index.add(&route{template: tpl})
		got := index.find("GET", path) != nil
		r := &http.Request{Method: "GET", URL: mustURL(path)}
		want := mux.NewRouter().NewRoute().Path(text).Match(r, &mux.RouteMatch{})
		if got != want {
			t.Fatalf("%q on %q: we say %v, mux says %v", text, path, got, want)
		}
		if want {
			if witness, both := overlap(tpl, tpl); !both {
				t.Fatalf("%q matches %q but not itself (%q)", text, path, witness)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{20, 200, 2000} {
		var routes []capability.Route
		for i := range n / 4 {
			base := fmt.Sprintf("/api/module%d", i)
			routes = append(routes, capability.Route{Path: base}, capability.Route{Path: base + "/{id:[0-9]+}"},
				capability.Route{Path: base + "/{id:[0-9]+}/lines/{line}"}, capability.Route{Path: base + "/pages/**"})
		}
		docs := []capability.Document{{Name: "c", Routes: routes}}
		table := build(docs, func(d capability.Document) *binding { return &binding{document: d} })
		path := fmt.Sprintf("/api/module%d/4711/lines/3", n/8)
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				normal, _, _ := normalise(path)
				if table.index.find("GET", normal) == nil {
					b.Fatal("no match")
				}
			}
		})
	}
}

func mustURL(path string) *url.URL { return &url.URL{Path: path} }
