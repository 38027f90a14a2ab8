package proxy

import (
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// table is everything that routing needs, immutable once it is stored. A request
// loads it once and is decided by that one from beginning to end.
type table struct {
	index    *index
	routes   []*route // in the order of the documents
	bindings map[string]*binding
}

// binding is one capability as one table serves it.
type binding struct {
	document  capability.Document
	effective capability.Effective
	lasting   *lasting
	breakers  map[capability.Side]*breaker
	upstreams map[capability.Side]*upstream
}

// salt spreads subjects differently in every group of capabilities.
func (b *binding) salt() string {
	if b.document.Traffic.Salt != "" {
		return b.document.Traffic.Salt
	}
	return b.document.Name
}

// compileRoutes compiles one document's routes, and lists what is wrong with
// each of them.
func compileRoutes(d capability.Document) (routes []*route, problems []capability.Problem) {
	for i, r := range d.Routes {
		problem := func(message, mend string) {
			problems = append(problems, capability.Problem{File: d.File, Line: r.Line,
				Path: fmt.Sprintf("routes[%d].path", i), Value: r.Path, Message: message, Mend: mend})
		}
		for _, method := range r.Methods {
			if method == "" || method != strings.ToUpper(method) || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
				problem(fmt.Sprintf("%q is no method", method), "write methods in capitals, as in [GET, PUT]")
			}
		}
		t, err := compileTemplate(r.Path)
		if err != nil {
			problem(err.Error(), "write a gorilla/mux template, as in /api/orders/{id:[0-9]+} or /api/orders/**")
			continue
		}
		routes = append(routes, &route{Route: r, template: t})
	}
	return routes, problems
}

// Check lists what keeps a set of documents from being served together: paths
// that are no templates, endpoints that are no addresses, and requests that two
// routes claim with equal right. It needs no running proxy.
func Check(docs []capability.Document) []capability.Problem {
	type claim struct {
		*route
		document capability.Document
	}
	var problems []capability.Problem
	var claims []claim
	names := map[string]string{}
	for _, d := range docs {
		if other, taken := names[d.Name]; taken {
			problems = append(problems, capability.Problem{File: d.File, Path: "capability", Value: d.Name,
				Message: "this capability is described in " + other + " as well", Mend: "keep one document per capability"})
		}
		names[d.Name] = d.File
		for _, address := range d.Extracted.Endpoints {
			if _, err := newEndpoint(address, func() leg { return nil }); err != nil {
				problems = append(problems, capability.Problem{File: d.File, Path: "extracted.endpoints", Value: address,
					Message: err.Error(), Mend: "write scheme, host and port only, as in http://127.0.0.1:9003"})
			}
		}
		routes, wrong := compileRoutes(d)
		problems = append(problems, wrong...)
		for _, r := range routes {
			for _, c := range claims {
				if path, method, both := conflict(c.route, r); both {
					problems = append(problems, capability.Problem{File: d.File, Line: r.Line, Path: "routes", Value: r.Path,
						Message: fmt.Sprintf("%s %s is claimed by %q of capability %q in %s with equal right", method, path, c.Path, c.document.Name, c.document.File),
						Mend:    "take the claim out of one of the two, or make one path more specific"})
				}
			}
			claims = append(claims, claim{r, d})
		}
	}
	return problems
}

// conflict finds a request that both routes claim while neither is more
// specific.
func conflict(a, b *route) (path, method string, both bool) {
	method, shared := sharedMethod(a, b)
	if !shared || moreSpecific(a.template, b.template) != 0 || !slices.Equal(a.template.literals(), b.template.literals()) {
		return "", "", false
	}
	path, both = overlap(a.template, b.template)
	return path, method, both
}

func sharedMethod(a, b *route) (string, bool) {
	candidates := append(slices.Clone(a.Methods), b.Methods...)
	for _, method := range append(candidates, "GET") {
		if a.claims(method) && b.claims(method) {
			return method, true
		}
	}
	return "", false
}

// build makes a table of documents that Check has passed.
func build(docs []capability.Document, bind func(capability.Document) *binding) *table {
	t := &table{index: &index{}, bindings: make(map[string]*binding, len(docs))}
	for _, d := range docs {
		b := bind(d)
		t.bindings[d.Name] = b
		routes, _ := compileRoutes(d)
		for _, r := range routes {
			r.binding = b
			t.routes = append(t.routes, r)
			t.index.add(r)
		}
	}
	return t
}
