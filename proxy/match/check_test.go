package match

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

func doc(name string, routes ...capability.Route) capability.Document {
	for i := range routes {
		routes[i].Line = 10 + i
	}
	return capability.Document{Name: name, File: "routes/" + name + ".yaml", Routes: routes}
}

func path(p string, methods ...string) capability.Route {
	return capability.Route{Path: p, Methods: methods}
}

func TestTies(t *testing.T) {
	on := func(p, host string, conditions ...string) capability.Route {
		r := capability.Route{Path: p, Host: host}
		for _, c := range conditions {
			name, value, _ := strings.Cut(c, "=")
			if query, is := strings.CutPrefix(name, "?"); is {
				r.Query = append(r.Query, capability.Condition{Name: query, Value: value})
			} else {
				r.Headers = append(r.Headers, capability.Condition{Name: name, Value: value})
			}
		}
		return r
	}
	for _, c := range []struct {
		name string
		a, b capability.Route
		want string // part of the problem; empty: none
	}{
		{"nothing shared", path("/a/**"), path("/b/**"), ""},
		{"more specific wins", path("/a/**"), path("/a/b"), ""},
		{"other methods", path("/a", "GET"), path("/a", "POST"), ""},
		{"the same", path("/a/b"), path("/a/b", "PUT"), "PUT /a/b is claimed"},
		{"everything", path("/**"), path("/**"), "GET / is claimed"},
		{"other names", path("/a/{x}"), path("/a/{y}"), "GET /a/a is claimed"},
		{"disjoint expressions", path("/a/{x:[0-9]+}"), path("/a/{y:[a-z]+}"), ""},
		{"expressions that meet", path("/a/{x:[0-9a]+}"), path("/a/{y:a[bc]?|zz}"), "GET /a/a is claimed"},
		{"folded case", path("/a/{x:(?i)k}"), path("/a/{y:[K]}"), "/a/K"},
		{"later literals differ", path("/{x}/a"), path("/{x}/b"), ""},
		{"later expressions meet", path("/{x}/{y:[0-9]+}/c"), path("/{x}/{y:[5-9]}/c"), "GET /a/9/c is"},
		{"prefixes differ", path("/a-{x}"), path("/b-{x}"), ""},
		{"prefix within a prefix", path("/a-{x}"), path("/a-b{x}"), "GET /a-ba is"},
		{"suffixes differ", path("/{x}.csv"), path("/{x}.xml"), ""},
		{"subtrees", path("/a/{x}/**"), path("/a/{y}/**"), "GET /a/a is claimed"},
		{"spanning", path("/a/{x:.*}"), path("/a/{y:.*z}"), "GET /a/z is"},
		{"spanning, other ends", path("/a/{x:.*}/b"), path("/a/{y:.*}/c"), ""},
		{"spanning, no empty segment", path("/a/{x:.*}/{z:b|cd}"), path("/a/{y:.*}/{z:cd?}"), "GET /a/a/cd is"},
		{"only an empty segment", path("/a/{x:/}b"), path("/a/{y:/|//}b"), ""},
		{"only a backslash", path(`/{x:\\|a}`), path(`/{y:\\|b}`), ""},
		{"HEAD meets GET", path("/a", "GET"), path("/a", "HEAD"), "HEAD /a is"},
		{"too large", path("/{x:(?:a?){900}g}"), path("/{x:(?:a?){900}h}"), "too large"},
		{"other hosts", on("/a", "a.org"), on("/a", "b.org"), ""},
		{"host or none", on("/a", "a.org"), on("/a", ""), ""},
		{"a host of the wildcard", on("/a", "a.b.org"), on("/a", "*.b.org"), ""},
		{"one host", on("/a", "a.org"), on("/a", "A.org."), "GET a.org/a is claimed"},
		{"one wildcard", on("/a", "*.a.org"), on("/a", "*.a.org"), "GET www.a.org/a is claimed"},
		{"other labels", on("/a", "*.a.org"), on("/a", "*.b.a.org"), ""},
		{"more conditions", on("/a", "", "X-A=1"), on("/a", "", "X-A=1", "X-B"), ""},
		{"other headers", on("/a", "", "X-A=1"), on("/a", "", "X-B=2"), "GET /a with X-A: 1 and X-B: 2 is"},
		{"twice one header", on("/a", "", "X-A=1"), on("/a", "", "X-A=2"), "GET /a with X-A: 1 and X-A: 2 is"},
		{"header and parameter", on("/a", "h.org", "X-A=1"), on("/a", "h.org", "?v"), "GET h.org/a with X-A: 1 and ?v is"},
		{"one condition", on("/a", "", "?v=1"), on("/a", "", "?v=1"), "GET /a with ?v=1 is"},
	} {
		problems := Check([]capability.Document{doc("one", c.a), doc("two", c.b)})
		if c.want == "" {
			if len(problems) > 0 {
				t.Errorf("%s: %v", c.name, problems)
			}
			continue
		}
		if len(problems) != 1 || !strings.Contains(problems[0].Message, c.want) || problems[0].Mend == "" ||
			problems[0].File != "routes/two.yaml" || problems[0].Line != 10 || !strings.Contains(problems[0].Message, `"one" in routes/one.yaml`) {
			t.Errorf("%s: %v, want %q", c.name, problems, c.want)
		}
	}
	if problems := Check([]capability.Document{doc("one", path("/a"), path("/a"), path("/a"))}); len(problems) != 2 {
		t.Errorf("three equal routes of one document: %v", problems)
	}
}

