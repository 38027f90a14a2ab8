package migrate

import (
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// unknownValues lists values of enumerations that one side has and the other one
// does not know, each list with the statements to run.
func unknownValues(pairs []Pair) []string {
	var list []string
	seen := map[string]bool{}
	for _, p := range pairs {
		for _, c := range p.Columns {
			legacy, extracted := p.Legacy.enum(c.Legacy), p.Extracted.enum(c.Extracted)
			for _, side := range capability.Sides {
				has, lacks := legacy, extracted
				if side == capability.Extracted {
					has, lacks = extracted, legacy
				}
				if has.Name == "" || lacks.Name == "" || seen[string(side)+lacks.Name] {
					continue
				}
				seen[string(side)+lacks.Name] = true
				if statements := addValues(has, lacks); len(statements) > 0 {
					list = append(list, fmt.Sprintf("type %s has values on the %s side that the other one does not know; run in the %s database: %s",
						has.Name, side, side.Other(), strings.Join(statements, "; ")))
				}
			}
		}
	}
	return list
}

// enum is the enumeration that a column is made of.
func (t Table) enum(column string) Enum {
	c, _ := t.Column(column)
	i := slices.IndexFunc(t.Enums, func(e Enum) bool { return e.Name == c.Enum && e.Name != "" })
	if i < 0 {
		return Enum{}
	}
	return t.Enums[i]
}

// addValues are the statements that give one enumeration the values of another
// one, each beside the same neighbour.
func addValues(has, lacks Enum) []string {
	var list []string
	known := slices.Clone(lacks.Labels)
	for i, label := range has.Labels {
		if slices.Contains(known, label) {
			continue
		}
		sql := fmt.Sprintf("ALTER TYPE %s ADD VALUE %s", lacks.Name, quoted(label))
		if i > 0 { // which is known by now
			sql += " AFTER " + quoted(has.Labels[i-1])
		} else if at := slices.IndexFunc(has.Labels, func(l string) bool { return slices.Contains(known, l) }); at >= 0 {
			sql += " BEFORE " + quoted(has.Labels[at])
		}
		list, known = append(list, sql), append(known, label)
	}
	return list
}

// quoted writes a text as statements do.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
