package migrate

import (
	"fmt"
	"slices"

	"strangler/capability"
)

// Expression is a value that is computed from one row, in the form in which
// PostgreSQL itself writes it: every name is written out, so that it means the
// same whatever the search path is. It is immutable: the same values give the
// same result, on both sides and at any time.
type Expression struct {
	SQL    string
	Type   string   // of the result, as format_type writes it
	Inputs []string // columns that it reads, in the order of the table
	// Large are those of them whose values may be kept apart from the row (TOAST):
	// an update that leaves one alone does not send it.
	Large []string `json:",omitempty"`
}

// Computed is a column and what its values come from.
type Computed struct {
	Column string
	Expression
	Constant bool // one value for all rows
}

// Term is one value that is read of a row: a column as it is, or an SQL
// expression over the row's columns.
type Term struct {
	Column string
	SQL    string // empty: the column
}

// Selection is what is read of a table.
type Selection struct {
	Relation Relation
	Terms    []Term
	Where    string // SQL over a row: only those for which it is true; empty: all
	// With selects of another table: its terms come behind, and only rows that are in
	// both are selected. On are the columns of either key.
	With *Selection
	On   [][2]KeyColumn
}

// Columns selects columns of all rows as they are.
func Columns(r Relation, names ...string) Selection {
	s := Selection{Relation: r}
	s.columns(names)
	return s
}

func (s *Selection) columns(names []string) {
	for _, name := range names {
		s.Terms = append(s.Terms, Term{Column: name})
	}
}

func (s *Selection) computed(list []Computed) {
	for _, c := range list {
		s.Terms = append(s.Terms, Term{SQL: c.SQL})
	}
}

// only bounds the selection to the rows that a condition is true for.
func (s *Selection) only(condition *Expression) {
	if condition != nil {
		s.Where = condition.SQL
	}
}

// Source selects, in the mapping's source, the rows as the target is to have
// them: term i is the target's column i.
func (m Mapping) Source() Selection {
	if m.Halves != nil {
		return m.joined()
	}
	s := Columns(m.From.Relation, m.FromColumns...)
	s.computed(m.Computed)
	s.only(m.Where)
	return s
}

// Target selects the rows that the target has of the mapping's columns.
func (m Mapping) Target() Selection {
	s := Columns(m.To.Relation, m.ToColumns...)
	s.only(m.Guard)
	return s
}

// lost names the columns of the mapping's source that Compared leaves out, because
// the way back may lose what is in them.
func (m Mapping) lost() []string {
	if !m.Pair.Lossy || m.Pair.Mode == capability.Copy {
		return nil
	}
	var names []string
	add := func(name string) {
		text := fmt.Sprintf("%s.%s (whether it comes back as it is: reverse: lossy)", m.From.Relation, name)
		if !slices.Contains(m.FromColumns, name) && !slices.Contains(names, text) {
			names = append(names, text)
		}
	}
	back := m.Pair.Reverse
	if m.Side == capability.Extracted {
		back = m.Pair.Forward
	}
	for _, c := range back {
		if !c.Constant {
			add(c.Column)
		}
	}
	for _, c := range m.Computed {
		for _, input := range c.Inputs {
			add(input)
		}
	}
	return names
}

// Compared selects what must be equal on both sides, and names it: the source's
// rows as the target is to have them, and the other way round what the target's
// rows would become in the source. Without the second, a row could pass that the
// way back changes, or cannot make; it is left out where that was agreed to, and
// for tables that have no way back.
func (m Mapping) Compared() (source, target Selection, names []string) {
	source, target = m.Source(), m.Target()
	if m.Halves != nil { // for a repair, which has nothing to do with the way back
		return source, target, m.ToColumns
	}
	for _, c := range m.Pair.Columns {
		names = append(names, c.Legacy)
	}
	for _, c := range m.Computed {
		names = append(names, c.Column)
	}
	if m.Pair.Lossy || m.Pair.Mode == capability.Copy {
		return source, target, names
	}
	back := m.Pair.Reverse
	if m.Side == capability.Extracted {
		back = m.Pair.Forward
	}
	for _, c := range back {
		if c.Constant {
			continue // the way back leaves it alone
		}
		names = append(names, c.Column)
		source.Terms = append(source.Terms, Term{Column: c.Column})
		target.Terms = append(target.Terms, Term{SQL: c.SQL})
	}
	return source, target, names
}

// comparedWith is Compared, with columns that are not moved behind it.
func (m Mapping) comparedWith(extra []ColumnPair) (source, target Selection, names []string) {
	source, target, names = m.Compared()
	for _, p := range extra {
		names = append(names, p.Legacy)
		source.columns([]string{p.on(m.Side)})
		target.columns([]string{p.on(m.Side.Other())})
	}
	return source, target, names
}
