package migrate

import (
	"context"
	"io"

	"strangler/capability"
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
	// Settled says that nobody is about to change this version, nor has and is only not
	// visible yet.
	Settled bool
}

// Rows is a database whose rows are compared with another's.
type Rows interface {
	// OpenRows opens a session that sees one snapshot until it is closed: the
	// exported one of that name, or with no name the present.
	OpenRows(ctx context.Context, snapshot string) (Reader, error)
	// OpenRepair opens a session that makes rows of the mapping's target those of
	// its source, past the guards and marked as coming from that side.
	OpenRepair(ctx context.Context, name string, from capability.Side, m Mapping) (Repair, error)
	// ByKey returns the rows with the given keys, in the order of the keys. One that
	// is not selected is not there.
	ByKey(ctx context.Context, from Selection, key []KeyColumn, keys [][]string) ([]Found, error)
}

// Reader is a session that sees one snapshot.
type Reader interface {
	// Ordered writes the rows of a table in the order of the key, one line each in
	// the text form of COPY: all, or those behind the key with the values of after.
	// Where somebody has waited for more than a second for the table's lock, ask is
	// called, if it is not nil; a second later the session is ended, which is a
	// YieldedError.
	Ordered(ctx context.Context, w io.Writer, from Selection, key []KeyColumn, after []string, ask func(to string)) error
	// Unpaired counts the rows of either table of a selection of two that have no
	// partner in the other. It gives way likewise, without asking.
	Unpaired(ctx context.Context, of Selection) (Alone, error)
	// Orphans counts the rows that a foreign key is not true for, and returns the query
	// that shows them. It gives way likewise, without asking.
	Orphans(ctx context.Context, key ForeignKey) (count int64, show string, err error)
	// Count counts the rows of a selection by reading the whole table, whatever its
	// indexes show. It gives way likewise.
	Count(ctx context.Context, of Selection) (int64, error)
	Close() error
}

// Repair collects the rows of one table that are to be as the source has them.
// Nothing is changed before Commit. It is for one goroutine.
type Repair interface {
	// Put takes a row: a line of the mapping's columns in the text form of COPY.
	Put(line []byte) error
	// Remove takes the key of a row that is to go, or to be replaced by what Put
	// takes: a line of the mapping's key columns.
	Remove(key []byte) error
	// Commit changes the rows in one transaction.
	Commit(ctx context.Context) error
	Close() error
}
