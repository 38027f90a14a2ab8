package match

import (
	"net/http"
	"strings"
	"testing"

	"strangler/capability"
)

// indexOf compiles routes that may be served together.
func indexOf(t testing.TB, routes ...capability.Route) *Index {
	t.Helper()
	if problems := Check([]capability.Document{{Name: "c", File: "c.yaml", Routes: routes}}); len(problems) > 0 {
		t.Fatal(problems)
	}
	x, err := Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// request reads "METHOD host/path?query" and headers as in "X-A: 1".
func request(t testing.TB, text string, headers ...string) *Request {
	t.Helper()
	method, rest, _ := strings.Cut(text, " ")
	rest, query, _ := strings.Cut(rest, "?")
	host := rest[:strings.IndexByte(rest, '/')]
	path, err := Normalise(rest[len(host):])
	if err != nil {
		t.Fatal(err)
	}
	q := &Request{Method: method, Host: host, Path: path, Header: http.Header{}, RawQuery: query}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		q.Header.Add(name, value)
	}
	return q
}

func TestMostSpecificPathWins(t *testing.T) {
	paths := []string{
		"/", "/api/orders", "/api/orders/**", "/api/orders/{id:[0-9]+}", "/api/orders/{slug}", "/api/orders/search",
		"/api/orders/{id:[0-9]+}/lines/{line}", "/api/orders/{id}/lines/first", "/api/orders/export-{month}.csv",
		"/api/{module}/health", "/files/{rest:.*}", "/files/{name}", "/shop/**", "/api/orders/{id:[0-9]+}/**", "/trail/",
		"/{a:[0-9]+}/{b}", "/{a:[0-9a-f]+}/x", "/v/a{x}/{y}", "/v/{x}b/z", "/spans/{a:.+}/edit", "/spans/{a:.+}/{b}", "/a%2Fb/{x}", "/spans/{a:.+}/{b:[0-9]+}",
	}
	var routes []capability.Route
	for _, p := range paths {
		routes = append(routes, capability.Route{Path: p})
	}
	x := indexOf(t, routes...)
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
		"/files/a%2Fb":                 "/files/{name}",
		"/shop":                        "/shop/**",
		"/shop/":                       "/shop/**",
		"/shop/a/b%0Ac":                "/shop/**",
		"/shop/../x":                   "/shop/**", // for a caller that allows it
		"/shopping":                    "",
		"/shop%2Fa":                    "",
		"/trail":                       "",
		"/trail/":                      "/trail/",
		"/API/orders":                  "",
		"/1/x":                         "/{a:[0-9a-f]+}/x", // both kinds of number match; the literal behind decides
		"/1/y":                         "/{a:[0-9]+}/{b}",
		"/f/y":                         "",
		"/v/ab/z":                      "/v/{x}b/z",
		"/v/ab/y":                      "/v/a{x}/{y}",
		"/spans/a/b/edit":              "/spans/{a:.+}/edit",
		"/spans/a/b/view":              "/spans/{a:.+}/{b}",
		"/spans/a/b/1":                 "/spans/{a:.+}/{b:[0-9]+}",
		"/spans/edit":                  "",
		"/a%2fb/x":                     "/a%2Fb/{x}",
		"/a/b/x":                       "",
		"/" + strings.Repeat("a/", 99): "",
	} {
		got := ""
		if route, ok := x.Find(request(t, "GET "+path)); ok {
			got = paths[route]
		}
		if got != want {
			t.Errorf("%q matched %q, want %q", path, got, want)
		}
	}
}

