package match

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
	tail  string // the literal text that every path of a template with whole ends in
}

func (c *compiler) compile(text string) (*template, error) {
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
		if err := c.addSegments(t, prefix); err != nil {
			return nil, err
		}
	}
	if subtree {
		t.expr = strings.TrimSuffix(t.expr, "$") + "(?s:/.*)?$"
	} else {
		t.tail = prefix[strings.LastIndexByte(prefix, '}')+1:]
	}
	if t.spanning() < len(t.segments) {
		whole, err := regexp.Compile(t.expr)
		if err != nil {
			return nil, fmt.Errorf("compile expression: %w", err)
		}
		t.whole = whole
	}
	return t, nil
}

// muxExpression asks gorilla/mux. It panics on capture groups, which is an
// answer too. Without a variable there is nothing to ask.
func muxExpression(text string) (expr string, err error) {
	if !strings.ContainsAny(text, "{}") {
		return "^" + regexp.QuoteMeta(text) + "$", nil
	}
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

func (c *compiler) addSegments(t *template, prefix string) error {
	if err := checkLiterals(prefix); err != nil {
		return err
	}
	texts := splitTemplate(prefix)
	for i, text := range texts {
		s, err := c.segment(text)
		if err != nil {
			return err
		}
		switch {
		case text == "" && (i < len(texts)-1 || t.subtree):
			return errors.New("no request has this path: repeated slashes are merged before it is matched")
		case text == "." || text == "..":
			return errors.New("no request has this path: a dot segment is refused, or taken by a variable or a subtree of a route that allows it")
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

// spanning returns the place of the first segment that may contain slashes, and
// the number of segments if there is none. Up to there, places in the template
// and in a path correspond.
func (t *template) spanning() int {
	for i, s := range t.segments {
		if s.kind == kindSpanning {
			return i
		}
	}
	return len(t.segments)
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

// compare orders two templates from the left: at the first segment in which
// their kinds differ, the more specific kind decides. It returns -1 when t comes
// first, 1 when other does, and 0 for a tie.
func (t *template) compare(other *template) int {
	for i := range max(len(t.segments), len(other.segments)) + 1 {
		if c := cmp.Compare(other.kindAt(i), t.kindAt(i)); c != 0 {
			return c
		}
	}
	return 0
}
