package match

import (
	"slices"
	"strings"

	"strangler/capability"
)

// union lists the conditions of both, each once.
func union(a, b []capability.Condition) []capability.Condition {
	out := slices.Clone(a)
	for _, c := range b {
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// example is a request that two routes claim.
type example struct {
	method, host, path string
	headers, query     []capability.Condition
}

// String writes it as in "GET shop.example.com/a with X-Tenant: acme and ?version=2".
func (e example) String() string {
	var with []string
	for _, h := range e.headers {
		with = append(with, strings.TrimSuffix(h.Name+": "+h.Value, ": "))
	}
	for _, q := range e.query {
		with = append(with, strings.TrimSuffix("?"+q.Name+"="+q.Value, "="))
	}
	out := e.method + " " + e.host + e.path
	if len(with) > 0 {
		out += " with " + strings.Join(with, " and ")
	}
	return out
}