func TestConditions(t *testing.T) {
	header := func(pairs ...string) (out []capability.Condition) {
		for _, p := range pairs {
			name, value, _ := strings.Cut(p, "=")
			out = append(out, capability.Condition{Name: name, Value: value})
		}
		return out
	}
	names := []string{"any", "wild", "exact", "exact acme", "exact acme beta", "any v2", "any v2 debug", "post", "deeper", "v6", "digits", "digits wild", "hex exact", "hex two"}
	x := indexOf(t,
		capability.Route{Path: "/o/{id}", Methods: []string{"GET", "DELETE"}},
		capability.Route{Path: "/o/{id}", Host: "*.example.com"},
		capability.Route{Path: "/o/{id}", Host: "shop.example.com"},
		capability.Route{Path: "/o/{id}", Host: "shop.example.com", Headers: header("x-tenant=acme")},
		capability.Route{Path: "/o/{id}", Host: "shop.example.com", Headers: header("X-Tenant=acme", "X-Beta")},
		capability.Route{Path: "/o/{id}", Query: header("v=2")},
		capability.Route{Path: "/o/{id}", Query: header("v=2", "de bug")},
		capability.Route{Path: "/o/{id}", Methods: []string{"POST"}},
		capability.Route{Path: "/o/x", Methods: []string{"PATCH"}},
		capability.Route{Path: "/o/{id}", Host: "[::1]"},
		capability.Route{Path: "/n/{id:[0-9]+}"},
		capability.Route{Path: "/n/{id:[0-9]+}", Host: "*.example.com"},
		capability.Route{Path: "/n/{id:[0-9a-f]+}", Host: "shop.example.com"},
		capability.Route{Path: "/n/{id:[0-9a-f]+}", Headers: header("X-A", "X-B")},
	)
	for _, c := range []struct {
		request string
		headers []string
		want    string
	}{
		{"GET other.org/o/1", nil, "any"},
		{"HEAD other.org/o/1", nil, "any"},
		{"OPTIONS other.org/o/1", nil, ""},
		{"POST other.org/o/1", nil, "post"},
		{"GET /o/1", nil, "any"},
		{"GET www.example.com/o/1", nil, "wild"},
		{"PUT WWW.Example.COM.:8443/o/1", nil, "wild"},
		{"GET example.com/o/1", nil, "any"},
		{"GET .example.com/o/1", nil, "any"},
		{"GET a.b.example.com/o/1", nil, "any"},
		{"GET shop.example.com:80/o/1", nil, "exact"},
		{"GET shop.example.com/o/1?v=2", nil, "exact"}, // the host goes before conditions
		{"GET shop.example.com/o/1", []string{"X-Tenant: globex"}, "exact"},
		{"GET shop.example.com/o/1", []string{"X-Tenant: acme"}, "exact acme"},
		{"GET shop.example.com/o/1", []string{"X-Tenant: globex", "X-Tenant: acme"}, "exact acme"},
		{"GET shop.example.com/o/1", []string{"X-Tenant: acme,globex"}, "exact"},
		{"GET shop.example.com/o/1", []string{"X-Tenant: acme", "X-Beta: "}, "exact acme beta"},
		{"GET shop.example.com/o/1", []string{"X-Beta: 1"}, "exact"},
		{"PATCH shop.example.com/o/x", []string{"X-Tenant: acme"}, "deeper"}, // the path goes before the host
		{"PUT shop.example.com/o/x", nil, "exact"},                           // but claims no PUT
		{"GET other.org/o/1?v=2", nil, "any v2"},
		{"PUT other.org/o/1?a&&v=1&%76=%32", nil, "any v2"},
		{"GET other.org/o/1?v=2&de+bug", nil, "any v2 debug"},
		{"GET other.org/o/1?de%20bug=x;y&v=2", nil, "any v2 debug"},
		{"GET other.org/o/1?v=2&de+bug=%zz", nil, "any v2"},
		{"GET other.org/o/1?v=%2&v=22&v=&v", nil, "any"},
		{"GET other.org/o/1?x=1;v=2", nil, "any"},
		{"GET other.org/o/1?V=2", nil, "any"},
		// Neither expression is more specific, so what else they ask for decides.
		{"GET other.org/n/1", nil, "digits"},
		{"GET www.example.com/n/1", []string{"X-A: 1", "X-B: 1"}, "digits wild"},
		{"GET shop.example.com/n/1", nil, "hex exact"},
		{"GET other.org/n/1", []string{"X-A: 1", "X-B: 1"}, "hex two"},
		{"GET [::1]:8080/o/1", nil, "v6"},
		{"GET [::1]/o/1", nil, "v6"},
		{"GET [::1/o/1", nil, "any"},
		{"GET shop.example.com" + strings.Repeat("x", 300) + "/o/1", nil, "any"},
	} {
		got := ""
		if route, ok := x.Find(request(t, c.request, c.headers...)); ok {
			got = names[route]
		}
		if got != c.want {
			t.Errorf("%s %v matched %q, want %q", c.request, c.headers, got, c.want)
		}
	}
}

