package capability

import (
	"fmt"
	"maps"
	"slices"
)

// Data is the desired state of a capability's tables.
type Data struct {
	State     DataState
	Database  string // connection string of the extracted database, mover's role
	Tables    []Table
	Border    []Border
	Capture   Capture // how changes are read; auto unless it says otherwise
	Gap       int64   // added to sequences when the owner changes
	Sequences []Sequence
	Rate      int // rows per second the backfill may copy; 0: as fast as it goes
	TableLine int // line of "tables" in the document, for messages
}

// DataState says what the mover should be doing.
type DataState string

// Running backfills what is missing and then follows in both directions.
const (
	DataStopped DataState = "stopped"
	DataPaused  DataState = "paused"
	DataRunning DataState = "running"
	// DataRetired is what a retirement leaves: the tables are extracted's for good, and
	// nothing moves any more.
	DataRetired DataState = "retired"
)

// Capture says how what is committed to a side's tables is read.
type Capture string

// CaptureWAL reads the write-ahead log by a replication slot. CaptureTrigger has
// triggers write every change a second time, into tables that are read. With
// CaptureAuto each side takes the log where server and role allow for it.
const (
	CaptureAuto    Capture = "auto"
	CaptureWAL     Capture = "wal"
	CaptureTrigger Capture = "trigger"
)

// Captures are the kinds that a side may have in the end.
var Captures = [2]Capture{CaptureWAL, CaptureTrigger}

// TableMode says how a table belongs to the capability.
type TableMode string

// Move tables change their owner with the capability. Copy tables are read by
// the extracted service and owned by somebody else for good: one way, written
// only by the mover, without a gate, untouched by a switch.
const (
	Move TableMode = "move"
	Copy TableMode = "copy"
)

// Table maps one table of the legacy database to the extracted one.
type Table struct {
	Table   string // on the legacy side, schema-qualified or found in public
	As      string // on the extracted side; default: the same name
	Mode    TableMode
	Columns map[string]string // renames, legacy name to extracted name
	// Computed are columns of the extracted table that are none of the legacy one.
	Computed []Computed
	Omit     []string // legacy columns that stay behind
	Where    string   // SQL over the legacy table's columns: the rows that move; empty: all
	// Lossy agrees to a mapping on whose way back something is lost.
	Lossy bool
	// Divided says that the legacy table is listed twice. The mover sets it, for itself.
	Divided bool
	// Joined says that another table becomes the same one of the extracted side. The
	// mover sets it, for itself.
	Joined bool
	Line   int
}

// Computed is one column of the extracted table and where its values come from:
// SQL over the legacy table's columns, or one value for all rows.
type Computed struct {
	Column   string
	Forward  string    // empty: Constant
	Constant string    // as text
	Reverse  []Reverse // how legacy columns come back
	Line     int
}

// Reverse is one column of the legacy table, computed from the extracted row.
type Reverse struct {
	Column string
	SQL    string // over the extracted table's columns
}

// BorderAction says what happens at a switch to a foreign key that has one end
// inside the capability and one outside.
type BorderAction string

// BorderDrop removes the constraint before the hold, and adds it again (NOT
// VALID, then validated) when the owner is legacy again. BorderKeep leaves it:
// allowed only for keys that point out of the capability and whose actions
// write none of its tables.
const (
	BorderDrop BorderAction = "drop"
	BorderKeep BorderAction = "keep"
)

// Border agrees to one crossing foreign key of the legacy database by name.
type Border struct {
	Constraint string
	AtSwitch   BorderAction
	Line       int
}

// Sequence is one that writers ask for numbers by its name: no column's default
// draws from it, so nothing but the document tells that it belongs to the tables.
type Sequence struct {
	Sequence string // on the legacy side, schema-qualified or found in public
	As       string // on the extracted side; default: the same name
	Line     int
}

// On is the sequence's name on one side.
func (s Sequence) On(side Side) string {
	if side == Extracted && s.As != "" {
		return s.As
	}
	return s.Sequence
}

func (d Data) clone() Data {
	d.Tables = slices.Clone(d.Tables)
	for i := range d.Tables {
		t := &d.Tables[i]
		t.Columns, t.Omit, t.Computed = maps.Clone(t.Columns), slices.Clone(t.Omit), slices.Clone(t.Computed)
		for j := range t.Computed {
			t.Computed[j].Reverse = slices.Clone(t.Computed[j].Reverse)
		}
	}
	d.Border, d.Sequences = slices.Clone(d.Border), slices.Clone(d.Sequences)
	return d
}

// Position is a point in one database's change stream: a resume point, ordered
// within that database and meaningless outside it.
type Position uint64

// String writes the position as PostgreSQL writes an LSN.
func (p Position) String() string { return fmt.Sprintf("%X/%X", uint32(p>>32), uint32(p)) }

// Mark is the answer to "what must the other side have applied before a
// subject that has just written may read there?". Marks of an epoch that is
// over are satisfied: a switch drains everything written before it.
type Mark struct {
	Epoch    uint64   `json:"epoch"`    // of the owner's gate when the mark was taken
	Position Position `json:"position"` // of the owner's database, read after the question arrived
	Applied  Position `json:"applied"`  // what the other side has applied by now
	Current  bool     `json:"current"`  // false: there is no stream, nobody may move
}
