package config

import (
	"bytes"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// splice returns a copy of the content with one extent replaced.
func (s source) splice(span extent, text string) []byte {
	return slices.Concat(s.content[:span.from], []byte(text), s.content[span.to:])
}

// addSection adds a section with one key at the end of the document.
func (s source) addSection(root *yaml.Node, section, key, text string) []byte {
	if root.Style&yaml.FlowStyle != 0 {
		return s.addFlow(root, nil, section, "{"+key+": "+text+"}")
	}
	indent := strings.Repeat(" ", root.Column-1)
	line := s.newline(len(s.content))
	added := indent + section + ":" + line + indent + "  " + key + ": " + text + line
	if len(s.content) > 0 && !bytes.HasSuffix(s.content, []byte("\n")) {
		added = line + added
	}
	return slices.Concat(s.content, []byte(added))
}

// addKey adds a key to a section: after the sibling it belongs to, or as the
// section's first.
func (s source) addKey(root, section *yaml.Node, c change) ([]byte, error) {
	var sibling *yaml.Node
	for _, name := range c.after {
		if _, sibling = child(section, name); sibling != nil {
			break
		}
	}
	if section.Style&yaml.FlowStyle != 0 {
		return s.addFlow(section, sibling, c.key, c.text), nil
	}
	if sibling == nil {
		// Below the section's own line, above the comment of what was first.
		sibling, _ = child(root, c.section)
	}
	first := section.Content[0]
	span, ok := s.span(sibling)
	if !ok || !s.indented(first) {
		return nil, ErrNotEditable
	}
	at, closed := s.lineEnd(span.to)
	line := strings.Repeat(" ", first.Column-1) + c.key + ": " + c.text
	if closed {
		line += s.newline(at)
	} else {
		line = s.newline(at) + line
	}
	return s.splice(extent{at, at}, line), nil
}

// addFlow adds a key to a section in braces.
func (s source) addFlow(section, sibling *yaml.Node, key, text string) []byte {
	if sibling != nil {
		if span, ok := s.span(sibling); ok {
			return s.splice(extent{span.to, span.to}, ", "+key+": "+text)
		}
	}
	at := s.offset(section) + 1 // after the brace
	entry := key + ": " + text
	if len(section.Content) > 0 {
		entry += ", "
	}
	return s.splice(extent{at, at}, entry)
}
