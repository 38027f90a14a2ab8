package match

import (
	"regexp/syntax"
	"slices"
	"unicode"
)

// Bounds on the pairs of states that one question, and all of one Check together,
// may visit. Ordinary expressions need a dozen each.
const (
	maxOverlap  = 1 << 18
	maxOverlaps = 1 << 22
)

// overlap reports whether some text matches both expressions, and names a
// shortest one that holds no empty segment. It walks both automata at once,
// breadth first. Anchors inside an expression are ignored, which can only report an
// overlap too many, and so does giving up, with no text, once the budget of visits
// is used up.
func overlap(left, right *syntax.Prog, budget *int) (string, bool) {
	type state struct {
		l, r  uint32
		slash bool // the last character was a slash, so the next is none
	}
	type visit struct {
		at   state
		from int  // place of the visit before
		read rune // on the way from there; 0: nothing
	}
	queue := []visit{{at: state{l: uint32(left.Start), r: uint32(right.Start)}, from: -1}}
	seen := map[state]bool{queue[0].at: true}
	most := min(maxOverlap, *budget)
	defer func() { *budget -= min(most, len(queue)) }()
	for i := 0; i < len(queue) && len(queue) < most; i++ {
		at := queue[i].at
		l, r := &left.Inst[at.l], &right.Inst[at.r]
		if l.Op == syntax.InstMatch && r.Op == syntax.InstMatch {
			var text []rune
			for ; i >= 0; i = queue[i].from {
				if queue[i].read != 0 {
					text = append(text, queue[i].read)
				}
			}
			slices.Reverse(text)
			return string(text), true
		}
		visitNext := func(l, r uint32, slash bool, read rune) {
			next := state{l, r, slash}
			if !seen[next] {
				seen[next] = true
				queue = append(queue, visit{next, i, read})
			}
		}
		if free, ok := freeMoves(l); ok {
			for _, to := range free {
				visitNext(to, at.r, at.slash, 0)
			}
		} else if free, ok := freeMoves(r); ok {
			for _, to := range free {
				visitNext(at.l, to, at.slash, 0)
			}
		} else if c, ok := commonRune(l, r, at.slash); ok {
			visitNext(l.Out, r.Out, c == '/', c)
		}
	}
	return "", len(queue) >= most
}

// automaton returns nil for what is no expression.
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
// there is one, and a slash only where there is nothing else. Two sets of ranges
// that overlap do so at the lower bound of one of their ranges, or just above it
// where that is one of the characters that are passed over.
func commonRune(l, r *syntax.Inst, afterSlash bool) (rune, bool) {
	candidates := []rune{'a', '0', 'A', '-', '_', '.', 0 + 1, '/' + 1, '\\' + 1}
	for _, i := range []*syntax.Inst{l, r} {
		candidates = append(candidates, i.Rune...)
		if len(i.Rune) == 1 {
			for f := unicode.SimpleFold(i.Rune[0]); f != i.Rune[0]; f = unicode.SimpleFold(f) {
				candidates = append(candidates, f)
			}
		}
	}
	for _, c := range candidates {
		// A path in normal form has neither a zero byte nor a backslash.
		if c != 0 && c != '\\' && c != '/' && reads(l, c) && reads(r, c) {
			return c, true
		}
	}
	return '/', !afterSlash && reads(l, '/') && reads(r, '/')
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
