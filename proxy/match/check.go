package match

import (
	"fmt"

	"strangler/capability"
)

// Check lists what keeps the routes of a set of documents from being served
// together: paths, methods, hosts and conditions that are none, and requests that
// two routes claim with equal right, whichever documents they are from. Of the
// ties of one route it reports the first, with the request.
func Check(docs []capability.Document) []capability.Problem {
	var problems []capability.Problem
	ties := newTies()
	place := 0
	for i := range docs {
		d := &docs[i]
		for j, r := range d.Routes {
			c, faults := compilations.claim(place, r)
			place++
			for _, f := range faults {
				problems = append(problems, capability.Problem{File: d.File, Line: r.Line,
					Path: fmt.Sprintf("routes[%d].%s", j, f.field), Value: f.value, Message: f.message, Mend: f.mend})
			}
			if c == nil {
				continue
			}
			if t, tied := ties.add(c, d); tied {
				problems = append(problems, t.problem(d, r))
			}
		}
	}
	return problems
}

// tie is a claim that another one met first, with equal right.
type tie struct {
	with     entry
	request  example
	bounded  bool // the search for a request was given up: there may be none
	equalled int  // conditions of both
}

func (t tie) problem(d *capability.Document, r capability.Route) capability.Problem {
	other := t.with
	p := capability.Problem{File: d.File, Line: r.Line, Path: "routes", Value: r.Path,
		Message: fmt.Sprintf("%s is claimed by %q of capability %q in %s with equal right",
			t.request, other.claim.template.text, other.document.Name, other.document.File),
		Mend: "take the claim out of one of the two, or make one path more specific",
	}
	switch {
	case t.bounded:
		p.Message = fmt.Sprintf("its expressions are too large to be told apart from those of %q of capability %q in %s",
			other.claim.template.text, other.document.Name, other.document.File)
		p.Mend = "make one of the expressions simpler"
	case t.equalled > 0:
		p.Mend = "a request may meet the conditions of both: add one more to either, or take the claim out"
	}
	return p
}
