package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// section is a mapping whose keys are taken one by one; what was asked for is
// what is known, and the rest is refused.
type section struct {
	read  *reading
	path  string
	line  int
	keys  []*yaml.Node
	items map[string]*yaml.Node
	known []string
}

func (r *reading) section(path string, node *yaml.Node) *section {
	s := &section{read: r, path: path, line: node.Line, items: map[string]*yaml.Node{}}
	for i := 0; i < len(node.Content); i += 2 {
		key := node.Content[i]
		if _, twice := s.items[key.Value]; twice || key.Kind != yaml.ScalarNode {
			continue // reported when the tree was read
		}
		s.keys = append(s.keys, key)
		s.items[key.Value] = node.Content[i+1]
	}
	return s
}

// section reads a value as a section; nil when it is none.
func (v value) section() *section {
	if v.node.Kind != yaml.MappingNode {
		v.problem(fmt.Sprintf("is %s, not a section of keys", kindOf(v.node)), "write `key: value` lines below it")
		return nil
	}
	return v.read.section(v.path, v.node)
}

// take returns the value of a key; false when the key is not there. A value
// that was already refused with the tree counts as not there.
func (s *section) take(key string) (value, bool) {
	path := join(s.path, key)
	s.known = append(s.known, key)
	s.read.asked[placeless(path)] = true
	node, ok := s.items[key]
	if !ok {
		return value{}, false
	}
	s.read.lines[path] = node.Line
	if refused(node) {
		s.read.wrong = append(s.read.wrong, path)
		return value{}, false
	}
	return value{read: s.read, path: path, node: node}, true
}

// refused says whether the node was reported when the tree was read, and holds
// nothing to go on with.
func refused(node *yaml.Node) bool { return node.Tag == "!!null" || node.Kind == yaml.AliasNode }

// has says whether the key is written, however wrong its value.
func (s *section) has(key string) bool { return s.items[key] != nil }

// need is take for a key that must be there.
func (s *section) need(key, mend string) (value, bool) {
	v, ok := s.take(key)
	if !ok && !s.has(key) {
		s.read.add(s.line, join(s.path, key), "", "is missing", mend)
	}
	return v, ok
}

// close reports the keys that nobody asked for.
func (s *section) close() {
	for _, key := range s.keys {
		if slices.Contains(s.known, key.Value) {
			continue
		}
		path, node := join(s.path, key.Value), s.items[key.Value]
		if hint, ok := misplaced[placeless(path)]; ok {
			if !refused(node) {
				value{read: s.read, path: path, node: node}.problem(hint.message, hint.mend)
			}
			continue
		}
		s.read.add(key.Line, path, "", "is an unknown key", mendWord(key.Value, s.known))
	}
}

// set reads an optional key into a variable that already holds its default.
func set[T any](s *section, key string, into *T, read func(value) (T, bool)) {
	v, ok := s.take(key)
	if !ok {
		return
	}
	if got, ok := read(v); ok {
		*into = got
	}
}

// mendWord proposes the word that was probably meant, or lists them all.
func mendWord(wrong string, words []string) string {
	best, least := "", 3
	for _, word := range words {
		if d := distance(strings.ToLower(wrong), word); d < least && d < len(word) {
			best, least = word, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "write one of " + strings.Join(words, ", ")
}

// distance is Levenshtein's: how many letters must be changed, added or left
// out. Words longer than any of ours are as far away as can be.
func distance(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
