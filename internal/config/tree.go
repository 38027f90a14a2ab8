package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"strangler/capability"
)

// reading is one pass over one file. It collects problems instead of stopping
// at the first.
type reading struct {
	file     string
	lookup   func(string) (string, bool) // of the environment
	least    string                      // how to mend a file that is empty
	problems []capability.Problem

	lines map[string]int  // by path, of every value that was asked for and is given; 0: by the environment
	asked map[string]bool // the paths that were asked for, with [] for a place in a list
	wrong []string        // the paths of values that could not be read
	named []named         // the files that the values name
	pairs []pair          // and which of them belong together
}

func newReading(file string, lookup func(string) (string, bool)) *reading {
	return &reading{file: file, lookup: lookup, least: "write its keys, or take the file away", lines: map[string]int{}, asked: map[string]bool{}}
}

// found returns the problems in the order of their lines; those without a line
// come last.
func (r *reading) found() []capability.Problem {
	line := func(p capability.Problem) int { return cmp.Or(p.Line, math.MaxInt) }
	slices.SortStableFunc(r.problems, func(a, b capability.Problem) int { return cmp.Compare(line(a), line(b)) })
	return r.problems
}

// given says whether the file or the environment has the key, however wrong its
// value.
func (r *reading) given(path string) bool {
	_, ok := r.lines[path]
	return ok
}

// sound says whether all of the values could be read, and what they hold.
func (r *reading) sound(paths ...string) bool {
	return !slices.ContainsFunc(r.wrong, func(wrong string) bool {
		return slices.ContainsFunc(paths, func(path string) bool {
			rest, inside := strings.CutPrefix(wrong, path)
			return inside && (rest == "" || rest[0] == '.' || rest[0] == '[')
		})
	})
}

func (r *reading) add(line int, path, raw, message, mend string) {
	r.problems = append(r.problems, capability.Problem{
		File: r.file, Line: line, Path: path, Value: masked(raw), Message: message, Mend: mend,
	})
}

// tree parses the content and returns its root section, or nil when there is
// none to go on with. Only the plain part of YAML is accepted: every value must
// be one that Apply can later change without touching its surroundings.
func (r *reading) tree(content []byte) *yaml.Node {
	if line, message := unreadable(content); message != "" {
		r.add(line, "", "", message, "save it as plain UTF-8 text")
		return nil
	}
	root, err := parse(content)
	if err != nil {
		line, message := yamlError(err)
		r.add(line, "", "", message, "mend the YAML")
		return nil
	}
	if root == nil {
		r.add(1, "", "", "is empty", r.least)
		return nil
	}
	if root.Kind != yaml.MappingNode {
		r.add(root.Line, "", "", "is "+kindOf(root)+", not a section of keys", "write `key: value` lines")
		return nil
	}
	if at := endMarker.FindIndex(content); at != nil {
		r.add(bytes.Count(content[:at[0]], []byte("\n"))+1, "", "...", "ends the document", "take the line out")
	}
	r.plain(newSource(content), root, "")
	return root
}

// endMarker is refused because a section could not be added after it.
var endMarker = regexp.MustCompile(`(?m)^\.\.\.`)

// unreadable finds bytes that editors show in one way and YAML reads in
// another.
func unreadable(content []byte) (line int, message string) {
	line = 1
	for rest := content; len(rest) > 0; {
		char, size := utf8.DecodeRune(rest)
		switch {
		case char == utf8.RuneError && size == 1:
			return line, "is not UTF-8"
		case char == '\uFEFF':
			return line, "has a byte order mark"
		case char == '\u0085', char == '\u2028', char == '\u2029':
			return line, "has an unusual line break"
		case char == '\r' && !bytes.HasPrefix(rest, []byte("\r\n")):
			return line, "has a lone carriage return"
		case char == '\n':
			line++
		case char == 0:
			return line, "has a zero byte"
		}
		rest = rest[size:]
	}
	return 0, ""
}

// parse returns the root node of the only YAML document in content; nil when
// there is nothing in it.
func parse(content []byte) (root *yaml.Node, err error) {
	// The parser promises errors, but some malformed comments make it panic.
	defer func() {
		if cause := recover(); cause != nil {
			root, err = nil, fmt.Errorf("yaml: %v", cause)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("yaml: line %d: a second document in one file", second.Line)
	}
	if len(document.Content) != 1 {
		return nil, nil
	}
	if root := document.Content[0]; root.Kind != yaml.ScalarNode || root.Tag != "!!null" {
		return root, nil
	}
	return nil, nil
}

// plain walks the tree and reports what is not plain YAML: anchors, aliases,
// tags, block text, `? key`, keys that are no text, keys given twice, and
// values left empty.
func (r *reading) plain(src source, node *yaml.Node, path string) {
	switch {
	case node.Kind == yaml.AliasNode, node.Anchor != "":
		r.add(node.Line, path, "", "anchors and aliases are not read here", "write the value out where it is used")
	case node.Style&yaml.TaggedStyle != 0:
		r.add(node.Line, path, "", "tags are not read here", "take "+node.Tag+" out")
	case node.Kind == yaml.MappingNode:
		r.plainSection(src, node, path)
	case node.Kind == yaml.SequenceNode:
		for i, item := range node.Content {
			r.plain(src, item, path+"["+strconv.Itoa(i)+"]")
		}
	case node.Tag == "!!null":
		r.add(node.Line, path, node.Value, "is empty", "give it a value, or take the key out")
	default:
		if _, ok := src.span(node); !ok {
			// Not shown: nobody has said yet whether it is a secret.
			r.add(node.Line, path, "", "is not written plainly", "write the value on the line of its key, quoted if need be")
		}
	}
}

func (r *reading) plainSection(src source, section *yaml.Node, path string) {
	seen := map[string]int{}
	for i := 0; i < len(section.Content); i += 2 {
		key, item := section.Content[i], section.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 || !src.colonAfter(key) {
			r.add(key.Line, path, "", "has a key that is not plain text", "write `key: value`")
			continue
		}
		at := join(path, key.Value)
		if line, twice := seen[key.Value]; twice {
			r.add(key.Line, at, "", fmt.Sprintf("is given twice, first in line %d", line), "keep one of the two")
			continue
		}
		seen[key.Value] = key.Line
		r.plain(src, item, at)
	}
}

var lineOfError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

func yamlError(err error) (line int, message string) {
	match := lineOfError.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	if match == nil {
		return 0, err.Error()
	}
	line, _ = strconv.Atoi(match[1]) // no number: no line
	return line, "is not YAML: " + match[2]
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// kindOf names what a node is, for messages.
func kindOf(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	}
	switch node.Tag {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "empty"
	case "!!timestamp":
		return "a date"
	}
	return "text"
}
