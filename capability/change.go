package capability

import "fmt"

// Change is one compare-and-set on one gate: the event happens to the gate of On
// if its epoch is still From, and gives it the epoch To.
type Change struct {
	On    Side
	Event Event
	From  uint64
	To    uint64
}

// Ask returns the change by which an event happens to one of two gates as they were
// read, or an error that names what is not allowed.
func Ask(on Side, event Event, legacy, extracted Gate) (Change, error) {
	own, other := Sort(on, legacy, extracted)
	_, epoch, err := Next(own, other, event)
	if err != nil {
		return Change{}, fmt.Errorf("%s: %w", on, err)
	}
	return Change{On: on, Event: event, From: own.Epoch, To: epoch}, nil
}

// Sort returns two gates as a side sees them: its own first.
func Sort(side Side, legacy, extracted Gate) (own, other Gate) {
	if side == Extracted {
		return extracted, legacy
	}
	return legacy, extracted
}

// Mend returns the change that a verdict on two gates asks for; false: for none.
func (v Verdict) Mend(legacy, extracted Gate) (change Change, asked bool, err error) {
	switch v.Action {
	case ActionUndo, ActionFinish:
		change, err = Ask(v.On, EventOpen, legacy, extracted)
	case ActionSeal:
		change, err = Ask(v.On, EventSeal, legacy, extracted)
	case ActionNone, ActionStop:
		return Change{}, false, nil
	}
	return change, true, err
}

// Owns is nil where a side owns and nothing is to be mended, or the error that says
// what two gates say instead.
func Owns(side Side, legacy, extracted Gate) error {
	if v := Decide(legacy, extracted); v.Action != ActionNone || v.Owner != side {
		return fmt.Errorf("%s does not own: %s", side, v.Why)
	}
	return nil
}

// Finish returns the change that makes a side the owner behind the commit point of
// its switch; false: it owns already.
func Finish(to Side, legacy, extracted Gate) (change Change, asked bool, err error) {
	if Owns(to, legacy, extracted) == nil {
		return Change{}, false, nil
	}
	v := Decide(legacy, extracted)
	if v.Action != ActionFinish || v.On != to {
		return Change{}, false, fmt.Errorf("the gates say: %s", v.Why)
	}
	return v.Mend(legacy, extracted)
}

// Reopen returns the change that takes a closing back; false: the gate is no longer
// what that closing has made of it, because its lease ran out and a writer was
// faster, or because it never happened.
func Reopen(from Side, closing uint64, legacy, extracted Gate) (change Change, asked bool, err error) {
	own, _ := Sort(from, legacy, extracted)
	if own.State != Closing || own.Epoch != closing {
		return Change{}, false, nil
	}
	change, err = Ask(from, EventOpen, legacy, extracted)
	return change, true, err
}

// Sealing is what two gates tell of a sealing whose answer was lost.
type Sealing string

// Done: the commit point has passed. Failed: it has not, and cannot any more. Open:
// it has not, but may yet, because the sealing may be under way. Taking the closing
// back rules that out: it takes the epoch that the sealing names.
const (
	SealingDone   Sealing = "done"
	SealingFailed Sealing = "failed"
	SealingOpen   Sealing = "open"
)

// AfterSealing tells what became of the sealing of a closing.
func AfterSealing(own Gate, closing uint64) Sealing {
	switch {
	case own.State == Sealed && own.Epoch == closing+1:
		return SealingDone
	case own.State != Closing || own.Epoch != closing:
		return SealingFailed
	}
	return SealingOpen
}
