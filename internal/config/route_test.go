package config

import (
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

// routesOf is the smallest document with these routes, one per line from line 3.
func routesOf(routes ...string) string {
	return "capability: orders\nroutes:\n  - " + strings.Join(routes, "\n  - ") + "\nextracted: {consul: orders}\n"
}

func TestRouteProblems(t *testing.T) {
	for _, row := range []struct{ name, route, want string }{
		{"host with a port", "{path: /a, host: 'a.b:80'}", `routes[0].host = "a.b:80": has a port; write the host alone`},
		{"host with two stars", "{path: /a, host: '*.*.b'}", `routes[0].host = "*.*.b": has a * that is not its whole first label`},
		{"host with half a star", "{path: /a, host: 'a*.b'}", `routes[0].host = "a*.b": has a * that is not`},
		{"host with a path", "{path: /a, host: a.b/c}", `routes[0].host = "a.b/c": is no host`},
		{"host with a final dot", "{path: /a, host: a.b.}", `routes[0].host = "a.b.": is no host`},
		{"host beyond ASCII", "{path: /a, host: bücher.example}", `routes[0].host = "bücher.example": is no host; write a name as in shop.example.com; letters beyond ASCII as in xn--`},
		{"long IPv6", "{path: /a, host: '[0::1]'}", `routes[0].host = "[0::1]": is no host`},
		{"header name", "{path: /a, headers: {X Y: a}}", `routes[0].headers.X Y = "a": is no name of a header`},
		{"Host", "{path: /a, headers: {host: a}}", `routes[0].headers.host = "a": is no header here; use host:`},
		{"hop by hop", "{path: /a, headers: {upgrade: websocket}}", `routes[0].headers.upgrade = "websocket": is a header that ends at the proxy`},
		{"length", "{path: /a, headers: {Content-Length: '0'}}", `routes[0].headers.Content-Length = "0": is a header that ends at the proxy`},
		{"header in two spellings", "{path: /a, headers: {X-A: a, x-a: b}}", `routes[0].headers.x-a = "b": asks for X-A, as line 3 does`},
		{"header twice", "{path: /a, headers: {X-A: a, X-A: b}}", `routes[0].headers.X-A: is given twice`},
		{"header's number", "{path: /a, headers: {X-A: 2}}", `routes[0].headers.X-A = "2": is a number, not text; put it in quotes`},
		{"header with spaces", "{path: /a, headers: {X-A: ' a'}}", `routes[0].headers.X-A = " a": begins or ends with a space`},
		{"header's bell", `{path: /a, headers: {X-A: "a\ab"}}`, `holds a control character`},
		{"headers in a list", "{path: /a, headers: [X-A]}", `routes[0].headers: is a list, and no conditions; write {X-Tenant: acme}`},
		{"no conditions", "{path: /a, query: {}}", `routes[0].query: is a section, and no conditions; write {version: "2"}`},
		{"parameter without name", "{path: /a, query: {'': a}}", `is no name of a parameter`},
		{"parameter without value", "{path: /a, query: {a: ''}}", `routes[0].query.a: is empty`},
		{"oddity", "{path: /a, allow: [encoded-dot]}", `routes[0].allow[0] = "encoded-dot": is none of encoded-slash, encoded-backslash, encoded-zero, dot-segments`},
		{"oddity twice", "{path: /a, allow: [encoded-zero, encoded-zero]}", `routes[0].allow[1] = "encoded-zero": is given twice`},
		{"timeout below zero", "{path: /a, timeout: -1s}", `routes[0].timeout = "-1s": is a duration below zero; write a duration with its unit, as in 500ms or 5s, or none`},
		{"timeout twice", "{path: /a, timeout: 1s, resilience: {timeout: 1s}}", `routes[0].resilience.timeout: is given twice, as routes[0].timeout too`},
		{"retries of a write", "{path: /a, class: write, resilience: {retries: 1}}", `routes[0].resilience.retries: is for reads, and the route has none`},
		{"fallback of writes", "{path: /a, methods: [PUT, DELETE], resilience: {fallback: reads}}", `routes[0].resilience.fallback: is for reads, and the route has none`},
		{"breaker", "{path: /a, resilience: {breaker: {}}}", `routes[0].resilience.breaker: belongs to the capability, not to a route`},
		{"concurrency", "{path: /a, resilience: {concurrency: {}}}", `routes[0].resilience.concurrency: belongs to the capability`},
		{"retries outside", "{path: /a, retries: 0}", `routes[0].retries = "0": has its place in the route's resilience`},
		{"unknown inside", "{path: /a, resilience: {retry: 0}}", `routes[0].resilience.retry: is an unknown key; write one of timeout, retries, fallback`},
		{"no body", "{path: /a, body: 0}", `routes[0].body = "0": is no size above zero`},
		{"body's unit", "{path: /a, body: 10MB}", `routes[0].body = "10MB": is no size; write it as in 64MiB`},
	} {
		t.Run(row.name, func(t *testing.T) { wantProblem(t, routesOf(row.route), "f.yaml:3: ", row.want) })
	}
}

// wantProblem decodes a document that has one thing wrong.
func wantProblem(t *testing.T, content, prefix, want string) {
	t.Helper()
	_, problems := document("f.yaml", []byte(content), environment)
	if len(problems) != 1 {
		t.Fatalf("want one problem, got %d: %v", len(problems), problems)
	}
	if got := problems[0].String(); !strings.Contains(got, want) || !strings.HasPrefix(got, prefix) || problems[0].Mend == "" {
		t.Errorf("got  %s\nwant %s%s", got, prefix, want)
	}
}

// Routes of one path are two routes if a request can tell them apart.
func TestRoutesOfOnePath(t *testing.T) {
	for _, row := range []struct {
		name, one, other string
		twice            bool
	}{
		{"methods", "methods: [GET]", "methods: [PUT]", false},
		{"hosts", "host: a.b", "host: '*.b'", false},
		{"a host and none", "host: a.b", "", false},
		{"headers", "headers: {X-A: a}", "headers: {X-A: b}", false},
		{"more headers", "headers: {X-A: a}", "headers: {X-A: a, X-B: '*'}", false},
		{"queries", "query: {v: '1'}", "query: {v: '*'}", false},
		{"hosts of one name", "host: A.b", "host: a.B", true},
		{"headers in another order", "headers: {X-A: a, X-B: b}", "headers: {x-b: b, x-a: a}", true},
		{"what is no condition", "timeout: 1s", "allow: [encoded-slash]", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			content := routesOf("{path: /a, "+row.one+"}", "{path: /a, "+row.other+"}")
			if row.twice {
				wantProblem(t, content, "f.yaml:4: ", "routes[1]: claims what line 3 claims already: /a")
				return
			}
			if d, problems := document("f.yaml", []byte(content), environment); len(problems) > 0 || len(d.Routes) != 2 {
				t.Errorf("got %v", problems)
			}
		})
	}
}

