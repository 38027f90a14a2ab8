package match

import (
	"fmt"
	"regexp/syntax"
	"strings"

	"strangler/capability"
)

// ties finds claims that meet in a request while neither is more specific. Only
// claims of the same group can.
type ties struct {
	groups   map[string][]entry
	automata map[string]*syntax.Prog
	segments map[[2]string]meeting // of two sources
	budget   int                   // of overlap
}

// entry is a claim that was added, and where it is from.
type entry struct {
	claim    *claim
	document *capability.Document
}

// meeting is what overlap said.
type meeting struct {
	text string
	both bool
}

func newTies() *ties {
	return &ties{groups: map[string][]entry{}, automata: map[string]*syntax.Prog{}, segments: map[[2]string]meeting{}, budget: maxOverlaps}
}

// add returns the first of the claims before that the new one ties with.
func (ts *ties) add(c *claim, d *capability.Document) (tie, bool) {
	key := group(c)
	before := ts.groups[key]
	ts.groups[key] = append(before, entry{c, d})
	for _, e := range before {
		method, shared := sharedMethod(e.claim, c)
		if !shared {
			continue
		}
		path, both := ts.meet(e.claim.template, c.template)
		if !both {
			continue
		}
		return tie{with: e, bounded: path == "", equalled: c.conditions(), request: example{method: method, host: c.host.example(), path: path,
			headers: union(e.claim.headers, c.headers), query: union(e.claim.query, c.query)}}, true
	}
	return tie{}, false
}

// group writes down all that two claims must share to tie: the kinds of their
// segments, the literal segments as far as they stand at the same place, the host,
// and the number of conditions. Conditions never keep two claims apart: a request
// may carry a header or a parameter twice, with a value for each of them.
func group(c *claim) string {
	t := c.template
	var b strings.Builder
	for i := range len(t.segments) + 1 {
		fmt.Fprintf(&b, "/%d", t.kindAt(i))
		if i < t.spanning() && t.segments[i].kind == kindLiteral {
			b.WriteByte('=')
			b.WriteString(t.segments[i].literal)
		}
	}
	fmt.Fprintf(&b, " %s %d", c.host, c.conditions())
	return b.String()
}

// meet finds a path that two templates of one group match. An empty one says that
// it was given up.
func (ts *ties) meet(a, b *template) (string, bool) {
	if a.whole != nil {
		if !strings.HasSuffix(a.tail, b.tail) && !strings.HasSuffix(b.tail, a.tail) {
			return "", false
		}
		return ts.cross(a.expr, b.expr)
	}
	for i := range a.segments { // the cheap question first
		s, o := &a.segments[i], &b.segments[i]
		if !strings.HasPrefix(s.begins, o.begins) && !strings.HasPrefix(o.begins, s.begins) ||
			!strings.HasSuffix(s.ends, o.ends) && !strings.HasSuffix(o.ends, s.ends) {
			return "", false
		}
	}
	// Segments read no slash, so they meet one by one.
	var path strings.Builder
	bounded := false
	for i := range a.segments {
		s, o := &a.segments[i], &b.segments[i]
		if s.kind == kindLiteral {
			path.WriteByte('/')
			path.WriteString(s.literal)
			continue
		}
		text, both := ts.segment(s, o)
		if !both {
			return "", false
		}
		bounded = bounded || text == ""
		path.WriteString(text)
	}
	switch {
	case bounded:
		return "", true
	case path.Len() == 0: // "/**" meets itself in everything
		return "/", true
	}
	return path.String(), true
}

func (ts *ties) segment(a, b *segment) (string, bool) {
	key := [2]string{a.source, b.source}
	m, known := ts.segments[key]
	if !known {
		m.text, m.both = ts.cross(a.source, b.source)
		ts.segments[key] = m
	}
	return m.text, m.both
}

func (ts *ties) cross(a, b string) (string, bool) {
	left, right := ts.automaton(a), ts.automaton(b)
	if left == nil || right == nil {
		return "", true // gorilla/mux has compiled both, so this is not reached
	}
	return overlap(left, right, &ts.budget)
}

func (ts *ties) automaton(source string) *syntax.Prog {
	prog, known := ts.automata[source]
	if !known {
		prog = automaton(source)
		ts.automata[source] = prog
	}
	return prog
}

// sharedMethod returns a method that both claims take.
func sharedMethod(a, b *claim) (string, bool) {
	for _, method := range a.methods {
		if b.takes(method) {
			return method, true
		}
	}
	for _, method := range b.methods {
		if a.takes(method) {
			return method, true
		}
	}
	return "GET", len(a.methods)+len(b.methods) == 0
}
