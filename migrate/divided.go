package migrate

import (
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// A legacy table that the document lists twice is divided between two tables of the
// extracted side. Forward each part is a pair like any other. What makes them parts
// is the way back: a row comes back of both, so that both have the same rows under
// the same key, and every other column comes back from one of them.

// entry names an entry of the document in problems: where a table is divided, with
// the part.
func entry(t capability.Table) string {
	if t.Divided {
		return "data.tables." + t.Table + " (as " + renamedTable(t) + ")"
	}
	return "data.tables." + t.Table
}

// Concerns says whether a problem is about a legacy table, or about the part of it
// that has a name on the extracted side.
func Concerns(p capability.Problem, table, as string) bool {
	name, part, ok := problemTable(p)
	return ok && name == table && (part == "" || part == as)
}

// ProblemTable is the legacy table that a problem is about, as plans write it; empty:
// none.
func ProblemTable(p capability.Problem) string {
	name, _, _ := problemTable(p)
	return name
}

func problemTable(p capability.Problem) (table, part string, ok bool) {
	name, ok := strings.CutPrefix(p.Path, "data.tables.")
	if !ok {
		return "", "", false
	}
	name, part, divided := strings.Cut(name, " (as ")
	if divided {
		part = ParseRelation(strings.TrimSuffix(part, ")")).String()
	}
	return ParseRelation(name).String(), part, true
}

// distinct are relations, each once: a table that is divided is captured, guarded
// and read once.
func distinct(list []Relation) []Relation {
	var once []Relation
	for _, r := range list {
		if !slices.Contains(once, r) {
			once = append(once, r)
		}
	}
	return once
}

// divides marks the entries of tables that are listed more than once, on either side.
func divides(tables []capability.Table) []capability.Table {
	tables = slices.Clone(tables)
	from, to := map[Relation]int{}, map[Relation]int{}
	for _, t := range tables {
		from[ParseRelation(t.Table)]++
		to[ParseRelation(renamedTable(t))]++
	}
	for i, t := range tables {
		tables[i].Divided, tables[i].Joined = from[ParseRelation(t.Table)] > 1, to[ParseRelation(renamedTable(t))] > 1
	}
	return tables
}

// claim is what an entry does with a column of a legacy table.
type claim struct {
	looked bool   // something is computed from it, at least
	fills  string // the extracted column that it comes back from, or that comes back as it; empty: it does not
}

// claims are the legacy columns that one entry of the document takes, or would take
// with the table that --create makes for it.
func claims(doc capability.Table, here, there Table, e expressed) map[string]claim {
	m := &matching{doc: doc, Pair: Pair{Legacy: here, Extracted: there, Forward: e.forward, Reverse: e.reverse}}
	absent := left(doc, here)
	list := map[string]claim{}
	for _, c := range here.Columns {
		as, _, is := m.target(c.Name)
		if there.Kind == "" {
			is = !slices.Contains(absent, c.Name)
		}
		_, renamed := doc.Columns[c.Name]
		switch {
		case contains(e.reverse, c.Name) || documentReverses(doc, c.Name):
			list[c.Name] = claim{looked: true, fills: "reverse"}
		case slices.Contains(doc.Omit, c.Name) || m.forward(as) && !renamed:
			if inputs(e.forward, c.Name) {
				list[c.Name] = claim{looked: true}
			}
		case is || renamed:
			list[c.Name] = claim{looked: true, fills: as}
		case inputs(e.forward, c.Name):
			list[c.Name] = claim{looked: true}
		}
	}
	return list
}

// documentReverses says whether a column comes back by an expression that was not
// read yet, because its table is not there.
func documentReverses(doc capability.Table, column string) bool {
	return slices.ContainsFunc(doc.Computed, func(c capability.Computed) bool {
		return slices.ContainsFunc(c.Reverse, func(r capability.Reverse) bool { return r.Column == column })
	})
}

// part is one entry of a table that is divided, on its way to a pair.
type part struct {
	doc         capability.Table
	here, there Table
	expressions expressed
	claims      map[string]claim
	fills       map[string]string // extracted columns, see filled
}

// others are the parts of the same table.
func others(parts []part, i int) []int {
	var list []int
	for j, p := range parts {
		if j != i && p.doc.Divided && parts[i].doc.Divided && p.here.Relation == parts[i].here.Relation {
			list = append(list, j)
		}
	}
	return list
}

// elsewhere is what the other parts of a table do with its columns.
func elsewhere(parts []part, i int) map[string]claim {
	list := map[string]claim{}
	for _, j := range others(parts, i) {
		for column, c := range parts[j].claims {
			if c.fills != "" || list[column].fills == "" {
				list[column] = c
			}
		}
		// What no part takes is told once, with the first of them.
		for _, c := range parts[i].here.Columns {
			if _, taken := list[c.Name]; !taken && j < i && parts[j].there.Kind != "" && !slices.Contains(parts[j].doc.Omit, c.Name) {
				list[c.Name] = claim{looked: true}
			}
		}
	}
	return list
}

// twice reports columns of a divided table that both parts would bring back, with the
// second of them. The key is in both.
func twice(parts []part, i int, key []string) []capability.Problem {
	var problems []capability.Problem
	p := parts[i]
	if p.doc.Mode == capability.Copy {
		return nil // nothing comes back
	}
	for _, j := range others(parts, i) {
		if j > i {
			continue
		}
		for _, c := range p.here.Columns {
			one, two := parts[j].claims[c.Name], p.claims[c.Name]
			if one.fills == "" || two.fills == "" || c.Generated || slices.Contains(key, c.Name) {
				continue
			}
			problems = append(problems, capability.Problem{Path: entry(p.doc), Line: p.doc.Line, Value: c.Name,
				Message: fmt.Sprintf("column %q of %s goes to both parts, %s and %s: nobody could say which of the two values comes back", c.Name, p.here.Relation, renamedTable(parts[j].doc), renamedTable(p.doc)),
				Mend:    "leave it out of one of them by `omit: [" + c.Name + "]`"})
		}
	}
	return problems
}

// together reports what keeps a part from being one of its table.
func together(parts []part, i int, pairs []Pair, p Pair) []capability.Problem {
	if parts[i].doc.Joined {
		return oneOfTwo(parts, i, pairs, p)
	}
	if problems := sameKeys(pairs, p, parts[i].doc); len(problems) > 0 {
		return problems
	}
	return twice(parts, i, p.Legacy.Key)
}

// sameKeys reports parts of a table whose rows are not known by the same key.
func sameKeys(pairs []Pair, p Pair, doc capability.Table) []capability.Problem {
	for _, other := range pairs {
		if !doc.Divided || other.Legacy.Relation != p.Legacy.Relation || other.Legacy.KeyIndex == p.Legacy.KeyIndex && slices.Equal(other.Legacy.Key, p.Legacy.Key) {
			continue
		}
		return []capability.Problem{{Path: entry(doc), Line: doc.Line, Value: strings.Join(p.Legacy.Key, ", "),
			Message: fmt.Sprintf("rows of %s are known by another key in %s than in %s (%s)", p.Legacy.Relation, p.Extracted.Relation, other.Extracted.Relation, strings.Join(other.Legacy.Key, ", ")),
			Mend:    "give both parts a key over the same columns"}}
	}
	return nil
}

// divided notes in the plan what a table that is divided asks of the service.
func (t *trial) divided() {
	t.note(t.Sibling != "", "", "the table is divided: the service writes a row of %s and its row of %s in one transaction, or the way back stops there", t.Extracted.Relation, t.Sibling)
}
