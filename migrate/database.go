package migrate

import (
	"context"

	"strangler/capability"
)

// Database is what a mover needs of each of a capability's two databases: the
// parts are declared beside the code that uses them.
type Database interface {
	Catalog
	Calculator
	Definer
	Copied
	Partitioned
	Identified
	Filled
	Asides
	Rows
	Surroundings
	Observer
	Moves
	Borders
	Sequencer
	Captured
	Beginnings
	Target
	Strained
	Watched
	Retired
}

// Watched is a database whose tables may change while they are followed.
type Watched interface {
	// Look is Tables without sizes, and costs next to nothing.
	Look(ctx context.Context, relations []Relation) ([]Table, error)
}

// Beginnings is a database as the place where streams end: what it has applied.
type Beginnings interface {
	BeginProgress(ctx context.Context, p Progress) error
	Progress(ctx context.Context, name string, from capability.Side) (p Progress, found bool, err error)
}

// Gates are the capability's two gates, as far as a mover has to do with them.
type Gates interface {
	// Prepare makes what is missing of gates and guards: legacy open, extracted
	// sealed.
	Prepare(ctx context.Context, legacy, extracted []Relation) error
	Read(ctx context.Context) (legacy, extracted capability.Gate, err error)
	// Adopt takes the databases that are there now for those of the move, after a
	// restore or failover whose damage is repaired.
	Adopt(ctx context.Context) error
	// Drop removes gate and guards of one side: it takes writes from then on.
	Drop(ctx context.Context, side capability.Side) error
}
