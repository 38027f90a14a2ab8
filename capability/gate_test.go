package capability

import (
	"errors"
	"fmt"
	"testing"
)

var (
	here  = Identity{System: "1", Timeline: 1}
	there = Identity{System: "2", Timeline: 1}
)

func gates(legacy GateState, l uint64, extracted GateState, e uint64) (Gate, Gate) {
	return Gate{State: legacy, Epoch: l, Self: here, Actual: here, Peer: there},
		Gate{State: extracted, Epoch: e, Self: there, Actual: there, Peer: here}
}

// TestDecide holds all nine pairs of states, each with the lower epoch on either
// side.
func TestDecide(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		legacy    GateState
		l         uint64
		extracted GateState
		e         uint64
		owner     Side
		action    Action
		on        Side
	}{
		{Open, 1, Sealed, 0, Legacy, ActionNone, ""},
		{Sealed, 3, Open, 4, Extracted, ActionNone, ""},
		{Closing, 2, Sealed, 0, Legacy, ActionUndo, Legacy},
		{Sealed, 3, Closing, 5, Extracted, ActionUndo, Extracted},
		{Sealed, 3, Sealed, 0, "", ActionFinish, Extracted},
		{Sealed, 3, Sealed, 6, "", ActionFinish, Legacy},
		{Open, 1, Open, 4, "", ActionSeal, Legacy},
		{Open, 7, Open, 4, "", ActionSeal, Extracted},
		{Open, 1, Closing, 5, "", ActionSeal, Legacy},
		{Closing, 8, Open, 4, "", ActionSeal, Extracted},
		{Closing, 2, Closing, 5, "", ActionSeal, Legacy},
	} {
		legacy, extracted := gates(c.legacy, c.l, c.extracted, c.e)
		v := Decide(legacy, extracted)
		if v.Owner != c.owner || v.Action != c.action || v.On != c.on || v.Why == "" {
			t.Errorf("%s@%d %s@%d: %+v", c.legacy, c.l, c.extracted, c.e, v)
		}
	}
}

// strangers are the ways in which a database is not the one that the move began with.
var strangers = map[string]func(l, e *Gate){
	"legacy timeline":        func(l, _ *Gate) { l.Actual.Timeline++ },
	"legacy system":          func(l, _ *Gate) { l.Actual.System = "9" },
	"extracted timeline":     func(_, e *Gate) { e.Actual.Timeline++ },
	"extracted system":       func(_, e *Gate) { e.Actual.System = "9" },
	"legacy's other side":    func(l, _ *Gate) { l.Peer.System = "9" },
	"extracted's other side": func(_, e *Gate) { e.Peer.Timeline++ },
}

// TestDecideStopsOnAnotherDatabase: a restored or swapped database decides
// nothing.
func TestDecideStopsOnAnotherDatabase(t *testing.T) {
	t.Parallel()
	for name, change := range strangers {
		legacy, extracted := gates(Open, 1, Sealed, 0)
		change(&legacy, &extracted)
		if v := Decide(legacy, extracted); v.Action != ActionStop || v.Owner != "" {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestEveryWalkKeepsOneOwner explores all that two gates can do from the start,
// by the table, and finds no state in which both take writes while the protocol
// is followed: only what Decide allows is opened, and only the owner is closed.
func TestEveryWalkKeepsOneOwner(t *testing.T) {
	t.Parallel()
	type pair struct {
		ls, es GateState
		l, e   uint64
	}
	seen := map[pair]bool{}
	var walk func(p pair) error
	walk = func(p pair) error {
		if seen[p] || p.l > 20 || p.e > 20 {
			return nil
		}
		seen[p] = true
		legacy, extracted := gates(p.ls, p.l, p.es, p.e)
		if p.ls != Sealed && p.es != Sealed {
			return fmt.Errorf("both sides can take writes: %+v", p)
		}
		v := Decide(legacy, extracted)
		if v.Action == ActionSeal || v.Action == ActionStop {
			return fmt.Errorf("a state that needs a person: %+v", p)
		}
		step := func(side Side, event Event) error {
			own, other := legacy, extracted
			if side == Extracted {
				own, other = extracted, legacy
			}
			state, epoch, err := Next(own, other, event)
			if err != nil {
				return nil // not in the table: it cannot happen
			}
			if epoch <= own.Epoch {
				return fmt.Errorf("epoch %d after %d", epoch, own.Epoch)
			}
			next := pair{state, p.es, epoch, p.e}
			if side == Extracted {
				next = pair{p.ls, state, p.l, epoch}
			}
			return walk(next)
		}
		var errs error
		switch v.Action {
		case ActionNone:
			errs = step(v.Owner, EventClose)
		case ActionUndo:
			errs = errors.Join(step(v.On, EventOpen), step(v.On, EventReopen), step(v.On, EventSeal))
		case ActionFinish:
			errs = step(v.On, EventOpen)
		}
		return errs
	}
	if err := walk(pair{Open, Sealed, 1, 0}); err != nil {
		t.Fatal(err)
	}
	if len(seen) < 20 {
		t.Errorf("only %d states were reached", len(seen))
	}
}

func TestNextRefusesWhatIsNotInTheTable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from  GateState
		event Event
	}{{Open, EventOpen}, {Sealed, EventClose}, {Sealed, EventSeal}, {Sealed, EventReopen}, {Closing, EventClose}, {Open, EventReopen}} {
		if state, _, err := Next(Gate{State: c.from}, Gate{}, c.event); err == nil {
			t.Errorf("%s %s leads to %s", c.from, c.event, state)
		}
	}
}
