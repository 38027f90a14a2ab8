package model

import "strangler/capability"

// Gate is one gate of the model, with whoever is at work behind it. It is here for
// the test that holds it against the functions of gate.sql: the model is worth as
// much as the two are alike.
type Gate struct {
	State   capability.GateState
	Epoch   uint64
	Over    bool // the lease of a closing gate has run out
	Guarded bool // the guards are enabled
	Strange bool // the database is not the one that the gate was made in
	Writing bool // somebody has written, and not committed
}

// A Statement changes a gate.
type Statement string

// The statements that a controller sends.
const (
	Close    Statement = "close"
	Seal     Statement = "seal"
	Open     Statement = "open"
	SealOpen Statement = "seal an open gate"
	Disable  Statement = "disable the guards"
)

// An Answer is what becomes of a statement.
type Answer string

// What becomes of a statement: it is done, or the gate is not what it expects, or it
// waits for somebody who writes, and gives up.
const (
	Done    Answer = "done"
	Refused Answer = "refused"
	Busy    Answer = "busy"
)

// Change is what a statement does to the gate that expects one epoch and brings
// another.
func (g Gate) Change(s Statement, from, to uint64) (Gate, Answer) {
	m, now := g.model()
	kinds := map[Statement]kind{Close: shut, Seal: seal, Open: openIt, SealOpen: sealOpen, Disable: disable}
	answer := m.execute(&now, statement{kind: kinds[s], on: legacy, from: uint8(from), to: uint8(to)}, !g.Over)
	return g.after(&now), map[outcome]Answer{done: Done, refused: Refused, busy: Busy}[answer]
}

// Write is what the guards say to somebody who writes and commits. The snapshot is
// what the gate was when his transaction began, nil where every statement takes its
// own; changed says that the gate's row was written since.
func (g Gate) Write(snapshot *Gate, changed bool) (after Gate, permitted bool) {
	m, now := g.model()
	w, over := writer{at: legacy}, g.Over
	if snapshot != nil {
		w.mode, w.snapshot, w.fresh, over = begun, stateOf(snapshot.State), !changed, snapshot.Over
	}
	w, permitted, _ = m.guard(&now, w, over)
	if permitted {
		now.writer[0] = w
		m.commit(&now, 0)
	}
	return g.after(&now), permitted
}

func (g Gate) model() (*Model, state) {
	m, now := New(Bounds{}, 0), start()
	d := &now.db[legacy]
	d.state, d.epoch, d.guarded, d.strange = stateOf(g.State), uint8(g.Epoch), g.Guarded, g.Strange
	if g.Writing {
		now.writer[1], _, _ = m.guard(&now, writer{at: legacy}, g.Over)
	}
	return m, now
}

func (g Gate) after(s *state) Gate {
	d := &s.db[legacy]
	g.State, g.Epoch, g.Guarded = gateStates[d.state], uint64(d.epoch), d.guarded
	return g
}
