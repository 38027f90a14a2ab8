package match

import "cmp"

// node is a place in the tree of templates, after some of their segments. A path
// goes down to a node in one way only, so each is looked at once per request.
type node struct {
	literals    map[string]*node
	mixed       fan[branch] // by what the segment begins with
	expressions fan[branch] // likewise
	variable    *node
	spanning    fan[*spanner] // by what the path ends in: templates whose next segment may contain slashes
	end         claims        // of the templates that end here
	subtree     claims        // of those that go on with "/**"
}

// branch leads over a segment with an expression.
type branch struct {
	segment segment
	to      *node
}

// spanner holds the claims of one template that is matched as a whole.
type spanner struct {
	template *template
	claims   claims
}

func (n *node) add(c *claim) {
	t := c.template
	for i := range t.segments[:t.spanning()] {
		n = n.child(&t.segments[i])
	}
	switch {
	case t.whole != nil:
		n.spanner(t).claims.add(c)
	case t.subtree:
		n.subtree.add(c)
	default:
		n.end.add(c)
	}
}

func (n *node) child(s *segment) *node {
	var among *fan[branch]
	switch s.kind {
	case kindLiteral:
		to := n.literals[s.literal]
		if to == nil {
			to = &node{}
			if n.literals == nil {
				n.literals = map[string]*node{}
			}
			n.literals[s.literal] = to
		}
		return to
	case kindVariable:
		if n.variable == nil {
			n.variable = &node{}
		}
		return n.variable
	case kindMixed:
		among = &n.mixed
	default:
		among = &n.expressions
	}
	for _, b := range among.by[s.begins] {
		if b.segment.source == s.source {
			return b.to
		}
	}
	to := &node{}
	among.add(s.begins, branch{*s, to})
	return to
}

func (n *node) spanner(t *template) *spanner {
	for _, s := range n.spanning.by[t.tail] {
		if s.template.expr == t.expr && s.template.compare(t) == 0 {
			return s
		}
	}
	s := &spanner{template: t}
	n.spanning.add(t.tail, s)
	return s
}

// search is one request on its way through the tree.
type search struct {
	request *Request
	host    []byte // in normal form
	steps   int    // nodes and expressions looked at
}

// under returns the most specific claim below a node that the request meets, when
// the path up to offset led there. The most specific kind of segment that leads
// anywhere wins without comparing; among segments of one kind those further down
// decide.
func (s *search) under(n *node, offset int) *claim {
	s.steps++
	path := s.request.Path.Match
	if offset == len(path) {
		if c := n.end.find(s); c != nil {
			return c
		}
		return n.subtree.find(s)
	}
	end := segmentEnd(path, offset)
	if to := n.literals[path[offset+1:end]]; to != nil {
		if c := s.under(to, end); c != nil {
			return c
		}
	}
	if c := s.over(&n.mixed, offset, end); c != nil {
		return c
	}
	if c := s.over(&n.expressions, offset, end); c != nil {
		return c
	}
	if n.variable != nil && end > offset+1 {
		if c := s.under(n.variable, end); c != nil {
			return c
		}
	}
	if c := s.across(&n.spanning); c != nil {
		return c
	}
	return n.subtree.find(s)
}

// over goes on behind all the segments of one kind that match.
func (s *search) over(branches *fan[branch], offset, end int) *claim {
	slashed := s.request.Path.Match[offset:end]
	var best *claim
	for _, n := range branches.lengths {
		if n >= len(slashed) {
			continue
		}
		among := branches.by[slashed[1:1+n]]
		for i := range among {
			s.steps++
			if among[i].segment.match(slashed) {
				best = better(best, s.under(among[i].to, end))
			}
		}
	}
	return best
}

// across goes through the templates that are matched as a whole.
func (s *search) across(spanning *fan[*spanner]) *claim {
	path := s.request.Path.Match
	var best *claim
	for _, n := range spanning.lengths {
		if n > len(path) {
			continue
		}
		for _, sp := range spanning.by[path[len(path)-n:]] {
			s.steps++
			if sp.template.whole.MatchString(path) {
				best = better(best, sp.claims.find(s))
			}
		}
	}
	return best
}

// better returns the more specific of two claims, in a tie the first of the list.
// Either may be nil.
func better(a, b *claim) *claim {
	if a == nil || b != nil && cmp.Or(moreSpecific(b, a), cmp.Compare(b.place, a.place)) < 0 {
		return b
	}
	return a
}
