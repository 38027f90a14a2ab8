package match

import (
	"cmp"
	"slices"
	"strings"
)

// node is a place in the tree of templates, after some of their segments. A path
// goes down to a node in one way only, so each is looked at once per request.
type node struct {
	literals map[string]*node
	branches []branch  // the segments with a variable, the most specific kind first
	end      claims    // of the templates that end here
	spanning []spanner // of those whose next segment may contain slashes, the most specific first
	subtree  claims    // of those that go on with "/**"
}

// branch leads over a segment with a variable.
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
		n.spanner(t).add(c)
	case t.subtree:
		n.subtree.add(c)
	default:
		n.end.add(c)
	}
}

func (n *node) child(s *segment) *node {
	if s.kind == kindLiteral {
		to := n.literals[s.literal]
		if to == nil {
			to = &node{}
			if n.literals == nil {
				n.literals = map[string]*node{}
			}
			n.literals[s.literal] = to
		}
		return to
	}
	first, _ := slices.BinarySearchFunc(n.branches, s.kind, func(b branch, k kind) int { return cmp.Compare(k, b.segment.kind) })
	at := first
	for ; at < len(n.branches) && n.branches[at].segment.kind == s.kind; at++ {
		if n.branches[at].segment.source == s.source {
			return n.branches[at].to
		}
	}
	to := &node{}
	n.branches = slices.Insert(n.branches, at, branch{*s, to})
	return to
}

func (n *node) spanner(t *template) *claims {
	at := 0
	for ; at < len(n.spanning) && n.spanning[at].template.compare(t) <= 0; at++ {
		if n.spanning[at].template.expr == t.expr {
			return &n.spanning[at].claims
		}
	}
	n.spanning = slices.Insert(n.spanning, at, spanner{template: t})
	return &n.spanning[at].claims
}

// search is one request on its way through the tree.
type search struct {
	request *Request
	host    []byte // in normal form
}

// under returns the most specific claim below a node that the request meets, when
// the path up to offset led there. What differs in kind at this place needs no comparing: the
// most specific kind that leads anywhere wins. Among branches of one kind the
// segments further down decide.
func (s *search) under(n *node, offset int) *claim {
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
	var best *claim
	var won kind
	for i := range n.branches {
		b := &n.branches[i]
		if best != nil && b.segment.kind != won {
			break
		}
		if b.segment.match(path[offset:end]) {
			best, won = better(best, s.under(b.to, end)), b.segment.kind
		}
	}
	if best == nil {
		best = s.across(n)
	}
	if best == nil {
		best = n.subtree.find(s)
	}
	return best
}

// across goes through the templates that are matched as a whole.
func (s *search) across(n *node) *claim {
	path := s.request.Path.Match
	var best *claim
	for i := range n.spanning {
		t := n.spanning[i].template
		if best != nil && best.template.compare(t) < 0 {
			break
		}
		if strings.HasSuffix(path, t.tail) && t.whole.MatchString(path) {
			best = better(best, n.spanning[i].claims.find(s))
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
