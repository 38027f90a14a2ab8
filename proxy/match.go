package proxy

import (
	"slices"

	"strangler/capability"
)

// route is one claim as one table serves it.
type route struct {
	capability.Route
	template *template
	binding  *binding
}

// claims reports whether the route takes a method. Who claims GET claims HEAD:
// it is the same question, and must meet the same side.
func (r *route) claims(method string) bool {
	return len(r.Methods) == 0 || slices.Contains(r.Methods, method) ||
		method == "HEAD" && slices.Contains(r.Methods, "GET")
}

// index finds routes by the literal segments that their templates begin with,
// so that the cost of a match does not grow with the number of routes.
type index struct {
	children map[string]*index
	routes   []*route // templates whose literal beginning ends here, most specific first
}

func (n *index) add(r *route) {
	for _, literal := range r.template.literals() {
		child := n.children[literal]
		if child == nil {
			child = &index{}
			if n.children == nil {
				n.children = map[string]*index{}
			}
			n.children[literal] = child
		}
		n = child
	}
	at, _ := slices.BinarySearchFunc(n.routes, r, func(have, add *route) int {
		return moreSpecific(have.template, add.template)
	})
	n.routes = slices.Insert(n.routes, at, r)
}

// maxDepth bounds the literal segments that are indexed; no real path is deeper,
// and a longer one simply matches from its 32nd segment up.
const maxDepth = 32

// find returns the most specific route that claims the method and a path in
// normal form, or nil. A longer literal beginning is always more specific, so
// the deepest node goes first.
func (n *index) find(method, path string) *route {
	var nodes [maxDepth]*index
	var ends [maxDepth]int
	nodes[0] = n
	depth := 0
	for offset := 0; offset < len(path) && depth < maxDepth-1; {
		end := segmentEnd(path, offset)
		child := nodes[depth].children[path[offset+1:end]]
		if child == nil {
			break
		}
		depth++
		nodes[depth], ends[depth] = child, end
		offset = end
	}
	for ; depth >= 0; depth-- {
		for _, r := range nodes[depth].routes {
			if r.claims(method) && r.template.match(path, depth, ends[depth]) {
				return r
			}
		}
	}
	return nil
}
