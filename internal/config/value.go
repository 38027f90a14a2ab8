package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"strangler/capability"
)

// value is one node with the path under which messages name it. Its readers
// report what is wrong and say false; they never guess.
type value struct {
	read   *reading
	path   string
	node   *yaml.Node
	secret bool // never shown in a message
	// variable is the one of the environment that it came from; empty: the file, or a
	// default.
	variable string
}

func (v value) problem(message, mend string) {
	raw := ""
	if v.node.Kind == yaml.ScalarNode && !v.secret {
		raw = v.node.Value // before expansion: what the environment holds may be secret
	}
	file, path := v.read.file, v.path
	if v.variable != "" {
		file, path = "", "$"+v.variable
	}
	v.read.wrong = append(v.read.wrong, v.path)
	v.read.problems = append(v.read.problems, capability.Problem{
		File: file, Line: v.node.Line, Path: path, Value: masked(raw), Message: message, Mend: mend,
	})
}

var credentials = regexp.MustCompile(`(?s)://.*@`)

// masked is a value as messages show it: a URL without the password that somebody
// has written into it.
func masked(raw string) string { return credentials.ReplaceAllString(raw, "://…@") }

// scalar returns the text of a scalar of one of the given types, expanded. A
// text that is made of ${NAME} may stand where a number is wanted.
func (v value) scalar(wanted, mend string, tags ...string) (string, bool) {
	if v.node.Kind != yaml.ScalarNode {
		v.problem(fmt.Sprintf("is %s, not %s", kindOf(v.node), wanted), mend)
		return "", false
	}
	if v.node.Tag == fromText {
		return v.node.Value, true
	}
	expanded, err := expand(v.node.Value, v.read.lookup)
	if err != nil {
		v.problem(err.Error(), expansionMend)
		return "", false
	}
	if !slices.Contains(tags, v.node.Tag) && (v.node.Tag != "!!str" || expanded == v.node.Value) {
		v.problem(fmt.Sprintf("is %s, not %s", kindOf(v.node), wanted), mend)
		return "", false
	}
	return expanded, true
}

func (v value) text() (string, bool) {
	text, ok := v.scalar("text", "put it in quotes", "!!str")
	if !ok {
		return "", false
	}
	if strings.TrimSpace(text) == "" {
		v.problem("is empty", "give it a value, or take the key out")
		return "", false
	}
	if strings.ContainsAny(text, "\x00\r\n") {
		v.problem("is more than one line", "write it on one line")
		return "", false
	}
	return text, true
}

// oneOf reads one of a few words.
func (v value) oneOf(words ...string) (string, bool) {
	text, ok := v.text()
	if ok && !slices.Contains(words, text) {
		v.problem("is none of "+strings.Join(words, ", "), mendWord(text, words))
		return "", false
	}
	return text, ok
}

func (v value) integer(least, most int64) (int64, bool) {
	mend := fmt.Sprintf("write a whole number from %d to %d", least, most)
	text, ok := v.scalar("a whole number", mend, "!!int")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		v.problem("is out of range", mend)
		return 0, false
	}
	return n, true
}

// share reads a number above 0 and at most 1.
func (v value) share() (float64, bool) {
	const mend = "write a number above 0 and at most 1, as in 0.5"
	text, ok := v.scalar("a number", mend, "!!float", "!!int")
	if !ok {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(0 < f && f <= 1) { // written so that NaN is refused
		v.problem("is out of range", mend)
		return 0, false
	}
	return f, true
}

func (v value) boolean() (bool, bool) {
	text, ok := v.scalar("true or false", "write true or false", "!!bool")
	if !ok {
		return false, false
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		v.problem("is neither true nor false", "write true or false")
		return false, false
	}
	return b, true
}

func (v value) weight() (capability.Weight, bool) {
	const mend = "write it in percent, as in 25% or 0.5%"
	text, ok := v.scalar("a weight", mend, "!!str")
	if !ok {
		return 0, false
	}
	if text == "auto" {
		v.problem("is not there yet: weights are not decided by the rollout", "write a weight, as in 25%")
		return 0, false
	}
	weight, err := capability.ParseWeight(text)
	if err != nil {
		v.problem("is no share from 0% to 100% in steps of 0.01%", mend)
		return 0, false
	}
	return weight, true
}

func (v value) list() ([]value, bool) {
	if v.node.Tag == fromText {
		var items []value
		for part := range strings.SplitSeq(v.node.Value, ",") {
			node := &yaml.Node{Kind: yaml.ScalarNode, Tag: fromText, Value: strings.TrimSpace(part)}
			items = append(items, value{read: v.read, path: v.path, node: node, variable: v.variable})
		}
		return items, true
	}
	if v.node.Kind != yaml.SequenceNode {
		v.problem(fmt.Sprintf("is %s, not a list", kindOf(v.node)), "write [a, b], or one `- item` per line")
		return nil, false
	}
	if len(v.node.Content) == 0 {
		v.problem("is an empty list", "write its items, or take the key out")
		return nil, false
	}
	var items []value
	for i, node := range v.node.Content {
		if refused(node) {
			continue
		}
		items = append(items, value{read: v.read, path: v.path + "[" + strconv.Itoa(i) + "]", node: node})
	}
	return items, true
}
