package config

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"strangler/capability"
)

var methodForm = regexp.MustCompile(`^[A-Z][A-Z-]*$`)

func (v value) methods() ([]string, bool) {
	return distinct(v, func(item value) (string, bool) {
		method, ok := item.text()
		if ok && !methodForm.MatchString(method) {
			item.problem("is no HTTP method", "write it as in GET")
			return "", false
		}
		return method, ok
	})
}

// headers reads conditions on headers, in the order of the document.
func (v value) headers() ([]capability.Condition, bool) {
	return v.conditions("{X-Tenant: acme}", func(name string) (canonical, message, mend string) {
		canonical, message = headerName(name)
		if mend = "write another, as in {X-Tenant: acme}"; canonical == hostHeader {
			mend = "use host:"
		}
		return canonical, message, mend
	})
}

// query reads conditions on parameters.
func (v value) query() ([]capability.Condition, bool) {
	return v.conditions(`{version: "2"}`, func(name string) (string, string, string) {
		if name == "" {
			return "", "is no name of a parameter", `write it as in {version: "2"}`
		}
		return name, "", ""
	})
}

// conditions reads `name: value`, where "*" asks for no more than the name.
func (v value) conditions(example string, canonical func(string) (name, message, mend string)) ([]capability.Condition, bool) {
	if v.node.Kind != yaml.MappingNode || len(v.node.Content) == 0 {
		v.problem("is "+kindOf(v.node)+", and no conditions", "write "+example)
		return nil, false
	}
	s := v.section()
	var all []capability.Condition
	lines := map[string]int{}
	for _, key := range s.keys {
		item, ok := s.take(key.Value)
		if !ok {
			continue
		}
		name, message, mend := canonical(key.Value)
		if message != "" {
			item.problem(message, mend)
			continue
		}
		if line, twice := lines[name]; twice {
			item.problem(fmt.Sprintf("asks for %s, as line %d does", name, line), "keep one of the two")
			continue
		}
		lines[name] = key.Line
		if text, ok := item.asked(); ok {
			all = append(all, capability.Condition{Name: name, Value: text})
		}
	}
	return all, true
}

// asked is the value that a condition asks for; empty: any.
func (v value) asked() (string, bool) {
	text, ok := v.text()
	switch {
	case !ok:
	case text == "*":
		return "", true
	case strings.TrimSpace(text) != text || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }):
		v.problem("begins or ends with a space, or holds a control character, which no request has", `write the value alone, or "*" for any`)
		return "", false
	}
	return text, ok
}

// oddities reads what a path may hold.
func (v value) oddities() ([]capability.Oddity, bool) {
	return distinct(v, words(capability.Oddities...))
}