func TestCheckRoutes(t *testing.T) {
	with := func(change func(*capability.Route)) capability.Route {
		r := capability.Route{Path: "/ok"}
		change(&r)
		return r
	}
	header := func(name, value string) capability.Route {
		return with(func(r *capability.Route) { r.Headers = []capability.Condition{{Name: name, Value: value}} })
	}
	host := func(name string) capability.Route {
		return with(func(r *capability.Route) { r.Host = name })
	}
	for _, c := range []struct {
		route       capability.Route
		field, want string
	}{
		{path("a"), "path", "slash"},
		{path("/{x"), "path", "unbalanced"},
		{path("/x}"), "path", "unbalanced"},
		{path("/{x:[}"), "path", "missing"},
		{path("/{x:}"), "path", "missing"},
		{path("/{x:(a)}"), "path", "capture groups"},
		{path("/**/b"), "path", "last segment"},
		{path("/a//b"), "path", "slashes are merged"},
		{path("/a//**"), "path", "slashes are merged"},
		{path("/a/../b"), "path", "dot segment"},
		{path("/a%20b"), "path", `"%20" is written " "`},
		{path("/a-{x}%2d"), "path", `"%2d" is written "-"`},
		{path("/a%2fb"), "path", `"%2f" is written "%2F"`},
		{path("/100%"), "path", `"%" is written "%25"`},
		{path(`/a\b`), "path", `"\\" is written "%5C"`},
		{path("/ok", "get"), "methods", "no method"},
		{path("/ok", ""), "methods", "no method"},
		{host("a.org:80"), "host", "without a port"},
		{host("a..org"), "host", "letters"},
		{host("*"), "host", "letters"},
		{host("*."), "host", "letters"},
		{host("a.*.org"), "host", "letters"},
		{host("münchen.de"), "host", "letters"},
		{host("[::1]:80"), "host", "IPv6"},
		{host("[0::1]"), "host", "IPv6"},
		{host(strings.Repeat("a", 254)), "host", "253"},
		{header("", "x"), "headers", "no header"},
		{header("X Y", "x"), "headers", "no header"},
		{header("host", "x"), "headers", "the host is"},
		{header("X-A", " x"), "headers", "no header has this value"},
		{with(func(r *capability.Route) { r.Query = []capability.Condition{{Value: "1"}} }), "query", "name"},
		{with(func(r *capability.Route) { r.Allow = []capability.Oddity{"slash"} }), "allow", "called that"},
	} {
		problems := Check([]capability.Document{doc("a", path("/other"), c.route)})
		if len(problems) != 1 || problems[0].Path != "routes[1]."+c.field || !strings.Contains(problems[0].Message, c.want) ||
			problems[0].Mend == "" || problems[0].Line != 11 {
			t.Errorf("%+v: %v, want %q", c.route, problems, c.want)
		}
	}
	good := []capability.Route{path("/"), path("/a%2Fb"), path("/100%25"), path("/a b"), path("/x{y:%25|%2F}"), path("/a%2Bb"),
		host("[::1]"), host("10.0.0.1"), host("*.example.com"), host("_dmarc.example.com"), header("x-a", "a b")}
	for i := range good {
		if problems := Check([]capability.Document{doc("a", good[i])}); len(problems) > 0 {
			t.Errorf("%+v: %v", good[i], problems)
		}
	}
}

// TestCheckStaysFast holds mixes of 2,000 routes, each the worst of its kind for
// comparing all with all, to a bound that only an explosion exceeds.
func TestCheckStaysFast(t *testing.T) {
	for _, m := range mixes() {
		routes := m.routes(2000)
		began := time.Now()
		problems := Check([]capability.Document{doc("a", routes...)})
		took := time.Since(began)
		t.Logf("%s: %d routes in %v", m.name, len(routes), took)
		if len(problems) > 0 || took > 20*time.Second {
			t.Errorf("%s: %d problems in %v", m.name, len(problems), took)
		}
	}
	// Expressions of many states that nothing but walking tells apart: what exceeds the
	// bound is refused, and refusing is quick.
	counted := make([]capability.Route, 1000)
	for i := range counted {
		counted[i] = path(fmt.Sprintf("/{x:[0-9]{%d}}", i+1))
	}
	began := time.Now()
	problems := Check([]capability.Document{doc("a", counted...)})
	t.Logf("counted: %d problems in %v", len(problems), time.Since(began))
	if len(problems) == 0 || !strings.Contains(problems[0].Message, "too large") || time.Since(began) > 40*time.Second {
		t.Errorf("%d problems in %v", len(problems), time.Since(began))
	}
	same := make([]capability.Route, 2000)
	for i := range same {
		same[i] = path(fmt.Sprintf("/{x%d:[0-9]+}/**", i))
	}
	if problems := Check([]capability.Document{doc("a", same...)}); len(problems) != 1999 {
		t.Errorf("%d problems with 2,000 equal routes", len(problems))
	}
}
