package proxy

import (
	"strings"
	"testing"

	"strangler/capability"
)

// Servers differ in whether ";" ends a parameter of a query. It passes as it came,
// and whoever wonders why a condition on the query did not hold finds a line of it:
// one, however many clients send such queries, and without what they ask for.
func TestQueriesWithSemicolonsAreLogged(t *testing.T) {
	const line = `"msg":"passed on a query with ;`
	s := serve(t, state(1, capability.Legacy, 0), nil, nil)
	for range 3 {
		s.want(s.get("/api/orders/1?q=a%3Bb", ""), 200, "legacy")
	}
	if strings.Contains(s.log.String(), line) {
		t.Errorf("an escaped one is logged:\n%s", s.log)
	}
	for range 3 {
		s.want(s.get("/api/orders/1?token=secret;b=2", ""), 200, "legacy")
	}
	all := s.log.String()
	if strings.Count(all, line) != 1 || strings.Contains(all, "secret") {
		t.Errorf("want one line, and nothing of the query:\n%s", all)
	}
	for _, attr := range []string{`"path":"/api/orders/1"`, `"capability":"orders"`, `"client":"127.0.0.1"`} {
		if i := strings.Index(all, line); i < 0 || !strings.Contains(strings.SplitN(all[i:], "\n", 2)[0], attr) {
			t.Errorf("the line lacks %s:\n%s", attr, all)
		}
	}
}
