package migrate

import (
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
	// Number is the column's own for as long as it lives, whatever its name is; 0:
	// nobody has asked.
	Number   int16   `json:",omitempty"`
	TypeID   uint32  `json:",omitempty"` // of pg_type, as streams tell it
	Modifier int32   `json:",omitempty"` // of the type
	Missing  *string `json:",omitempty"` // what rows have that are older than the column; nil: NULL
	Enum     string  `json:",omitempty"` // the enumeration that it is of, or made of
}

// Enum is a type of a table's columns, with its values in order.
type Enum struct {
	Name   string // as statements write it
	Labels []string
}

// Table is one table of one database.
type Table struct {
	Relation
	Kind    string // of pg_class: r, p (partitioned), ...
	Columns []Column
	// Key are the columns of the primary key, in key order, or of the index that
	// stands for it: the identity of a row in the stream, in chunks and in
	// verification.
	Key      []string
	KeyIndex string `json:",omitempty"` // that index; empty: the primary key's
	// Candidates are the keys that would do, best first.
	Candidates []Candidate `json:"-"`
	Pages      int64       // size on disk in blocks, for chunks
	Rows       int64       // estimated
	Bytes      int64       // with TOAST, without indexes

	ID    uint32 `json:",omitempty"` // of pg_class: a table that was made anew has another one
	File  uint32 `json:",omitempty"` // of its rows: a rewrite takes another one
	Last  int16  `json:",omitempty"` // number that a column has got last, dropped or not
	Enums []Enum `json:",omitempty"`
}

// Numbered finds a column by its number.
func (t Table) Numbered(number int16) (Column, bool) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Number == number })
	if i < 0 || number == 0 {
		return Column{}, false
	}
	return t.Columns[i], true
}

// numberOf is a column's number; 0: there is none.
func (t Table) numberOf(name string) int16 {
	c, _ := t.Column(name)
	return c.Number
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
	// Forward are the extracted table's columns that are computed from the legacy
	// row, Reverse the legacy table's that are computed from the extracted one. What
	// is empty is left out of the text that tells two layouts apart.
	Forward []Computed  `json:",omitempty"`
	Reverse []Computed  `json:",omitempty"`
	Where   *Expression `json:",omitempty"` // over the legacy row: which ones move; nil: all
	// Lossy: the way back need not give what the way there was given.
	Lossy bool `json:",omitempty"`
	// Sibling is the other part of a legacy table that is divided, on the extracted
	// side, and Elsewhere are the legacy columns that come back from there.
	Sibling   string   `json:",omitempty"`
	Elsewhere []string `json:",omitempty"`
	// Partner is the legacy table that becomes one with this, and Beside are the
	// extracted columns that it fills.
	Partner string   `json:",omitempty"`
	Beside  []string `json:",omitempty"`
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
// Position i of FromColumns and ToColumns is the same column on both sides, as
// far as FromColumns goes; behind that ToColumns has those that are computed.
type Mapping struct {
	Pair     Pair
	Side     capability.Side // of From
	From, To Table
	// Columns and Key are by name, in one order for both sides. The key is in
	// the order of the legacy side's primary key.
	FromColumns, ToColumns []string
	FromKey, ToKey         []string
	// Computed are the last of ToColumns.
	Computed []Computed
	// Inputs are columns of From that are only looked at: by what is computed, or by
	// Where. What a stream takes of a row is FromColumns, then Inputs.
	Inputs []string
	Where  *Expression // over rows of From: those that are there for To; nil: all
	Guard  *Expression // over rows of To: those that may be written; nil: all
	// Halves are the mappings of two tables whose rows are joined in To, where this is
	// that of whole rows: its columns come from them.
	Halves []Mapping
	// Past is what From was like before, in order: each up to its position. Changes
	// that commit behind the last of them are of From as it is.
	Past []Past
}

// Past is a table as it was up to a position of its database.
type Past struct {
	Table Table
	Until capability.Position
}

// Direct returns the pair as a mapping from one side to the other.
func (p Pair) Direct(from capability.Side) Mapping {
	m := Mapping{Pair: p, Side: from, From: p.On(from), To: p.On(from.Other())}
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
	if m.Computed, m.Where = p.Forward, p.Where; from == capability.Extracted {
		m.Computed, m.Where, m.Guard = p.Reverse, nil, p.Where
	}
	for _, c := range m.Computed {
		m.ToColumns = append(m.ToColumns, c.Column)
		m.look(c.Inputs)
	}
	if m.Where != nil {
		m.look(m.Where.Inputs)
	}
	return m
}

// look takes columns up that do not move as they are.
func (m *Mapping) look(inputs []string) {
	for _, name := range inputs {
		if !slices.Contains(m.FromColumns, name) && !slices.Contains(m.Inputs, name) {
			m.Inputs = append(m.Inputs, name)
		}
	}
}

// Taken are the columns of From whose values a stream takes, in the order of a
// Change before it is translated.
func (m Mapping) Taken() []string { return slices.Concat(m.FromColumns, m.Inputs) }

// positions finds columns among those that are taken.
func (m Mapping) positions(names []string) []int {
	taken := m.Taken()
	list := make([]int, len(names))
	for i, name := range names {
		list[i] = slices.Index(taken, name)
	}
	return list
}

// Plain says that rows of From are rows of To as they are, but for the names.
func (m Mapping) Plain() bool { return len(m.Computed) == 0 && m.Where == nil }
