package capability

import (
	"errors"
	"fmt"
	"time"
)

// ErrGate is returned when a gate is not what the caller read: somebody else
// changed it, or its lease ran out. Nothing was changed; the caller reads both
// gates again and decides afresh.
var ErrGate = errors.New("the gate has changed since it was read")

// ErrBusy is returned when tables could not be locked in the bounded time that
// writers may be made to wait. Nothing was changed; try later.
var ErrBusy = errors.New("the tables are locked")

// ErrNoGate is returned for a gate that was never made: no move has begun.
var ErrNoGate = errors.New("the gate was never made")

// GateState is whether one database takes writes to a capability's tables from
// anyone but the mover.
type GateState string

// Open takes writes. Closing refuses them until a lease runs out; after that the
// first writer opens the gate again. Sealed refuses them for good.
const (
	Open    GateState = "open"
	Closing GateState = "closing"
	Sealed  GateState = "sealed"
)

// Gate is one database's gate of one capability, as it was read.
type Gate struct {
	State GateState `json:"state"`
	// Epoch numbers the changes of both gates: every change takes a new one, by
	// compare-and-set on the one before.
	Epoch uint64 `json:"epoch"`
	// Since is when the state last changed, by the database's clock.
	Since time.Time `json:"since"`
	// Self and Peer are the identities of this database and the other one, as
	// recorded when the gate was made. Actual is what the database says now.
	Self   Identity `json:"self"`
	Peer   Identity `json:"peer"`
	Actual Identity `json:"actual"`
}

// Identity tells one database cluster and its history from another: a restored
// backup keeps the system identifier and takes a new timeline.
type Identity struct {
	System   string `json:"system"`
	Timeline uint32 `json:"timeline"`
}

// Event is what changes a gate.
type Event string

// The events. Reopen is the guard's own: the lease ran out, and the writer that
// found it so opens the gate in its own transaction.
const (
	EventClose  Event = "close"
	EventSeal   Event = "seal"
	EventOpen   Event = "open"
	EventReopen Event = "reopen"
)

// EpochRule says which epoch a change takes.
type EpochRule string

// AboveBoth is one above both gates' epochs, OwnPlusOne one above the gate's own.
const (
	AboveBoth  EpochRule = "above both"
	OwnPlusOne EpochRule = "own plus one"
)

// Transition is one row of the gate's table: in From, Event leads to To.
type Transition struct {
	From  GateState
	Event Event
	To    GateState
	Epoch EpochRule
}

// Transitions is the whole life of a gate. Whatever is not in it cannot happen.
var Transitions = []Transition{
	{Open, EventClose, Closing, AboveBoth},
	{Closing, EventSeal, Sealed, OwnPlusOne}, // only while the lease stands
	{Closing, EventOpen, Open, AboveBoth},    // the switch is undone
	{Closing, EventReopen, Open, OwnPlusOne}, // the lease ran out
	{Sealed, EventOpen, Open, AboveBoth},     // the switch is finished
	{Open, EventSeal, Sealed, AboveBoth},     // after a restore: both were open
}

// Next returns the state and epoch of a gate after an event, or an error that
// names what is not allowed.
func Next(own, other Gate, event Event) (GateState, uint64, error) {
	for _, t := range Transitions {
		if t.From != own.State || t.Event != event {
			continue
		}
		if t.Epoch == OwnPlusOne {
			return t.To, own.Epoch + 1, nil
		}
		return t.To, max(own.Epoch, other.Epoch) + 1, nil
	}
	return "", 0, fmt.Errorf("a gate that is %s cannot %s", own.State, event)
}

// Action is the one thing to do about a pair of gates.
type Action string

// What a controller that finds two gates does before anything else.
const (
	// ActionNone: one side owns, the other is sealed.
	ActionNone Action = "none"
	// ActionUndo: a switch was cut off before its commit point. Open the closing gate.
	ActionUndo Action = "undo"
	// ActionFinish: a switch was cut off after its commit point. Open the gate.
	ActionFinish Action = "finish"
	// ActionSeal: the databases disagree with the protocol, as after a restore.
	// Seal the gate, open nothing, and verify.
	ActionSeal Action = "seal"
	// ActionStop: an identity does not match. Change nothing, and verify.
	ActionStop Action = "stop"
)

// Verdict is what two gates say.
type Verdict struct {
	Owner  Side   // empty: nobody may write at this moment
	Action Action // what to do now
	On     Side   // the side whose gate the action changes
	Why    string
}

// Decide reads the owner and the one allowed next action off the two gates. It
// needs no third record: both sealed means "in between", and the gate with the
// lower epoch is the one to open.
func Decide(legacy, extracted Gate) Verdict {
	if why := mismatch(legacy, extracted); why != "" {
		return Verdict{Action: ActionStop, Why: why}
	}
	older := Legacy
	if extracted.Epoch < legacy.Epoch {
		older = Extracted
	}
	switch [2]GateState{legacy.State, extracted.State} {
	case [2]GateState{Open, Sealed}:
		return Verdict{Owner: Legacy, Action: ActionNone, Why: "legacy is open, extracted sealed"}
	case [2]GateState{Sealed, Open}:
		return Verdict{Owner: Extracted, Action: ActionNone, Why: "extracted is open, legacy sealed"}
	case [2]GateState{Closing, Sealed}:
		return Verdict{Owner: Legacy, Action: ActionUndo, On: Legacy, Why: "a switch to extracted stopped before its commit point"}
	case [2]GateState{Sealed, Closing}:
		return Verdict{Owner: Extracted, Action: ActionUndo, On: Extracted, Why: "a switch to legacy stopped before its commit point"}
	case [2]GateState{Sealed, Sealed}:
		return Verdict{Action: ActionFinish, On: older, Why: "a switch to " + string(older) + " stopped after its commit point"}
	default:
		return Verdict{Action: ActionSeal, On: older,
			Why: fmt.Sprintf("legacy is %s and extracted %s, which only a restored or failed-over database explains", legacy.State, extracted.State)}
	}
}

// Unsealed returns the side that two gates show as the owner although one of the
// databases may be another than the move began with: its gate is not sealed, and has
// the higher epoch, as every opening and closing gives it one above both. false:
// there is no such side, because nobody owns, or because the gate that is open is
// one of before a restore.
func Unsealed(legacy, extracted Gate) (Side, bool) {
	switch {
	case legacy.State != Sealed && extracted.State == Sealed && legacy.Epoch > extracted.Epoch:
		return Legacy, true
	case extracted.State != Sealed && legacy.State == Sealed && extracted.Epoch > legacy.Epoch:
		return Extracted, true
	}
	return "", false
}

func mismatch(legacy, extracted Gate) string {
	switch {
	case legacy.Actual != legacy.Self:
		return "the legacy database is not the one this move began with"
	case extracted.Actual != extracted.Self:
		return "the extracted database is not the one this move began with"
	case legacy.Peer != extracted.Self, extracted.Peer != legacy.Self:
		return "the two gates do not name each other's database"
	}
	return ""
}
