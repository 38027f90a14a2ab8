package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"strangler/capability"
)

// columns reads what becomes of columns: a name is what a legacy column is called
// on the extracted side, a section is where a column of the extracted side comes
// from.
func (v value) columns(table *capability.Table) {
	if v.node.Kind != yaml.MappingNode {
		v.problem("is "+kindOf(v.node)+", not columns", "write {legacy_name: extracted_name}, or {extracted_name: {forward: …}}")
		return
	}
	s := v.read.section(v.path, v.node)
	taken := map[string]bool{}
	table.Columns = map[string]string{}
	for _, key := range s.keys {
		column, ok := s.take(key.Value)
		if !ok {
			continue
		}
		if !identifier(key.Value) {
			column.problem("is no name of a column", "write it as the database shows it, without quotes of SQL")
			continue
		}
		as := key.Value
		if column.node.Kind != yaml.MappingNode {
			as, ok = column.renamed(key.Value)
		}
		switch {
		case !ok:
			continue
		case taken[as]:
			column.problem("fills a column that another one fills: "+as, "give each its own")
			continue
		}
		taken[as] = true
		if column.node.Kind != yaml.MappingNode {
			table.Columns[key.Value] = as
		} else if computed, ok := column.computed(as); ok {
			table.Computed = append(table.Computed, computed)
		}
	}
}

// renamed reads the name of a column on the extracted side.
func (v value) renamed(column string) (string, bool) {
	name, ok := v.text()
	switch {
	case !ok:
		return "", false
	case strings.ContainsAny(name, "()'|:+*/"):
		v.problem("is an expression where a name is wanted", "write "+column+": {forward: …}, under the column's name on the extracted side")
		return "", false
	case !identifier(name):
		v.problem("is no name of a column", "write it as the database shows it, without quotes of SQL")
		return "", false
	}
	return name, true
}

// computed reads where a column of the extracted table comes from.
func (v value) computed(column string) (capability.Computed, bool) {
	s := v.section()
	c := capability.Computed{Column: column, Line: v.node.Line}
	before := len(v.read.problems)
	take := func(key string) (value, bool) {
		if !s.has(key) { // of a column of any name: not each can say everything
			s.known = append(s.known, key)
			return value{}, false
		}
		return s.take(key)
	}
	forward, hasForward := take("forward")
	constant, hasConstant := take("constant")
	reverse, hasReverse := take("reverse")
	s.close()
	if hasForward {
		c.Forward, _ = forward.text()
	}
	if hasConstant {
		c.Constant, _ = constant.scalar("a value", "write a text, a number, true or false", "!!str", "!!int", "!!float", "!!bool")
	}
	if hasReverse {
		c.Reverse = reverse.reverse()
	}
	switch {
	case s.has("forward") && s.has("constant"):
		v.problem("has both forward and constant", "take one out")
	case hasReverse && s.has("constant"):
		reverse.problem("stands beside a constant, of which nothing comes back", "take it out")
	case !s.has("forward") && !s.has("constant"):
		v.problem("does not say where its values come from", "write forward: and SQL over the legacy table's columns, or constant: and a value")
	case s.has("constant") && !hasConstant:
		v.problem("has no constant", "write a text, a number, true or false; a column that is to be NULL needs no line")
	}
	return c, len(v.read.problems) == before && (hasForward || hasConstant)
}

// reverse reads how legacy columns are computed from the extracted row.
func (v value) reverse() []capability.Reverse {
	if v.node.Kind != yaml.MappingNode {
		v.problem("is "+kindOf(v.node)+", not columns of the legacy table", "write {legacy_name: SQL over the extracted table's columns}")
		return nil
	}
	s := v.read.section(v.path, v.node)
	var list []capability.Reverse
	for _, key := range s.keys {
		column, ok := s.take(key.Value)
		if !ok {
			continue
		}
		if !identifier(key.Value) {
			column.problem("is no name of a column", "write it as the database shows it, without quotes of SQL")
			continue
		}
		if sql, ok := column.text(); ok {
			list = append(list, capability.Reverse{Column: key.Value, SQL: sql})
		}
	}
	return list
}

// omitted reads the legacy columns that stay behind.
func (v value) omitted(table capability.Table) ([]string, bool) {
	items, ok := v.list()
	var names []string
	for _, item := range items {
		name, ok := item.text()
		if !ok {
			continue
		}
		_, renamed := table.Columns[name]
		switch {
		case !identifier(name):
			item.problem("is no name of a column", "write it as the database shows it, without quotes of SQL")
		case slices.Contains(names, name):
			item.problem("is listed twice", "take one out")
		case renamed:
			item.problem("is renamed under columns", "take one out: a column moves or it does not")
		default:
			names = append(names, name)
		}
	}
	return names, ok
}
