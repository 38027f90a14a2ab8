package proxy

import (
	"regexp/syntax"
	"unicode"
)

// overlap reports whether some path matches both templates, and names one. It
// walks both expressions' automata at once, breadth first, so the path is a
// shortest one. Anchors inside an expression are ignored, which can only report
// an overlap too many.
func overlap(a, b *template) (string, bool) {
	left, right := automaton(a.expr), automaton(b.expr)
	if left == nil || right == nil {
		return "", a.expr == b.expr
	}
	type pair struct{ l, r uint32 }
	type visit struct {
		at   pair
		path string
	}
	start := pair{uint32(left.Start), uint32(right.Start)}
	seen := map[pair]bool{start: true}
	queue := []visit{{at: start}}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		l, r := &left.Inst[v.at.l], &right.Inst[v.at.r]
		if l.Op == syntax.InstMatch && r.Op == syntax.InstMatch {
			return v.path, true
		}
		var next []visit
		switch free, ok := freeMoves(l); {
		case ok:
			for _, to := range free {
				next = append(next, visit{pair{to, v.at.r}, v.path})
			}
		default:
			if free, ok := freeMoves(r); ok {
				for _, to := range free {
					next = append(next, visit{pair{v.at.l, to}, v.path})
				}
			} else if c, ok := commonRune(l, r); ok {
				next = append(next, visit{pair{l.Out, r.Out}, v.path + string(c)})
			}
		}
		for _, n := range next {
			if !seen[n.at] {
				seen[n.at] = true
				queue = append(queue, n)
			}
		}
	}
	return "", false
}

func automaton(expr string) *syntax.Prog {
	parsed, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil
	}
	return prog
}

// freeMoves returns where an instruction leads without reading a character; ok
// is false for those that read one, and for the end.
func freeMoves(i *syntax.Inst) (to []uint32, ok bool) {
	switch i.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		return []uint32{i.Out, i.Arg}, true
	case syntax.InstCapture, syntax.InstNop, syntax.InstEmptyWidth:
		return []uint32{i.Out}, true
	}
	return nil, false
}

// commonRune finds a character that both instructions read, a legible one where
// there is one. Two sets of ranges that overlap do so at the lower bound of one
// of their ranges.
func commonRune(l, r *syntax.Inst) (rune, bool) {
	candidates := []rune("a0A-_./")
	for _, i := range []*syntax.Inst{l, r} {
		candidates = append(candidates, i.Rune...)
		if len(i.Rune) == 1 {
			for f := unicode.SimpleFold(i.Rune[0]); f != i.Rune[0]; f = unicode.SimpleFold(f) {
				candidates = append(candidates, f)
			}
		}
	}
	for _, c := range candidates {
		if reads(l, c) && reads(r, c) {
			return c, true
		}
	}
	return 0, false
}

func reads(i *syntax.Inst, c rune) bool {
	switch i.Op {
	case syntax.InstRune, syntax.InstRune1:
		return i.MatchRune(c)
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return c != '\n'
	}
	return false
}
