package migrate

import (
	"context"
	"errors"
	"io"
	"math"

	"strangler/capability"
)

// Chunk is a range of a table's blocks in the source, copied in one transaction
// of the target.
type Chunk struct {
	Table     int      // index of the mapping
	Leaf      Relation // that has the blocks: the table, or one of its partitions
	Low, High int64    // blocks; High is not in it
	File      int64    // of the table on disk: with another one the blocks are others
	Rows      int64    // copied, of one that is finished
}

// LastBlock as a chunk's High means: to the end, however far the table has grown.
const LastBlock = math.MaxInt32

// Extent is the size on disk of a table, or of one of its partitions.
type Extent struct {
	Leaf   Relation
	Blocks int64 // without TOAST
	Bytes  int64 // with it, without indexes
	File   int64 // changes when it is rewritten or truncated
}

// What may keep a chunk from being read.
var (
	// ErrSnapshotLost: the session that holds the snapshot is gone.
	ErrSnapshotLost = errors.New("the backfill's snapshot is lost")
	// ErrRewritten: the table's rows are in another file than the chunk's blocks.
	ErrRewritten = errors.New("the table was rewritten")
)

// YieldedError is returned for a chunk or a table whose reading was cancelled, because
// somebody waited for more than a second to change the table's definition, and
// everybody else behind that.
type YieldedError struct {
	Relation Relation
	To       string // who waited, for people
}

// Error names the table and who waited.
func (e *YieldedError) Error() string {
	return "reading " + e.Relation.String() + " gave way to " + e.To
}

// Copied is a database that rows are copied from.
type Copied interface {
	// OpenSnapshot opens a session that keeps a snapshot: the exported one of that
	// name, or with no name the present.
	OpenSnapshot(ctx context.Context, snapshot string) (Anchor, error)
	// ReadChunk writes the selection of a chunk's rows, one line each in the text
	// form of COPY, as the snapshot sees them. Its relation is the chunk's leaf. It
	// blocks as long as w does.
	ReadChunk(ctx context.Context, w io.Writer, snapshot string, from Selection, chunk Chunk) (rows int64, err error)
	// Extents says how large a table is now: itself, or each partition that has rows
	// of its own, by name.
	Extents(ctx context.Context, from Relation) ([]Extent, error)
}

// Anchor is a session that keeps a snapshot, which others import by its name.
type Anchor interface {
	Name() string
	// Ping fails when the session is gone, and the snapshot with it.
	Ping(ctx context.Context) error
	Close() error
}

// Filled is a database that rows are copied into.
type Filled interface {
	// OpenWriter opens a session that passes the capability's guard, fires no
	// ordinary triggers and marks what it writes as coming from a side. Workers
	// are numbered from 0; one number has one session at a time.
	OpenWriter(ctx context.Context, name string, from capability.Side, worker int) (Writer, error)
	// Chunks returns the chunks of a capability that are finished, with their
	// tables by the names in the target.
	Chunks(ctx context.Context, name string) (map[Relation][]Chunk, error)
	// ForgetChunks strikes off all chunks of a leaf: it is copied anew.
	ForgetChunks(ctx context.Context, name string, into, leaf Relation) error
	// Analyze brings the planner's statistics up to date.
	Analyze(ctx context.Context, relations []Relation) error
}

// Writer is one session that writes into the tables of a capability.
type Writer interface {
	// WriteChunk reads lines as ReadChunk writes them and commits them together
	// with the record that the chunk is done. With merge there may be rows of their
	// keys already, which take the new values.
	WriteChunk(ctx context.Context, r io.Reader, mapping Mapping, chunk Chunk, merge bool) (rows int64, err error)
	// Empty deletes all rows of the tables and all records of chunks.
	Empty(ctx context.Context, relations []Relation) error
	Close() error
}
