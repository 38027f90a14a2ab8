package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/gorilla/mux"
)

// template is one compiled path template. gorilla/mux decides what is a valid
// template and which expression it stands for; matching is our own, segment by
// segment, because mux tries every route in turn.
type template struct {
	text     string // as written in the document
	segments []segment
	subtree  bool   // the text ended in "/**"
	expr     string // mux's expression for the whole path
	// whole matches templates with a variable that may contain a slash; nil for
	// all others, which are matched by segments.
	whole *regexp.Regexp
}

func compileTemplate(text string) (*template, error) {
	prefix, subtree := strings.CutSuffix(text, "/**")
	switch {
	case !strings.HasPrefix(text, "/"):
		return nil, errors.New("a path begins with a slash")
	case strings.Contains(prefix, "**"):
		return nil, errors.New(`"**" is allowed only as the last segment, as in /api/orders/**`)
	}
	t := &template{text: text, subtree: subtree, expr: "^$"}
	if prefix != "" {
		expr, err := muxExpression(prefix)
		if err != nil {
			return nil, err
		}
		t.expr = expr
		if err := t.addSegments(prefix); err != nil {
			return nil, err
		}
	}
	if subtree {
		t.expr = strings.TrimSuffix(t.expr, "$") + "(?s:/.*)?$"
	}
	for _, s := range t.segments {
		if s.kind == kindSpanning {
			whole, err := regexp.Compile(t.expr)
			if err != nil {
				return nil, fmt.Errorf("compile expression: %w", err)
			}
			t.whole = whole
		}
	}
	return t, nil
}

// muxExpression asks gorilla/mux. It panics on capture groups, which is an
// answer too.
func muxExpression(text string) (expr string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	route := mux.NewRouter().NewRoute().Path(text)
	if err := route.GetError(); err != nil {
		return "", fmt.Errorf("parse template: %w", err)
	}
	expr, err = route.GetPathRegexp()
	if err != nil {
		return "", fmt.Errorf("parse template: %w", err)
	}
	return expr, nil
}

func (t *template) addSegments(prefix string) error {
	texts := splitTemplate(prefix)
	for i, text := range texts {
		s, err := compileSegment(text)
		if err != nil {
			return err
		}
		if s.kind == kindLiteral {
			empty := text == "" && (i < len(texts)-1 || t.subtree)
			if empty || text == "." || text == ".." {
				return errors.New("no request has this path: empty and dot segments are removed or refused before it is matched")
			}
		}
		t.segments = append(t.segments, s)
	}
	return nil
}

// splitTemplate cuts at the slashes that stand outside braces.
func splitTemplate(text string) []string {
	var parts []string
	depth, start := 0, 1
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '{':
			depth++
		case '}':
			depth--
		case '/':
			if depth == 0 {
				parts = append(parts, text[start:i])
				start = i + 1
			}
		}
	}
	return append(parts, text[start:])
}

// literals returns the leading segments that are literal, by which the index
// finds the template.
func (t *template) literals() []string {
	var out []string
	for _, s := range t.segments {
		if s.kind != kindLiteral || len(out) == maxDepth-1 {
			break
		}
		out = append(out, s.literal)
	}
	return out
}

// match reports whether the template matches a path in normal form. Its first
// depth segments, all literal, are known to match and end at offset.
func (t *template) match(path string, depth, offset int) bool {
	if t.whole != nil {
		return t.whole.MatchString(path)
	}
	for _, s := range t.segments[depth:] {
		if offset >= len(path) {
			return false
		}
		end := segmentEnd(path, offset)
		if !s.match(path[offset:end]) {
			return false
		}
		offset = end
	}
	return offset == len(path) || t.subtree
}

func (t *template) kindAt(i int) kind {
	switch {
	case i < len(t.segments):
		return t.segments[i].kind
	case t.subtree:
		return kindSubtree
	}
	return kindEnd
}

// moreSpecific compares two templates from the left: at the first segment in
// which their kinds differ, the more specific kind decides. It returns -1 when a
// comes first, 1 when b does, and 0 for a tie.
func moreSpecific(a, b *template) int {
	for i := range max(len(a.segments), len(b.segments)) + 1 {
		if c := cmp.Compare(b.kindAt(i), a.kindAt(i)); c != 0 {
			return c
		}
	}
	return 0
}
