package migrate

import (
	"context"
	"slices"

	"strangler/capability"
)

// Definition is one table of the extracted database as it follows from the
// legacy one and the mapping.
type Definition struct {
	From   Table
	To     Relation
	Rename map[string]string // legacy column to extracted column
	Mode   capability.TableMode
	Exists bool // in the extracted database: other tables may refer to it, nothing is made
	// Omit are legacy columns that it does not have, Computed are columns that only
	// it has.
	Omit     []string
	Computed []Computed
}

// Name returns a column's name on the extracted side.
func (d Definition) Name(column string) string {
	if as, ok := d.Rename[column]; ok {
		return as
	}
	return column
}

func (d Definition) names(columns []string) []string {
	list := make([]string, len(columns))
	for i, name := range columns {
		list[i] = d.Name(name)
	}
	return list
}

// Reduced is the definition without the columns that it does not have.
func (d Definition) Reduced() Definition {
	d.From.Columns = slices.DeleteFunc(slices.Clone(d.From.Columns), func(c Column) bool { return slices.Contains(d.Omit, c.Name) })
	return d
}

// Renamed is a sequence, and what it is called elsewhere.
type Renamed struct {
	From Sequence
	To   Relation
}

// DDL makes tables where there are none.
type DDL struct {
	Statements []string `json:"statements"`
	Omitted    []string `json:"omitted,omitempty"` // what the tables have and the statements do not make
}

// Definer turns tables that exist into statements that make them elsewhere.
type Definer interface {
	// Define reads the definitions of the tables in this database and returns the
	// statements that make those that do not exist in the other one: schemas,
	// extensions, types, functions, sequences, tables, constraints, indexes, in
	// that order. Foreign keys are kept where both ends move. The sequences are those
	// that are made besides, because the document names them.
	Define(ctx context.Context, definitions []Definition, sequences ...Renamed) (DDL, error)
	// Execute runs statements in one transaction.
	Execute(ctx context.Context, statements []string) error
}
