package migrate

import (
	"context"
	"io"
)

// KeyColumn is a column of a key with its type, which decides the order in which
// both sides tell their rows.
type KeyColumn struct {
	Name, Type string
}

// Number says that the column is ordered as a number. Everything else is ordered
// by the bytes of its text: collations differ between servers, bytes do not.
func (k KeyColumn) Number() bool {
	return k.Type == "smallint" || k.Type == "integer" || k.Type == "bigint"
}

// Found is one row as text, as the database writes its values.
type Found struct {
	Values  [][]byte // nil: NULL
	Version string   // changes with every version of the row; empty: there is no such row
}

// Rows is a database whose rows are compared with another's.
type Rows interface {
	// OpenRows opens a session that sees one snapshot until it is closed: the
	// exported one of that name, or with no name the present.
	OpenRows(ctx context.Context, snapshot string) (Reader, error)
	// ByKey returns the rows with the given keys, in the order of the keys.
	ByKey(ctx context.Context, from Relation, columns []string, key []KeyColumn, keys [][]string) ([]Found, error)
}

// Reader is a session that sees one snapshot.
type Reader interface {
	// Ordered writes all rows of a table in the order of the key, one line each in
	// the text form of COPY.
	Ordered(ctx context.Context, w io.Writer, from Relation, columns []string, key []KeyColumn) error
	Close() error
}
