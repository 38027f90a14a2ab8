package controller

import (
	"context"
	"time"

	"strangler/capability"
)

// Documents is where the desired state is kept.
type Documents interface {
	// Load returns the last good version of every document, and what is wrong
	// with those that are broken now.
	Load(ctx context.Context) ([]capability.Document, []capability.Problem, error)
	// Edit changes a document in place and returns its new revision.
	Edit(ctx context.Context, name string, edit capability.Edit) (revision string, err error)
	// Watch sends when something may have changed, until the context ends.
	Watch(ctx context.Context) <-chan struct{}
}

// States is where the effective state is kept.
type States interface {
	Effective(ctx context.Context) (map[string]capability.Effective, error)
	// Publish stores a state whose revision is one above the stored one; any
	// other is an error, and nothing is stored.
	Publish(ctx context.Context, state capability.Effective) error
}

// Ledger is the record of every change that matters.
type Ledger interface {
	Append(ctx context.Context, entry capability.Entry) error
	Ledger(ctx context.Context, name string, limit int) ([]capability.Entry, error)
}

// Proxies is the data plane as the controller sees it.
type Proxies interface {
	Registered(ctx context.Context) ([]capability.Registration, error)
	// Serving asks one proxy what it serves. It blocks until the proxy serves
	// the revision (and, with idle, holds without a write in flight) or wait is
	// over; the answer says what is true then.
	Serving(ctx context.Context, proxy capability.Registration, name string, revision uint64, idle bool, wait time.Duration) (capability.Serving, error)
}

// Mover keeps a capability's tables in two databases equal.
type Mover interface {
	// Run backfills what is missing, then follows in both directions until the
	// context ends or something makes it stop.
	Run(ctx context.Context) error
	Status() capability.DataStatus
	// Rest is for a mover that is paused, and runs until ctx ends: it gives a stream
	// up that its source keeps too much for, and then returns why.
	Rest(ctx context.Context) error
	// Mark returns a mark without its epoch.
	Mark(ctx context.Context, owner capability.Side) (capability.Mark, error)
	Verify(ctx context.Context, from capability.Side, report func(capability.Progress)) (capability.VerifyStatus, error)
	// Reset takes everything back that the move has made; a dry run only says what.
	Reset(ctx context.Context, dry bool, report func(capability.Progress)) error
}

// Handover is what a switch asks of the data.
type Handover interface {
	// WaitMarker blocks until the other side has applied the marker and all
	// before it.
	WaitMarker(ctx context.Context, from capability.Side, nonce string) error
	// UnverifiedKeys counts the keys written since they were last compared;
	// math.MaxInt where nobody knows and only a full verification will do.
	UnverifiedKeys(from capability.Side) int
	// VerifyChanged compares the unverified keys on both sides, exactly, while
	// the gate is shut and the marker applied.
	VerifyChanged(ctx context.Context, from capability.Side) ([]capability.Mismatch, error)
	// CarrySequences sets the other side's sequences behind those of from, with the
	// gap of the data section, and those that it names.
	CarrySequences(ctx context.Context, from capability.Side, data *capability.Data) error
	// Foresee says what would be wrong with the rows of the side opposite to from once it
	// owns, and which of its sequences could not be set, each with its mend. It may take as long as reading a table does.
	Foresee(ctx context.Context, from capability.Side, data *capability.Data) ([]string, error)
}

// Repairs makes the side that does not own equal to the one that does.
type Repairs interface {
	// Repair compares every row while both streams run, mends those that differ,
	// and compares again.
	Repair(ctx context.Context, from capability.Side, report func(capability.Progress)) (capability.VerifyStatus, error)
	// Recover makes the next Run of a mover that cannot follow any more compare and
	// mend before it follows anew. The mover does not run.
	Recover(ctx context.Context) error
}

// Webhooks tells an application, and returns its no as an error.
type Webhooks interface {
	Send(ctx context.Context, url string, what capability.Announcement) error
}

// Conflicts shows rows: those that a stream has ended at, and those that differed.
type Conflicts interface {
	// Conflict is the change with both rows as they are now; false: there is none.
	Conflict(ctx context.Context) (capability.Conflict, bool, error)
	// Differences are the rows that the last comparison has told of, as they are now.
	Differences(ctx context.Context) ([]capability.Difference, error)
}

// Border is the foreign keys that cross the capability's border, in legacy.
type Border interface {
	DropBorder(ctx context.Context) error
	RestoreBorder(ctx context.Context) error
}

// Gates are the capability's gate in each database; each call changes at most
// one, by compare-and-set (capability.ErrGate).
type Gates interface {
	Read(ctx context.Context) (legacy, extracted capability.Gate, err error)
	// Close returns capability.ErrBusy when the tables are locked by others.
	Close(ctx context.Context, side capability.Side, from, to uint64, lease time.Duration, nonce string) error
	Seal(ctx context.Context, side capability.Side, closing uint64) error
	Open(ctx context.Context, side capability.Side, from, to uint64) error
	SealOpen(ctx context.Context, side capability.Side, from, to uint64) error
}

// Guards is the housekeeping around the gates.
type Guards interface {
	Yield(ctx context.Context, side capability.Side) error
	// Disable takes them out of the way of writers, each of whom waits for it for as long
	// as wait at most. Without a wait it gives up where anybody writes.
	Disable(ctx context.Context, side capability.Side, epoch uint64, wait time.Duration) error
	Obstacles(ctx context.Context, side capability.Side) ([]string, error)
}

// Refusals counts what the gates have refused.
type Refusals interface {
	// Refused is what was refused to others than movers since the move began.
	Refused(ctx context.Context, side capability.Side) (capability.Refusals, error)
}

// Data is everything that reaches a capability's two databases.
type Data struct {
	Mover     Mover
	Handover  Handover
	Repairs   Repairs
	Border    Border
	Gates     Gates
	Guards    Guards
	Conflicts Conflicts
	Refusals  Refusals // nil: nobody counts
	// Retirement is the end of it all.
	Retirement Retirement
	Close      func()
}

// Connect reaches the databases of a capability's document. The token fences
// what this controller writes against its predecessors.
type Connect func(ctx context.Context, doc capability.Document, token uint64) (*Data, error)

// Healthy says whether the extracted or legacy side of a capability can take
// requests now.
type Healthy func(ctx context.Context, doc capability.Document, side capability.Side) error
