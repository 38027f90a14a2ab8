package match

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// segment is what stands between two slashes of a template.
type segment struct {
	kind    kind
	literal string // of kindLiteral
	// source and expr are those of kindMixed and kindExpression; they match with the
	// leading slash. Segments of the same source match the same.
	source string
	expr   *regexp.Regexp
	begins string // what every match begins with, after the slash
	ends   string // what every match ends in
	digits bool   // the expression is [0-9]+, which needs no expression
}

// kind orders segments by how specific they are; a greater one wins.
type kind int

const (
	kindSubtree    kind = iota // the end of a "/**" template
	kindSpanning               // a variable that may contain slashes
	kindVariable               // {id}
	kindExpression             // {id:[0-9]+}
	kindMixed                  // order-{id}.json
	kindLiteral
	kindEnd // the end of any other template
)

func compileSegment(text string) (segment, error) {
	open := strings.IndexByte(text, '{')
	if open < 0 {
		return segment{kind: kindLiteral, literal: text}, nil
	}
	if spans(text) {
		return segment{kind: kindSpanning}, nil
	}
	source, err := muxExpression("/" + text)
	if err != nil {
		return segment{}, err
	}
	expr, err := regexp.Compile(source)
	if err != nil {
		return segment{}, fmt.Errorf("compile expression: %w", err)
	}
	s := segment{kind: kindMixed, source: source, expr: expr, begins: beginning(source), ends: text[strings.LastIndexByte(text, '}')+1:]}
	_, pattern, named := strings.Cut(strings.TrimSuffix(text, "}"), ":")
	switch {
	case open > 0 || !strings.HasSuffix(text, "}") || expr.NumSubexp() > 1:
		return s, nil
	case !named:
		return segment{kind: kindVariable, source: source}, nil
	}
	s.kind = kindExpression
	s.digits = pattern == "[0-9]+" || pattern == `\d+`
	return s, nil
}

// beginning returns the literal text that an expression of a segment, "^/...$",
// begins with, after the slash.
func beginning(source string) string {
	prog := automaton(strings.TrimPrefix(source, "^/"))
	if prog == nil {
		return ""
	}
	begins, _ := prog.Prefix()
	return begins
}

// spans reports whether a variable of the segment could match a slash, or looks
// around itself (^, $, \b), so that it must be matched within the whole path.
func spans(text string) bool {
	depth, start := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '{':
			if depth == 0 {
				start = i + 1
			}
			depth++
		case '}':
			depth--
			if depth > 0 {
				continue
			}
			_, pattern, named := strings.Cut(text[start:i], ":")
			if !named {
				continue
			}
			parsed, err := syntax.Parse(pattern, syntax.Perl)
			if err != nil || mayMatchSlash(parsed) {
				return true
			}
		}
	}
	return false
}

func mayMatchSlash(e *syntax.Regexp) bool {
	switch e.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL,
		syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return true
	case syntax.OpLiteral:
		for _, r := range e.Rune {
			if r == '/' {
				return true
			}
		}
	case syntax.OpCharClass:
		for i := 0; i+1 < len(e.Rune); i += 2 {
			if e.Rune[i] <= '/' && '/' <= e.Rune[i+1] {
				return true
			}
		}
	}
	for _, sub := range e.Sub {
		if mayMatchSlash(sub) {
			return true
		}
	}
	return false
}

// segmentEnd returns where the segment ends whose slash stands at offset.
func segmentEnd(path string, offset int) int {
	if i := strings.IndexByte(path[offset+1:], '/'); i >= 0 {
		return offset + 1 + i
	}
	return len(path)
}

// match takes the segment with its leading slash.
func (s *segment) match(slashed string) bool {
	switch {
	case s.kind == kindLiteral:
		return slashed[1:] == s.literal
	case s.kind == kindVariable:
		return len(slashed) > 1
	case s.digits:
		for i := 1; i < len(slashed); i++ {
			if slashed[i] < '0' || slashed[i] > '9' {
				return false
			}
		}
		return len(slashed) > 1
	}
	return strings.HasSuffix(slashed, s.ends) && s.expr.MatchString(slashed)
}
