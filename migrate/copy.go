package migrate

import (
	"context"
	"io"
	"math"

	"strangler/capability"
)

// Chunk is a range of a table's blocks in the source, copied in one transaction
// of the target.
type Chunk struct {
	Table     int   // index of the mapping
	Low, High int64 // blocks; High is not in it
}

// LastBlock as a chunk's High means: to the end, however far the table has grown.
const LastBlock = math.MaxInt32

// Copied is a database that rows are copied from.
type Copied interface {
	// ReadChunk writes a chunk's rows, one line each in the text form of COPY, as
	// the exported snapshot sees them. It blocks as long as w does.
	ReadChunk(ctx context.Context, w io.Writer, snapshot string, from Relation, columns []string, chunk Chunk) (rows int64, err error)
	// Blocks says how large a table is now.
	Blocks(ctx context.Context, from Relation) (int64, error)
}

// Filled is a database that rows are copied into.
type Filled interface {
	// OpenWriter opens a session that passes the capability's guard, fires no
	// ordinary triggers and marks what it writes as coming from a side. Workers
	// are numbered from 0; one number has one session at a time.
	OpenWriter(ctx context.Context, name string, from capability.Side, worker int) (Writer, error)
	// Chunks returns the chunks of a capability that are finished, with their
	// tables by the names that WriteChunk was given.
	Chunks(ctx context.Context, name string) (map[Relation][]Chunk, error)
	// Analyze brings the planner's statistics up to date.
	Analyze(ctx context.Context, relations []Relation) error
}

// Writer is one session that writes into the tables of a capability.
type Writer interface {
	// WriteChunk reads lines as ReadChunk writes them and commits them together
	// with the record that the chunk is done.
	WriteChunk(ctx context.Context, r io.Reader, into Relation, columns []string, chunk Chunk) (rows int64, err error)
	// Empty deletes all rows of the tables and all records of chunks.
	Empty(ctx context.Context, relations []Relation) error
	Close() error
}
