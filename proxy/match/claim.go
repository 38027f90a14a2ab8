package match

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"strangler/capability"
)

// claim is one route, compiled.
type claim struct {
	place    int // in the list that was compiled
	template *template
	host     hostPattern
	methods  []string
	headers  []capability.Condition // names in canonical form
	query    []capability.Condition
}

// fault is one thing that is wrong with a route.
type fault struct {
	field, value, message, mend string
}

// claim compiles a route and lists all that is wrong with it. The claim is nil if
// there is no telling which requests it is for.
func (c *compiler) claim(place int, r capability.Route) (*claim, []fault) {
	var faults []fault
	wrong := func(field, value, message, mend string) {
		faults = append(faults, fault{field, value, message, mend})
	}
	for _, method := range r.Methods {
		if method == "" || method != strings.ToUpper(method) || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
			wrong("methods", method, fmt.Sprintf("%q is no method", method), "write methods in capitals, as in [GET, PUT]")
		}
	}
	out := &claim{place: place, methods: r.Methods, query: r.Query}
	for _, h := range r.Headers {
		if err := checkHeader(h); err != nil {
			wrong("headers", h.Name, err.Error(), "write headers as in {X-Tenant: acme}, and a host under host")
		}
		out.headers = append(out.headers, capability.Condition{Name: http.CanonicalHeaderKey(h.Name), Value: h.Value})
	}
	for _, q := range r.Query {
		if q.Name == "" {
			wrong("query", q.Value, "a parameter has a name", `write parameters as in {version: "2"}`)
		}
	}
	for _, odd := range r.Allow {
		if !slices.Contains(capability.Oddities, odd) {
			wrong("allow", string(odd), "nothing in a path is called that", fmt.Sprintf("write some of %v", capability.Oddities))
		}
	}
	host, hostErr := compileHost(r.Host)
	if hostErr != nil {
		wrong("host", r.Host, hostErr.Error(), "write a host as in shop.example.com or *.example.com")
	}
	t, err := c.template(r.Path)
	if err != nil {
		wrong("path", r.Path, err.Error(), "write a gorilla/mux template, as in /api/orders/{id:[0-9]+} or /api/orders/**")
	}
	if err != nil || hostErr != nil {
		return nil, faults
	}
	out.template, out.host = t, host
	return out, faults
}

// takes reports whether the claim takes a method. Who claims GET claims HEAD: it
// is the same question, and must meet the same side.
func (c *claim) takes(method string) bool {
	return len(c.methods) == 0 || slices.Contains(c.methods, method) ||
		method == "HEAD" && slices.Contains(c.methods, "GET")
}

// meets reports whether a request whose path and host the claim is for meets the
// rest of it.
func (c *claim) meets(q *Request) bool {
	if !c.takes(q.Method) {
		return false
	}
	for _, h := range c.headers {
		if !meetsHeader(q.Header, h) {
			return false
		}
	}
	for _, p := range c.query {
		if !meetsQuery(q.RawQuery, p) {
			return false
		}
	}
	return true
}

// moreSpecific orders two claims that may meet in one request: -1 when a takes
// it, 1 when b does, 0 for a tie. The path decides, from the left; then the
// host, by name before one with any first label before any; then the number of
// conditions, the more the better, whatever they ask for.
//
// Methods do not count. "GET /a" beside "/a" reads as a correction, but would
// silently leave the monolith's other methods with one capability and its GET with
// another, in files that do not show each other; it is a tie, and an error.
func moreSpecific(a, b *claim) int {
	return cmp.Or(a.template.compare(b.template), cmp.Compare(b.host.kind, a.host.kind), cmp.Compare(b.conditions(), a.conditions()))
}

func (c *claim) conditions() int { return len(c.headers) + len(c.query) }
