package config

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"strangler/capability"
)

// ErrNotEditable is returned by Apply for a document that it cannot change in
// place with certainty. Nothing that Document accepts is among them, but for a
// data state where there is no data section.
var ErrNotEditable = errors.New("the document cannot be edited in place; change it by hand")

// Apply makes one edit and leaves every other byte as it was: comments, order,
// quotes, line breaks. A value that already says the same is not touched. A key
// that is missing is added beside its siblings, a missing section at the end. What comes out is read again and compared before it is returned.
func Apply(content []byte, edit capability.Edit) ([]byte, error) {
	r := newReading("", func(string) (string, bool) { return "", false })
	root := r.tree(content)
	if root == nil || len(r.problems) > 0 {
		return nil, errors.Join(ErrNotEditable, r.problems[0])
	}
	list, err := changes(edit)
	if err != nil {
		return nil, err
	}
	wanted := flatten(root)
	for _, change := range list {
		next, done, err := change.apply(content)
		if err != nil {
			return nil, fmt.Errorf("edit %s.%s: %w", change.section, change.key, err)
		}
		if !done {
			continue
		}
		content = next
		delete(wanted, change.section) // it is no longer empty, if it was
		wanted[change.section+"\x00"+change.key] = "!!str " + change.text
	}
	after, err := parse(content)
	if err != nil || after == nil || !maps.Equal(wanted, flatten(after)) {
		return nil, ErrNotEditable
	}
	return content, nil
}

// change is one key of one section and what it should say.
type change struct {
	section string
	key     string
	text    string
	after   []string // siblings it is written after, nearest first
	same    func(raw string) bool
}

// changes lists what an edit asks for, in the order in which it is written.
func changes(edit capability.Edit) ([]change, error) {
	var list []change
	if edit.Owner != nil {
		list = append(list, plainChange("traffic", "owner", string(*edit.Owner)))
	}
	if edit.Weight != nil {
		list = append(list, weightChange("weight", *edit.Weight, "owner"))
	}
	if edit.Mirror != nil {
		list = append(list, weightChange("mirror", *edit.Mirror, "weight", "owner"))
	}
	if edit.State != nil {
		list = append(list, plainChange("data", "state", string(*edit.State)))
	}
	for side := range edit.Breakers {
		if _, err := capability.ParseSide(string(side)); err != nil {
			return nil, fmt.Errorf("edit breakers: %w", err)
		}
	}
	for _, side := range capability.Sides {
		asked, ok := edit.Breakers[side]
		if !ok {
			continue
		}
		mode, err := capability.ParseBreakerMode(string(asked))
		if err != nil {
			return nil, fmt.Errorf("edit breakers: %w", err)
		}
		c := plainChange("breakers", string(side), string(mode))
		if side == capability.Extracted {
			c.after = []string{string(capability.Legacy)}
		}
		list = append(list, c)
	}
	return list, nil
}

func plainChange(section, key, text string) change {
	return change{section: section, key: key, text: text, same: func(raw string) bool { return raw == text }}
}

func weightChange(key string, weight capability.Weight, after ...string) change {
	same := func(raw string) bool {
		got, err := capability.ParseWeight(raw)
		return err == nil && got == weight
	}
	return change{section: "traffic", key: key, text: weight.String(), after: after, same: same}
}

// apply returns the changed content, and false when it says so already.
func (c change) apply(content []byte) ([]byte, bool, error) {
	root, err := parse(content)
	if err != nil {
		return nil, false, err
	}
	src := newSource(content)
	_, section := child(root, c.section)
	if section == nil {
		if c.section == "data" {
			return nil, false, errors.New("the document has no data section")
		}
		return src.addSection(root, c.section, c.key, c.text), true, nil
	}
	if section.Kind != yaml.MappingNode {
		return nil, false, ErrNotEditable
	}
	_, old := child(section, c.key)
	if old == nil {
		next, err := src.addKey(root, section, c)
		return next, true, err
	}
	if old.Tag == "!!str" && c.same(old.Value) {
		return nil, false, nil
	}
	span, ok := src.span(old)
	if !ok {
		return nil, false, ErrNotEditable
	}
	return src.splice(span, requote(old, c.text)), true, nil
}

// requote writes the text in the quotes of the value it replaces. Words and
// percentages need no escapes in any.
func requote(old *yaml.Node, text string) string {
	switch {
	case old.Style&yaml.DoubleQuotedStyle != 0:
		return `"` + text + `"`
	case old.Style&yaml.SingleQuotedStyle != 0:
		return "'" + text + "'"
	}
	return text
}

// child returns the key and value of one entry of a section.
func child(section *yaml.Node, key string) (name, item *yaml.Node) {
	for i := 0; i < len(section.Content); i += 2 {
		if section.Content[i].Value == key {
			return section.Content[i], section.Content[i+1]
		}
	}
	return nil, nil
}

// flatten lists every value of the tree by its path, so that two trees can be
// compared without regard to where a key was added.
func flatten(root *yaml.Node) map[string]string {
	leaves := map[string]string{}
	var walk func(node *yaml.Node, path []string)
	walk = func(node *yaml.Node, path []string) {
		at := strings.Join(path, "\x00")
		switch {
		case node.Kind == yaml.MappingNode && len(node.Content) > 0:
			for i := 0; i < len(node.Content); i += 2 {
				walk(node.Content[i+1], append(path[:len(path):len(path)], node.Content[i].Value))
			}
		case node.Kind == yaml.SequenceNode && len(node.Content) > 0:
			leaves[at] = strconv.Itoa(len(node.Content))
			for i, item := range node.Content {
				walk(item, append(path[:len(path):len(path)], strconv.Itoa(i)))
			}
		default:
			leaves[at] = node.Tag + " " + node.Value
		}
	}
	walk(root, nil)
	return leaves
}
