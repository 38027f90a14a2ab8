package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"strangler/capability"
)

func (v value) routes() []capability.Route {
	items, _ := v.list()
	var routes []capability.Route
	for _, item := range items {
		s := item.section()
		if s == nil {
			continue
		}
		route, ok := s.route()
		if !ok {
			continue
		}
		if other := duplicate(routes, route); other > 0 {
			item.problem(fmt.Sprintf("claims what line %d claims already: %s", other, route.Path), "keep one of the two, or give them different methods")
			continue
		}
		routes = append(routes, route)
	}
	return routes
}

func (s *section) route() (capability.Route, bool) {
	route := capability.Route{Line: s.line}
	path, ok := s.need("path", "write a gorilla/mux template, as in /api/orders/{id:[0-9]+}")
	if ok {
		route.Path, ok = path.template()
	}
	set(s, "methods", &route.Methods, value.methods)
	set(s, "class", &route.Class, func(v value) (capability.Class, bool) {
		word, ok := v.oneOf(string(capability.Read), string(capability.Write))
		return capability.Class(word), ok
	})
	set(s, "timeout", &route.Timeout, value.duration)
	s.later("a route has no resilience of its own but its timeout", "resilience", "retries", "fallback", "breaker", "streams")
	s.later("paths are not rewritten", "rewrite")
	s.close()
	return route, ok
}

func (v value) template() (string, bool) {
	path, ok := v.text()
	if !ok {
		return "", false
	}
	if message := templateProblem(path); message != "" {
		v.problem(message, "write a gorilla/mux template, as in /api/orders/{id:[0-9]+}, or /api/orders/** for a subtree")
		return "", false
	}
	return path, true
}

// templateProblem says why a path is no template, or nothing. What the
// templates mean is gorilla/mux's business, so it is asked.
func templateProblem(path string) string {
	if !strings.HasPrefix(path, "/") {
		return "does not begin with a slash"
	}
	base, subtree := strings.CutSuffix(path, "/**")
	if !subtree {
		base = path
	}
	literal := literals(base)
	switch {
	case strings.ContainsAny(literal, "*"):
		return "has a * in it; only /** at the end claims a subtree"
	case strings.ContainsAny(literal, "?#"):
		return "has a query or a fragment in it; routes are paths"
	case strings.Contains(literal, "//"), slices.ContainsFunc(strings.Split(literal, "/"), func(part string) bool { return part == "." || part == ".." }):
		return "has an empty or a dot segment in it, which no request has once it is cleaned"
	}
	if err := compile(base); err != nil {
		return "is no template: " + err.Error()
	}
	return ""
}

var variable = regexp.MustCompile(`\{[^{}]*(\{[^{}]*\}[^{}]*)*\}`)

// literals is the path with each variable as one letter.
func literals(path string) string { return variable.ReplaceAllString(path, "x") }

// compile asks gorilla/mux, which panics on capturing groups.
func compile(template string) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	if template == "" { // of "/**"
		template = "/"
	}
	return mux.NewRouter().NewRoute().Path(template).GetError()
}

var methodForm = regexp.MustCompile(`^[A-Z][A-Z-]*$`)

func (v value) methods() ([]string, bool) {
	items, ok := v.list()
	if !ok {
		return nil, false
	}
	var methods []string
	for _, item := range items {
		method, ok := item.text()
		switch {
		case !ok:
		case !methodForm.MatchString(method):
			item.problem("is no HTTP method", "write it as in GET")
		case slices.Contains(methods, method):
			item.problem("is given twice", "take one out")
		default:
			methods = append(methods, method)
		}
	}
	return methods, true
}

// duplicate returns the line of an earlier route with the same path and a
// method in common, or 0.
func duplicate(routes []capability.Route, route capability.Route) int {
	for _, other := range routes {
		shared := len(other.Methods) == 0 || len(route.Methods) == 0 ||
			slices.ContainsFunc(route.Methods, func(m string) bool { return slices.Contains(other.Methods, m) })
		if other.Path == route.Path && shared {
			return other.Line
		}
	}
	return 0
}
