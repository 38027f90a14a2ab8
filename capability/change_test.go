package capability

import "testing"

// TestVerdictsAskForOneChange: what a controller does about two gates, whichever of
// them it is about.
func TestVerdictsAskForOneChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		legacy    GateState
		l         uint64
		extracted GateState
		e         uint64
		want      Change
	}{
		{Open, 1, Sealed, 0, Change{}},
		{Closing, 2, Sealed, 0, Change{Legacy, EventOpen, 2, 3}},
		{Sealed, 3, Closing, 5, Change{Extracted, EventOpen, 5, 6}},
		{Sealed, 3, Sealed, 0, Change{Extracted, EventOpen, 0, 4}},
		{Sealed, 3, Sealed, 6, Change{Legacy, EventOpen, 3, 7}},
		{Open, 1, Open, 4, Change{Legacy, EventSeal, 1, 5}},
		{Closing, 8, Open, 4, Change{Extracted, EventSeal, 4, 9}},
		{Closing, 2, Closing, 5, Change{Legacy, EventSeal, 2, 3}}, // by the epoch of its own closing
	} {
		legacy, extracted := gates(c.legacy, c.l, c.extracted, c.e)
		change, asked, err := Decide(legacy, extracted).Mend(legacy, extracted)
		if err != nil || asked != (c.want != Change{}) || change != c.want {
			t.Errorf("%s@%d %s@%d: %+v %v %v", c.legacy, c.l, c.extracted, c.e, change, asked, err)
		}
	}
}

// TestFinish: behind the commit point only the new owner's gate is opened, and only
// once.
func TestFinish(t *testing.T) {
	t.Parallel()
	if c, asked, err := Finish(Extracted, closed(Sealed, 3), sealed(0)); err != nil || !asked || c != (Change{Extracted, EventOpen, 0, 4}) {
		t.Error(c, asked, err)
	}
	if _, asked, err := Finish(Extracted, closed(Sealed, 3), other(Open, 4)); err != nil || asked {
		t.Error("it is open already:", asked, err)
	}
	for name, pair := range map[string][2]Gate{
		"not sealed yet":  {closed(Closing, 2), sealed(0)},
		"on the way back": {closed(Sealed, 3), sealed(6)},
		"undone":          {closed(Open, 3), sealed(0)},
	} {
		if c, asked, err := Finish(Extracted, pair[0], pair[1]); err == nil || asked {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestReopenTakesBackItsOwnClosing, and nobody else's.
func TestReopenTakesBackItsOwnClosing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		own   Gate
		asked bool
	}{{closed(Closing, 2), true}, {closed(Closing, 4), false}, {closed(Open, 3), false}, {closed(Sealed, 3), false}} {
		change, asked, err := Reopen(Legacy, 2, c.own, sealed(0))
		if err != nil || asked != c.asked || asked && change != (Change{Legacy, EventOpen, 2, 3}) {
			t.Errorf("%s@%d: %+v %v %v", c.own.State, c.own.Epoch, change, asked, err)
		}
	}
}

// TestAfterSealing: a gate that is still closing tells nothing.
func TestAfterSealing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		own  Gate
		want Sealing
	}{{closed(Sealed, 3), SealingDone}, {closed(Closing, 2), SealingOpen}, {closed(Open, 3), SealingFailed}, {closed(Closing, 4), SealingFailed}, {closed(Sealed, 5), SealingFailed}} {
		if got := AfterSealing(c.own, 2); got != c.want {
			t.Errorf("%s@%d: %s", c.own.State, c.own.Epoch, got)
		}
	}
}

// closed is a gate of legacy, other and sealed of extracted.
func closed(state GateState, epoch uint64) Gate {
	g, _ := gates(state, epoch, Sealed, 0)
	return g
}

func other(state GateState, epoch uint64) Gate {
	_, g := gates(Open, 1, state, epoch)
	return g
}

func sealed(epoch uint64) Gate { return other(Sealed, epoch) }