// A route may have no timeout, which is another thing than to say nothing about it.
func TestRouteWithoutATimeout(t *testing.T) {
	for route, want := range map[string]time.Duration{
		"{path: /a, timeout: none}": capability.NoTimeout, "{path: /a, resilience: {timeout: none}}": capability.NoTimeout,
		"{path: /a, timeout: 0s}": capability.NoTimeout, "{path: /a, timeout: 2s}": 2 * time.Second, "{path: /a}": 0,
	} {
		d, problems := document("f.yaml", []byte(routesOf(route)), environment)
		if len(problems) > 0 || d.Routes[0].Timeout != want {
			t.Errorf("%s: %v", route, problems)
		}
	}
}

// What is written of writes without effect is accepted.
func TestRouteAccepts(t *testing.T) {
	for _, route := range []string{
		"{path: /a, class: write, timeout: 5m, resilience: {retries: 0, fallback: none}}",
		"{path: /a, methods: [GET, PUT], resilience: {retries: 3, fallback: reads}}",
		"{path: /a, methods: [POST], class: read, resilience: {retries: 3, fallback: reads}}",
		"{path: /a, host: '[::1]'}", "{path: /a, host: 127.0.0.1}", "{path: /a, host: LOCALHOST}", "{path: /a, host: _a.b-c}",
		"{path: /a, body: 1}", "{path: /a, headers: {X-A: '${PORT}'}}", "{path: /a, query: {'a b[]': é}}",
	} {
		if _, problems := document("f.yaml", []byte(routesOf(route)), environment); len(problems) > 0 {
			t.Errorf("%s: %v", route, problems)
		}
	}
}
