package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"strangler/capability"
	"strangler/proxy/breaker"
	"strangler/proxy/limit"
	"strangler/proxy/match"
	"strangler/proxy/pool"
)

// table is everything that routing needs, immutable once it is stored. A request
// loads it once and is decided by that one from beginning to end.
type table struct {
	index    *match.Index
	routes   []*route // in the order of the documents, as the index counts them
	bindings []*binding
	override string // header by which trusted peers choose a side; empty: none
}

// route is one claim as one table serves it.
type route struct {
	capability.Route
	binding *binding
	allowed match.Odd
}

// binding is one capability as one table serves it.
type binding struct {
	document  capability.Document
	effective capability.Effective
	lasting   *lasting
	always    map[string]bool // subjects
	never     map[string]bool
	reach     map[capability.Side]reach
}

// reach is how one side is reached.
type reach struct {
	pool     *pool.Pool
	breaker  *breaker.Breaker // nil for unclaimed requests
	bulkhead *limit.Bulkhead  // nil for unclaimed requests without a bound
	rewrite  translation
}

// salt spreads subjects differently in every group of capabilities.
func (b *binding) salt() string {
	if b.document.Traffic.Salt != "" {
		return b.document.Traffic.Salt
	}
	return b.document.Name
}

// describes reports whether the table has a capability.
func (t *table) describes(name string) bool {
	return slices.ContainsFunc(t.bindings, func(b *binding) bool { return b.document.Name == name })
}

// find returns the route that claims a request, or nil.
func (t *table) find(r *http.Request, path match.Path) *route {
	n, ok := t.index.Find(&match.Request{Method: r.Method, Host: r.Host, Path: path, Header: r.Header, RawQuery: r.URL.RawQuery})
	if !ok {
		return nil
	}
	return t.routes[n]
}

// defaultTimeout bounds claimed requests whose document says nothing. A write
// without a bound would let a switch wait for ever.
const defaultTimeout = 30 * time.Second

// timeout is that of the route; 0: none.
func (r *route) timeout() time.Duration {
	switch {
	case r.Timeout < 0:
		return 0
	case r.Timeout > 0:
		return r.Timeout
	}
	return r.usual()
}

// usual is the timeout of routes that say nothing.
func (r *route) usual() time.Duration {
	if t := r.binding.document.Resilience.Timeout; t > 0 {
		return t
	}
	return defaultTimeout
}

func (r *route) retries() int {
	if r.Retries != nil {
		return *r.Retries
	}
	return r.binding.document.Resilience.Retries
}

func (r *route) fallback() bool {
	if r.Fallback != nil {
		return *r.Fallback
	}
	return r.binding.document.Resilience.Fallback
}

// Check lists what keeps a set of documents from being served together: paths
// that are no templates, endpoints that are no addresses, and requests that two
// routes claim with equal right. It needs no running proxy.
func Check(docs []capability.Document) []capability.Problem {
	var problems []capability.Problem
	names := map[string]string{}
	for _, d := range docs {
		if other, taken := names[d.Name]; taken {
			problems = append(problems, capability.Problem{File: d.File, Path: "capability", Value: d.Name,
				Message: "this capability is described in " + other + " as well", Mend: "keep one document per capability"})
		}
		names[d.Name] = d.File
		for _, address := range d.Extracted.Endpoints {
			if err := checkAddress(d.Extracted, address); err != nil {
				problems = append(problems, capability.Problem{File: d.File, Path: "extracted.endpoints", Value: address,
					Message: err.Error(), Mend: "write scheme, host and port only, as in http://127.0.0.1:9003"})
			}
		}
	}
	return append(problems, match.Check(docs)...)
}

// checkAddress says why there is no way to an endpoint of an upstream.
func checkAddress(u capability.Upstream, address string) error {
	to, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("parse endpoint: %w", err)
	}
	if to.Scheme != "http" && to.Scheme != "https" || to.Host == "" || to.Path != "" && to.Path != "/" {
		return fmt.Errorf("parse endpoint: %q is not http://host:port or https://host:port", address)
	}
	_, err = pool.Standard(u, to)
	return err
}

// build makes a table of documents that Check has passed.
func build(docs []capability.Document, override string, bind func(capability.Document) *binding) (*table, error) {
	t := &table{override: override}
	var claims []capability.Route
	for _, d := range docs {
		b := bind(d)
		t.bindings = append(t.bindings, b)
		for _, r := range d.Routes {
			t.routes = append(t.routes, &route{Route: r, binding: b, allowed: match.OddOf(r.Allow)})
			claims = append(claims, r)
		}
	}
	var err error
	if t.index, err = match.Compile(claims); err != nil {
		return nil, fmt.Errorf("compile routes: %w", err)
	}
	return t, nil
}

// set makes a set of subjects; nil for none.
func set(subjects []string) map[string]bool {
	if len(subjects) == 0 {
		return nil
	}
	all := make(map[string]bool, len(subjects))
	for _, s := range subjects {
		all[s] = true
	}
	return all
}