func TestDeepTemplates(t *testing.T) {
	deep := strings.Repeat("/a", 400)
	paths := []string{deep, deep + "/**", deep + "b", strings.Repeat("/{x}", 400)}
	var routes []capability.Route
	for _, p := range paths {
		routes = append(routes, capability.Route{Path: p})
	}
	x := indexOf(t, routes...)
	for path, want := range map[string]int{deep: 0, deep + "/x": 1, deep + "b": 2, strings.Repeat("/a", 399) + "/c": 3} {
		if got, ok := x.Find(request(t, "GET "+path)); !ok || got != want {
			t.Errorf("path of %d bytes matched %d, %v; want %d", len(path), got, ok, want)
		}
	}
}

func TestCompileNamesWhatIsWrong(t *testing.T) {
	x, err := Compile([]capability.Route{{Path: "/{x"}, {Path: "/a"}, {Path: "/b", Methods: []string{"get"}}, {Path: "/a"}})
	if err == nil || !strings.Contains(err.Error(), "route 0, /{x") || !strings.Contains(err.Error(), "route 2, /b") {
		t.Errorf("the error is %v", err)
	}
	if got, ok := x.Find(request(t, "GET /a")); !ok || got != 1 {
		t.Errorf("the first of two equal routes is %d, %v", got, ok)
	}
	tied, err := Compile([]capability.Route{{Path: "/{x:[0-9]+}/z"}, {Path: "/{x:[0-9a]+}/y"}, {Path: "/{x:[0-9]+}/y"}})
	if got, ok := tied.Find(request(t, "GET /1/y")); err != nil || !ok || got != 1 {
		t.Errorf("the first of two that tie is %d, %v (%v)", got, ok, err)
	}
	if got, ok := x.Find(request(t, "GET /b")); ok {
		t.Errorf("a route without a method is served: %d", got)
	}
	if _, ok := (&Index{}).Find(request(t, "GET /")); ok {
		t.Error("an empty index claims something")
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	x := indexOf(t,
		capability.Route{Path: "/a/{id:[0-9]+}/{y}"}, capability.Route{Path: "/a/{id:[0-9a-f]+}/x-{n}"}, capability.Route{Path: "/f/{rest:.*}"},
		capability.Route{Path: "/a/**", Host: "*.example.com"}, capability.Route{Path: "/q", Query: []capability.Condition{{Name: "v", Value: "a b"}}})
	for _, text := range []string{"GET WWW.example.com/a/1/x-2", "GET www.Example.com:80/a/x", "GET /f/a/b", "GET /q?x=1&v=a+b", "GET /none"} {
		q := request(t, text)
		if n := testing.AllocsPerRun(100, func() { x.Find(q) }); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}

// A request looks at as many nodes and expressions among 2,000 routes as among 20,
// but where templates differ in nothing but the end of a segment.
func TestTheNumberOfRoutesCostsNothing(t *testing.T) {
	t.Parallel()
	steps := func(m mix, n int) int {
		at := middle(n)
		x := indexOf(t, m.routes(n)...)
		q, plain := m.request(at)
		var err error
		if q.Path, err = Normalise(plain.URL.Path); err != nil {
			t.Fatal(err)
		}
		var buf hostBuffer
		s := search{request: q, host: hostname(&buf, q.Host)}
		if c := s.under(&x.root, 0); c == nil || c.place != at {
			t.Fatalf("%s: %+v is claimed by %+v, not by %d", m.name, q, c, at)
		}
		return s.steps
	}
	for _, m := range mixes() {
		few, many := steps(m, 20), steps(m, 2000)
		switch {
		case m.name == "suffixes":
			if many <= few {
				t.Errorf("%s: nothing is counted", m.name)
			}
		case few != many || few == 0:
			t.Errorf("%s: %d steps among 20 routes, %d among 2000", m.name, few, many)
		}
	}
}
