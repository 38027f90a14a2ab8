package migrate

import (
	"time"

	"strangler/capability"
)

// Event is one message of a change stream as the source sends it: Begin, then
// Origin, Shape, Row, Truncate and Message in any number, then Commit; and
// Keepalive between any two. Transactions arrive whole and in commit order.
type Event any

// Begin opens a transaction.
type Begin struct {
	Commit capability.Position // start of its commit record
	Time   time.Time           // of its commit, by the source's clock
	// ID is of a transaction that may be here before anybody sees it in the source;
	// 0: whoever looks there sees it.
	ID uint32
}

// Commit closes it.
type Commit struct {
	Commit capability.Position // the same as its Begin's
	End    capability.Position // end of the commit record: the resume point behind the transaction
}

// Origin says that the transaction's changes were themselves replicated, and
// under which name. It follows its Begin.
type Origin struct{ Name string }

// Shape describes a relation before its first row of a connection, and again
// whenever it has changed.
type Shape struct {
	ID       uint32
	Relation Relation
	Identity byte // pg_class.relreplident: d, n, f or i
	Whole    bool // old rows come with all of their columns, whatever the identity is
	// Numbered says that this is the table as its catalog has it now, with the numbers
	// of its columns, and not as its next rows were written: these tell their width.
	Numbered bool
	Last     int16 // of a numbered one: Table.Last
	Columns  []ShapeColumn
}

// whole says whether old rows come with all of their columns.
func (s Shape) whole() bool { return s.Whole || s.Identity == 'f' }

// ShapeColumn is one column of a Shape. Key says that it belongs to the replica
// identity.
type ShapeColumn struct {
	Name     string
	Key      bool
	Type     uint32 // of the source's pg_type
	Modifier int32
	Number   int16 // of a numbered Shape
}

// RowKind says what happened to a row.
type RowKind byte

// The kinds, as pgoutput writes them.
const (
	Insert RowKind = 'I'
	Update RowKind = 'U'
	Delete RowKind = 'D'
)

// Row is one row change in the order of its Shape's columns. Old is nil for an
// insert, and for an update that left the replica identity alone; otherwise only
// the identity's columns are filled, unless that is FULL. New is nil for a
// delete.
type Row struct {
	Kind     RowKind
	Relation uint32
	Old, New []Value
	// Width is Table.Last when the row was written, for a numbered Shape; 0: not known.
	Width int16
}

// Value is one column's value as text. Nil is NULL, which the empty text is not.
type Value struct {
	Text      []byte
	Unchanged bool // TOASTed and untouched by the update: the value was not sent
}

// Truncate empties relations together.
type Truncate struct{ Relations []uint32 }

// Message is what pg_logical_emit_message wrote inside the transaction.
type Message struct{ Prefix, Content string }

// Keepalive says that every transaction that ended up to End has been sent,
// unless it comes between a Begin and its Commit.
type Keepalive struct {
	End   capability.Position
	Reply bool // the source wants an answer at once
}

// Received is an event with what is known of its sending.
type Received struct {
	Event Event
	Sent  time.Time // by the source's clock
	Bytes int       // of memory it holds, roughly
}
