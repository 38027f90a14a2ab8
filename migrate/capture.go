package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"strangler/capability"
)

// Capture is one way of reading what is committed to a capability's tables in
// one database. All ways behave the same: what differs is what they ask of the
// server, and what they cost its writers.
type Capture interface {
	Recorder
	Source
}

// Recorder is the part of a capture that the changes wait in.
type Recorder interface {
	// CreateStream begins to keep every change of the tables. With export the
	// snapshot can be imported until it is closed; without, only its Position is of
	// use.
	CreateStream(ctx context.Context, relations []Relation, export bool) (Snapshot, error)
	StreamExists(ctx context.Context) (bool, error)
	// DropStream ends that; what was not applied is lost. No error when there is
	// nothing.
	DropStream(ctx context.Context) error
	// TemporarySnapshot exports a snapshot at a known position, for a comparison. The
	// error is ErrNoSnapshot where the server has none to give for now.
	TemporarySnapshot(ctx context.Context) (Snapshot, error)
	// Retained says what the source keeps for the stream; nothing where there is none.
	Retained(ctx context.Context) (Retention, error)
	// Position returns a position behind everything committed before the call,
	// which the stream reaches even when nothing is written after it.
	Position(ctx context.Context) (capability.Position, error)
	// Visible blocks until whoever looks at the database from now on sees these
	// transactions, which the stream has brought, for ten seconds at most. A log tells
	// of a commit before the database does: a moment as a rule, and much longer where
	// the commit waits for a synchronous standby.
	Visible(ctx context.Context, transactions []uint32) error
}

// ErrNoSnapshot is wrapped by what names the reason why a server has no snapshot at
// a known position for now: too few slots, or transactions that a new one has to
// wait for.
var ErrNoSnapshot = errors.New("no snapshot at a known position")

// Captured is a database that changes are read from.
type Captured interface {
	// Capture returns a capability's capture of one kind. It asks nobody, and makes
	// nothing.
	Capture(kind capability.Capture, name string) Capture
	// BestCapture says which kind server and role allow for, and why: the log where
	// it can be had, else triggers.
	BestCapture(ctx context.Context) (kind capability.Capture, reason string, err error)
}

// chosen is how one side's changes are read.
type chosen struct {
	kind   capability.Capture
	reason string
}

// chooseCaptures decides how the changes of each side are read: as the move has
// begun, as the document says, or as server and role allow for.
func chooseCaptures(ctx context.Context, wanted capability.Capture, move Move, databases map[capability.Side]Database) (map[capability.Side]chosen, error) {
	choices := map[capability.Side]chosen{}
	for _, side := range capability.Sides {
		if kind := move.Capture[side]; kind != "" {
			reason := "as the move has begun"
			if wanted != "" && wanted != capability.CaptureAuto && wanted != kind {
				reason += fmt.Sprintf("; data.capture: %s takes effect after a reset", wanted)
			}
			choices[side] = chosen{kind, reason}
			continue
		}
		if wanted == capability.CaptureWAL || wanted == capability.CaptureTrigger {
			choices[side] = chosen{wanted, "as data.capture says"}
			continue
		}
		kind, reason, err := databases[side].BestCapture(ctx)
		if err != nil {
			return nil, err
		}
		choices[side] = chosen{kind, reason}
	}
	return choices, nil
}

// choose decides how changes are read, for this Run and for the record.
func (m *Mover) choose(ctx context.Context, move *Move) error {
	choices, err := chooseCaptures(ctx, m.Document.Data.Capture, *move, m.databases)
	if err != nil {
		return err
	}
	m.kinds = map[capability.Side]capability.Capture{}
	move.Capture, m.captures = map[capability.Side]capability.Capture{}, map[capability.Side]Capture{}
	for _, side := range capability.Sides {
		kind := choices[side].kind
		move.Capture[side], m.kinds[side] = kind, kind
		m.captures[side] = m.databases[side].Capture(kind, m.Document.Name)
	}
	return nil
}

// dropStream removes whatever a side's changes were ever kept in for the
// capability: which kind that was may not be on record any more.
func (m *Mover) dropStream(ctx context.Context, side capability.Side) error {
	for _, kind := range capability.Captures {
		if err := m.databases[side].Capture(kind, m.Document.Name).DropStream(ctx); err != nil {
			return err
		}
	}
	return nil
}

// described says for a plan how changes are read.
func described(choices map[capability.Side]chosen) string {
	words := map[capability.Capture]string{capability.CaptureWAL: "the write-ahead log", capability.CaptureTrigger: "triggers"}
	text := ""
	for i, side := range capability.Sides {
		if i > 0 {
			text += ", and "
		}
		text += fmt.Sprintf("%s in %s (%s)", words[choices[side].kind], side, choices[side].reason)
	}
	return text
}

// captureNotes is what somebody should know of a table that triggers capture.
func (p *planner) captureNotes(facts Facts, side capability.Side) (notes []Remark) {
	if p.captures[side].kind == capability.CaptureTrigger && len(facts.Rewriting) > 0 {
		notes = append(notes, Remark{Message: fmt.Sprintf("triggers of the %s table seem to write it again: %s; its changes are captured in the right order unless a transaction says SET CONSTRAINTS ALL IMMEDIATE",
			side, strings.Join(facts.Rewriting, ", "))})
	}
	return notes
}

// unlog takes out of facts what matters only where a log names the rows.
func (p *planner) unlog(facts *Facts, side capability.Side) {
	if p.captures[side].kind == capability.CaptureTrigger {
		facts.ReplicaID = ""
		for i := range facts.Partitions {
			facts.Partitions[i].Unnamed = false
		}
	}
}

// made says what is made so that a capability's changes are kept, and what that
// waits for.
func made(choices map[capability.Side]chosen) string {
	parts := map[capability.Capture]string{
		capability.CaptureWAL:     "a publication and a slot in the %s one; a slot waits, while it is made, for every transaction that is writing in the cluster",
		capability.CaptureTrigger: "triggers and tables of events in the %s one; a trigger waits, for 100 ms at a time, until nobody is writing to its table",
	}
	a, b := choices[capability.Legacy].kind, choices[capability.Extracted].kind
	if a == b {
		return strings.Replace(parts[a], "in the %s one", "in each", 1)
	}
	return fmt.Sprintf(parts[a], capability.Legacy) + "; " + fmt.Sprintf(parts[b], capability.Extracted)
}
