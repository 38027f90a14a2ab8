package config

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// source finds the bytes that a node was read from. The parser gives lines and
// columns of runes; edits need offsets.
type source struct {
	content []byte
	starts  []int // offset of each line
}

// extent is a half-open range of bytes.
type extent struct{ from, to int }

func newSource(content []byte) source {
	starts := []int{0}
	for i, b := range content {
		if b == '\n' {
			starts = append(starts, i+1)
		}
	}
	return source{content: content, starts: starts}
}

// offset returns where the node begins, or -1 when it is outside the content.
func (s source) offset(node *yaml.Node) int {
	if node.Line < 1 || node.Line > len(s.starts) {
		return -1
	}
	at := s.starts[node.Line-1]
	for range node.Column - 1 {
		if at >= len(s.content) {
			return -1
		}
		_, size := utf8.DecodeRune(s.content[at:])
		at += size
	}
	return at
}

// span returns the bytes of a scalar, its quotes included. It is false for what
// cannot be replaced by a plain value: block text, and anything with a tag.
func (s source) span(node *yaml.Node) (extent, bool) {
	from := s.offset(node)
	if from < 0 || node.Kind != yaml.ScalarNode {
		return extent{}, false
	}
	length := -1
	switch rest := s.content[from:]; {
	case node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
	case node.Style&yaml.DoubleQuotedStyle != 0:
		length = quoted(rest, '"')
	case node.Style&yaml.SingleQuotedStyle != 0:
		length = quoted(rest, '\'')
	default:
		length = unquoted(rest, node.Value)
	}
	return extent{from, from + length}, length >= 0
}

// quoted returns the length of the quoted scalar at the start of rest.
func quoted(rest []byte, quote byte) int {
	if len(rest) == 0 || rest[0] != quote {
		return -1
	}
	for i := 1; i < len(rest); i++ {
		switch {
		case quote == '"' && rest[i] == '\\':
			i++
		case rest[i] != quote:
		case quote == '\'' && i+1 < len(rest) && rest[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return -1
}

// unquoted returns the length of the plain scalar at the start of rest. A plain
// scalar on several lines is refused: every value of ours fits on one.
func unquoted(rest []byte, value string) int {
	if value == "" || !bytes.HasPrefix(rest, []byte(value)) {
		return -1
	}
	return len(value)
}

// colonAfter says whether a key is written as `key:`, and not as `? key`.
func (s source) colonAfter(key *yaml.Node) bool {
	span, ok := s.span(key)
	if !ok {
		return false
	}
	rest := bytes.TrimLeft(s.content[span.to:], " \t")
	return len(rest) > 0 && rest[0] == ':'
}

// lineEnd returns the offset of the line after the one that holds at, and
// whether the line is closed by a break.
func (s source) lineEnd(at int) (next int, closed bool) {
	if i := bytes.IndexByte(s.content[at:], '\n'); i >= 0 {
		return at + i + 1, true
	}
	return len(s.content), false
}

// newline is the break that ends the last whole line before the offset.
func (s source) newline(at int) string {
	if i := bytes.LastIndexByte(s.content[:at], '\n'); i > 0 && s.content[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// indented says whether nothing but spaces stands before the node on its line.
func (s source) indented(node *yaml.Node) bool {
	at := s.offset(node)
	return at >= 0 && strings.TrimLeft(string(s.content[s.starts[node.Line-1]:at]), " ") == ""
}
