package migrate

import (
	"context"
	"time"

	"strangler/capability"
)

// Move is where the move of a capability's tables stands, kept in the extracted
// database so that a mover that starts anew knows what there is.
type Move struct {
	Phase       capability.MovePhase
	Fingerprint string                                 // of the tables and the mapping
	Capture     map[capability.Side]capability.Capture // how changes are read, for as long as the move lives
	Snapshot    capability.Position                    // where the stream begins
	Horizon     capability.Position                    // of the backfill; 0 while it has had one snapshot
	VerifiedAt  time.Time                              // zero: never
	// Layout are the tables that it follows, as the mover has written them down; empty
	// while it does not follow, or was begun by an earlier version.
	Layout []byte
}

// Moves is where moves are kept.
type Moves interface {
	// Install makes what moves are kept in, or brings it up to date.
	Install(ctx context.Context) error
	// Move reads a move; found is false where none was begun.
	Move(ctx context.Context, name string) (m Move, found bool, err error)
	// SaveMove writes all of it but the layout.
	SaveMove(ctx context.Context, name string, m Move) error
	SaveLayout(ctx context.Context, name, fingerprint string, layout []byte) error
	// Forget removes every record of the capability but its gate.
	Forget(ctx context.Context, name string) error
}

// Borders is the legacy database as the place of foreign keys that cross a
// capability's border.
type Borders interface {
	// DropForeignKeys drops the keys in one short transaction and remembers how to
	// make them again. Keys that are gone are left out.
	DropForeignKeys(ctx context.Context, name string, keys []ForeignKey) error
	// DroppedForeignKeys lists what was dropped and not restored.
	DroppedForeignKeys(ctx context.Context, name string) ([]ForeignKey, error)
	// RestoreForeignKey adds a dropped key without a look at the rows, and then
	// validates it where it was valid before. It blocks writers only for the first.
	RestoreForeignKey(ctx context.Context, name string, key ForeignKey) error
}

// Sequencer sets sequences.
type Sequencer interface {
	// Extreme returns the value of the column that is furthest in the sequence's
	// direction; found is false for an empty table.
	Extreme(ctx context.Context, s Sequence) (value int64, found bool, err error)
	// SetSequences makes each value the one that its sequence has handed out last. After
	// an error some may be set.
	SetSequences(ctx context.Context, values map[Relation]int64) error
}
