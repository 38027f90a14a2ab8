package migrate

import (
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// Relation names a table in one database. Both parts are exact: nothing is
// folded, quoting is the adapter's business.
type Relation struct {
	Schema, Name string
}

// String writes the relation for people: the schema is left out where it is
// public.
func (r Relation) String() string {
	if r.Schema == "public" {
		return r.Name
	}
	return r.Schema + "." + r.Name
}

// ParseRelation reads "table" or "schema.table" as documents write it.
func ParseRelation(s string) Relation {
	if schema, name, found := strings.Cut(s, "."); found {
		return Relation{schema, name}
	}
	return Relation{"public", s}
}

// Column is one column of a table as its catalog describes it.
type Column struct {
	Name      string
	Type      string // format_type, schema-qualified where it is not built in
	NotNull   bool
	Generated bool   // STORED: never copied, never written
	Identity  string // "", "always" or "default"
	Default   string // expression, or empty
	Collation string // schema-qualified, or empty where it is the default
}

// Table is one table of one database.
type Table struct {
	Relation
	Kind    string // of pg_class: r, p (partitioned), ...
	Columns []Column
	// Key are the columns of the primary key, in key order: the identity of a
	// row in the stream, in chunks and in verification.
	Key   []string
	Pages int64 // size on disk in blocks, for chunks
	Rows  int64 // estimated
	Bytes int64 // with TOAST, without indexes
}

// Column finds a column by name.
func (t Table) Column(name string) (Column, bool) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return t.Columns[i], true
}

// Pair is one table of the capability on both sides.
type Pair struct {
	Mode      capability.TableMode
	Legacy    Table
	Extracted Table
	// Columns lists the columns that move, in the legacy table's order, as
	// {legacy name, extracted name}. Generated columns are not in it.
	Columns []ColumnPair
}

// ColumnPair is one column under its two names.
type ColumnPair struct {
	Legacy, Extracted string
}

// On returns the pair's table on one side.
func (p Pair) On(side capability.Side) Table {
	if side == capability.Legacy {
		return p.Legacy
	}
	return p.Extracted
}

// Mapping is a pair seen in one direction: what the rows of From become in To.
// Position i of every list is the same column (or key column) on both sides.
type Mapping struct {
	Pair     Pair
	From, To Table
	// Columns and Key are by name, in one order for both sides. The key is in
	// the order of the legacy side's primary key.
	FromColumns, ToColumns []string
	FromKey, ToKey         []string
}

// Direct returns the pair as a mapping from one side to the other.
func (p Pair) Direct(from capability.Side) Mapping {
	m := Mapping{Pair: p, From: p.On(from), To: p.On(from.Other())}
	name := func(c ColumnPair, side capability.Side) string {
		if side == capability.Legacy {
			return c.Legacy
		}
		return c.Extracted
	}
	for _, c := range p.Columns {
		m.FromColumns = append(m.FromColumns, name(c, from))
		m.ToColumns = append(m.ToColumns, name(c, from.Other()))
	}
	for _, key := range p.Legacy.Key {
		i := slices.IndexFunc(p.Columns, func(c ColumnPair) bool { return c.Legacy == key })
		if i < 0 {
			continue // NewPair refuses keys that do not move
		}
		m.FromKey = append(m.FromKey, name(p.Columns[i], from))
		m.ToKey = append(m.ToKey, name(p.Columns[i], from.Other()))
	}
	return m
}

// NewPair matches the columns of the two tables by name through the document's
// renames. Every problem is returned: a column that would be lost, one that
// could not be filled, a key that is missing or differs.
func NewPair(doc capability.Table, legacy, extracted Table) (Pair, []capability.Problem) {
	p := Pair{Mode: doc.Mode, Legacy: legacy, Extracted: extracted}
	var problems []capability.Problem
	report := func(value, message, mend string) {
		problems = append(problems, capability.Problem{Path: "data.tables." + doc.Table, Line: doc.Line, Value: value, Message: message, Mend: mend})
	}
	filled := map[string]bool{}
	for _, c := range legacy.Columns {
		as := c.Name
		if renamed, ok := doc.Columns[c.Name]; ok {
			as = renamed
		}
		to, ok := extracted.Column(as)
		switch {
		case !ok && c.Generated:
		case !ok:
			report(c.Name, fmt.Sprintf("the extracted table %s has no column %q", extracted.Relation, as), "add it there, or rename it under columns:")
		case c.Generated || to.Generated:
			filled[as] = true // each side computes its own; verified like the rest
		case c.Type != to.Type:
			report(c.Name, fmt.Sprintf("%s is %s on the legacy side and %s on the extracted one", c.Name, c.Type, to.Type), "make the types the same: an exact comparison needs it")
		default:
			filled[as] = true
			p.Columns = append(p.Columns, ColumnPair{c.Name, as})
		}
	}
	for name := range doc.Columns {
		if _, ok := legacy.Column(name); !ok {
			report(name, fmt.Sprintf("the legacy table %s has no column %q to rename", legacy.Relation, name), "write the name as the database has it")
		}
	}
	for _, c := range extracted.Columns {
		if !filled[c.Name] && !c.Generated && c.NotNull && c.Default == "" && c.Identity == "" {
			report(c.Name, fmt.Sprintf("column %q of %s exists only on the extracted side, is NOT NULL and has no default", c.Name, extracted.Relation), "give it a default or drop NOT NULL")
		}
	}
	problems = append(problems, p.keyProblems(doc)...)
	return p, problems
}

func (p Pair) keyProblems(doc capability.Table) []capability.Problem {
	path := "data.tables." + doc.Table
	if len(p.Legacy.Key) == 0 {
		return []capability.Problem{{Path: path, Line: doc.Line, Value: p.Legacy.String(), Message: "the table has no primary key, so its rows cannot be told apart",
			Mend: "add one (ALTER TABLE … ADD PRIMARY KEY), or leave the table out"}}
	}
	if m := p.Direct(capability.Legacy); !slices.Equal(sorted(m.ToKey), sorted(p.Extracted.Key)) {
		return []capability.Problem{{Path: path, Line: doc.Line, Value: strings.Join(p.Extracted.Key, ", "),
			Message: fmt.Sprintf("the primary key of the extracted table %s is not that of the legacy table (%s)", p.Extracted.Relation, strings.Join(p.Legacy.Key, ", ")),
			Mend:    "give both tables the same key columns"}}
	}
	return nil
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return names
}
