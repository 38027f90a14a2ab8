package migrate

import (
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// NewPair matches the columns of the two tables by name through the document's
// renames. Every problem is returned: a column that would be lost, one that
// could not be filled, a key that is missing or differs. It takes no account of
// what the document computes.
func NewPair(doc capability.Table, legacy, extracted Table) (Pair, []capability.Problem) {
	return newPair(doc, legacy, extracted, expressed{})
}

// newPair is NewPair with the document's expressions, as the databases have read
// them.
func newPair(doc capability.Table, legacy, extracted Table, e expressed) (Pair, []capability.Problem) {
	m := &matching{doc: doc, filled: map[string]bool{}, Pair: Pair{Mode: doc.Mode, Legacy: legacy, Extracted: extracted,
		Forward: e.forward, Reverse: e.reverse, Where: e.where, Lossy: doc.Lossy}, elsewhere: e.elsewhere}
	for _, c := range legacy.Columns {
		if e.elsewhere[c.Name].fills != "" {
			m.Elsewhere = append(m.Elsewhere, c.Name)
		}
	}
	for _, c := range extracted.Columns {
		if e.beside[c.Name] != "" {
			m.Beside = append(m.Beside, c.Name)
		}
	}
	if doc.Mode == capability.Copy {
		m.Reverse = nil // there is no way back
	}
	m.computed()
	for _, c := range legacy.Columns {
		m.column(c)
	}
	m.named()
	for _, c := range extracted.Columns {
		if !m.filled[c.Name] && !slices.Contains(m.Beside, c.Name) && !c.Generated && c.NotNull && c.Default == "" && c.Identity == "" {
			m.report(c.Name, fmt.Sprintf("column %q of %s exists only on the extracted side, is NOT NULL and has no default", c.Name, extracted.Relation), "give it a default or drop NOT NULL")
		}
	}
	m.back()
	m.chooseKey()
	m.Elsewhere = slices.DeleteFunc(m.Elsewhere, func(name string) bool { return slices.Contains(m.Legacy.Key, name) }) // it is in both
	m.Beside = slices.DeleteFunc(m.Beside, func(name string) bool { return slices.Contains(m.Extracted.Key, name) })
	m.problems = append(m.problems, m.keyProblems(doc)...)
	return m.Pair, m.problems
}

// matching is a pair that is being made.
type matching struct {
	Pair
	doc    capability.Table
	filled map[string]bool // extracted columns
	// elsewhere is what other parts of the legacy table do with its columns.
	elsewhere map[string]claim
	problems  []capability.Problem
}

func (m *matching) report(value, message, mend string) {
	m.problems = append(m.problems, capability.Problem{Path: entry(m.doc), Line: m.doc.Line, Value: value, Message: message, Mend: mend})
}

// computed takes the columns of both sides that expressions fill.
func (m *matching) computed() {
	for _, c := range m.Forward {
		to, _ := m.Extracted.Column(c.Column) // it was asked for its type
		m.filled[c.Column] = true
		switch {
		case to.Generated:
			m.report(c.Column, fmt.Sprintf("column %q of %s is generated there, and cannot be written", c.Column, m.Extracted.Relation), fmt.Sprintf("ALTER TABLE %s ALTER %s DROP EXPRESSION, or take it out of columns:", m.Extracted.SQL(), sqlName(c.Column)))
		case slices.Contains(m.Extracted.Key, c.Column):
			m.report(c.Column, fmt.Sprintf("column %q is of the primary key of %s: rows are told apart by it, so it cannot be computed", c.Column, m.Extracted.Relation), "move a column of the legacy key under this name: `legacy_name: "+c.Column+"`")
		}
	}
	for _, c := range m.Reverse {
		from, _ := m.Legacy.Column(c.Column)
		as, _, moves := m.target(c.Column)
		switch {
		case from.Generated:
			m.report(c.Column, fmt.Sprintf("column %q of %s is generated there, and cannot be written", c.Column, m.Legacy.Relation), "take it out of reverse:")
		case moves && !m.forward(as) && !slices.Contains(m.doc.Omit, c.Column):
			m.report(c.Column, fmt.Sprintf("column %q of %s is filled twice: by the extracted column %q, and by reverse:", c.Column, m.Legacy.Relation, as), "take it out of reverse:, or list it under omit:")
		}
	}
}

// target is what a legacy column is called on the extracted side, and the column
// there, unless another one was given that name.
func (m *matching) target(column string) (string, Column, bool) {
	if as, ok := m.doc.Columns[column]; ok {
		to, ok := m.Extracted.Column(as)
		return as, to, ok
	}
	for _, as := range m.doc.Columns {
		if as == column {
			return column, Column{}, false
		}
	}
	to, ok := m.Extracted.Column(column)
	return column, to, ok
}

// forward says whether an extracted column is computed.
func (m *matching) forward(column string) bool { return contains(m.Forward, column) }

func contains(list []Computed, column string) bool {
	return slices.ContainsFunc(list, func(c Computed) bool { return c.Column == column })
}

// inputs says whether something is computed from a column.
func inputs(list []Computed, column string) bool {
	return slices.ContainsFunc(list, func(c Computed) bool { return slices.Contains(c.Inputs, column) })
}

// column decides what becomes of one column of the legacy table.
func (m *matching) column(c Column) {
	as, to, ok := m.target(c.Name)
	_, renamed := m.doc.Columns[c.Name]
	switch {
	case slices.Contains(m.doc.Omit, c.Name):
		if slices.Contains(m.Legacy.Key, c.Name) {
			m.report(c.Name, fmt.Sprintf("column %q is of the primary key of %s: rows cannot be told apart without it", c.Name, m.Legacy.Relation), "take it out of omit:")
		} else {
			m.stays(c)
		}
	case m.forward(as) && renamed:
		m.report(c.Name, fmt.Sprintf("column %q of %s is filled twice: from %q, and by an expression", as, m.Extracted.Relation, c.Name), "take one out of columns:")
	case !ok && c.Generated:
	case m.forward(as), !ok && (contains(m.Reverse, c.Name) || inputs(m.Forward, c.Name) || m.elsewhere[c.Name].looked):
		m.stays(c)
	case !ok:
		m.report(c.Name, fmt.Sprintf("the extracted table %s has no column %q for it", m.Extracted.Relation, as), "add it there, rename it under columns:, or leave it behind by `omit: ["+c.Name+"]`")
	case c.Generated || to.Generated:
		m.filled[as] = true // each side computes its own; verified like the rest
	case c.Type != to.Type:
		m.report(c.Name, fmt.Sprintf("%s is %s on the legacy side and %s on the extracted one", c.Name, c.Type, to.Type), "make the types the same: an exact comparison needs it; or compute it under columns: by `"+as+": {forward: …}`")
	default:
		m.filled[as] = true
		m.Columns = append(m.Columns, ColumnPair{c.Name, as})
	}
}

// stays looks at a legacy column that does not move as it is: a row that comes
// back must find a value for it.
func (m *matching) stays(c Column) {
	if m.Mode != capability.Copy && !slices.Contains(m.Elsewhere, c.Name) && !contains(m.Reverse, c.Name) && c.NotNull && c.Default == "" && c.Identity == "" && !c.Generated {
		m.report(c.Name, fmt.Sprintf("column %q of %s does not move, is NOT NULL and has no default: a row that extracted inserts could not come back", c.Name, m.Legacy.Relation),
			fmt.Sprintf("ALTER TABLE %s ALTER %s DROP NOT NULL, or give it a default, or compute it by reverse:", m.Legacy.SQL(), sqlName(c.Name)))
	}
}

// named reports names of the document that the tables do not have.
func (m *matching) named() {
	missing := func(name, why string) {
		if _, ok := m.Legacy.Column(name); !ok {
			m.report(name, fmt.Sprintf("the legacy table %s has no column %q %s", m.Legacy.Relation, name, why), "write the name as the database has it")
		}
	}
	for name := range m.doc.Columns {
		missing(name, "to rename")
	}
	for _, name := range m.doc.Omit {
		missing(name, "to leave behind")
	}
}

// back makes sure that what goes there by an expression comes back.
func (m *matching) back() {
	if m.Lossy || m.Mode == capability.Copy {
		return
	}
	for _, c := range m.Forward {
		var lost []string
		for _, input := range c.Inputs {
			moves := slices.ContainsFunc(m.Columns, func(p ColumnPair) bool { return p.Legacy == input })
			if !moves && !contains(m.Reverse, input) {
				lost = append(lost, input)
			}
		}
		if len(lost) > 0 {
			m.report(c.Column, fmt.Sprintf("column %q is computed from %s, and nothing computes that back: reverse sync, and so a rollback, would lose what extracted writes there", c.Column, strings.Join(lost, ", ")),
				"write `reverse: {"+lost[0]+": …}` beside `forward:`, or `reverse: lossy` for the table if it may be lost")
		}
	}
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return names
}
