package config

import (
	"fmt"
	"slices"

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
			item.problem(fmt.Sprintf("claims what line %d claims already: %s", other, route.Path), "keep one of the two, or give them different methods, hosts, headers or queries")
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
	set(s, "host", &route.Host, value.host)
	set(s, "headers", &route.Headers, value.headers)
	set(s, "query", &route.Query, value.query)
	set(s, "allow", &route.Allow, value.oddities)
	set(s, "class", &route.Class, words(capability.Read, capability.Write))
	set(s, "timeout", &route.Timeout, value.timeout)
	if v, ok := s.take("resilience"); ok {
		fill(v, routeKeys, &route)
	}
	set(s, "body", &route.Body, value.size)
	s.close()
	s.read.checkRoute(s.path, route)
	return route, ok
}

// routeKeys are the part of a route's resilience that is its own.
var routeKeys = []key[capability.Route]{
	{"timeout", "", func(v value, r *capability.Route) { keep(v, &r.Timeout, value.timeout) }},
	{"retries", "", func(v value, r *capability.Route) { keep(v, &r.Retries, pointed(value.retries)) }},
	{"fallback", "", func(v value, r *capability.Route) { keep(v, &r.Fallback, pointed(value.fallback)) }},
}

func pointed[T any](read func(value) (T, bool)) func(value) (*T, bool) {
	return func(v value) (*T, bool) {
		got, ok := read(v)
		return &got, ok
	}
}

// checkRoute looks at what only shows between the keys of one route.
func (r *reading) checkRoute(path string, route capability.Route) {
	inner := path + ".resilience"
	if r.given(path+".timeout") && r.given(inner+".timeout") {
		r.add(r.lines[inner+".timeout"], inner+".timeout", "", "is given twice, as "+path+".timeout too", "keep one of the two")
	}
	if !r.sound(path+".methods", path+".class") || !writesAlone(route) {
		return
	}
	const message = "is for reads, and the route has none"
	if route.Retries != nil && *route.Retries > 0 {
		r.add(r.lines[inner+".retries"], inner+".retries", "", message, "write 0, or take it out: a write is never sent twice")
	}
	if route.Fallback != nil && *route.Fallback {
		r.add(r.lines[inner+".fallback"], inner+".fallback", "", message, "write none, or take it out: a write goes to the owner alone")
	}
}

func writesAlone(route capability.Route) bool {
	read := func(method string) bool { return route.ClassOf(method) == capability.Read }
	return route.Class == capability.Write || len(route.Methods) > 0 && !slices.ContainsFunc(route.Methods, read)
}

// duplicate returns the line of an earlier route that asks for the same and has
// a method in common, or 0.
func duplicate(routes []capability.Route, route capability.Route) int {
	for _, other := range routes {
		shared := len(other.Methods) == 0 || len(route.Methods) == 0 ||
			slices.ContainsFunc(route.Methods, func(m string) bool { return slices.Contains(other.Methods, m) })
		if other.Path == route.Path && other.Host == route.Host && shared && alike(other.Headers, route.Headers) && alike(other.Query, route.Query) {
			return other.Line
		}
	}
	return 0
}

// alike says whether two lists hold the same conditions, in whatever order. No
// list names one thing twice.
func alike(a, b []capability.Condition) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(c capability.Condition) bool { return !slices.Contains(b, c) })
}
