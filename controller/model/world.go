package model

import "strangler/capability"

// A side is its index in capability.Sides.
type side uint8

const (
	legacy    side = 0
	extracted side = 1
)

func (s side) other() side { return 1 - s }

func (s side) String() string { return string(capability.Sides[s]) }

func sideOf(s capability.Side) side {
	if s == capability.Extracted {
		return extracted
	}
	return legacy
}

// A gateState is its index in gateStates.
type gateState uint8

const (
	open gateState = iota
	closing
	sealed
)

var gateStates = [...]capability.GateState{open: capability.Open, closing: capability.Closing, sealed: capability.Sealed}

func stateOf(s capability.GateState) gateState {
	for i, known := range gateStates {
		if s == known {
			return gateState(i)
		}
	}
	panic("no state of a gate: " + string(s))
}

// gate is a gate as it was read.
type gate struct {
	state   gateState
	epoch   uint8
	strange bool // the database is not the one that the move began with
}

// rows is what a database has. The table of the capability is one row, whose value
// is the write that made it so; each write remembers which it was made upon.
type rows struct {
	state   gateState
	epoch   uint8
	guarded bool  // the guards are enabled
	value   uint8 // the last write; 0: the row is as it was in the beginning
	applied uint8 // the last write of the other side that came over the stream
}

// database is one of the two.
type database struct {
	rows
	durable          rows  // what a crash leaves
	value0, applied0 uint8 // of value and applied, what a standby has that has every change of the gate
	strange          bool  // another cluster, or another history of it, than the move began with
}

// effective is the state that is stored for the proxies.
type effective struct {
	switching bool
	owner     side
	epoch     uint8
	running   uint8 // 0: no attempt is; else the side it leads to, plus one
	revision  uint8 // only the order of revisions means anything: see rank
}

// same says that two states differ in nothing but their revision.
func (e effective) same(o effective) bool {
	o.revision = e.revision
	return e == o
}

// statement is one that changes a gate.
type statement struct {
	kind     kind
	on       side
	from, to uint8 // epochs
	by       uint8 // the controller
}

type kind uint8

const (
	nothing  kind = iota
	shut          // close an open gate
	seal          // seal a closing one
	openIt        // open a closing or sealed one
	sealOpen      // seal an open one
	disable       // take the guards of an open one out of the way
)

// ctl is one controller.
type ctl struct {
	at       place
	sessions [2]bool   // that a database would let it use: nobody with a higher token has been there
	streams  [2]bool   // into a database, that it would let it write: the same
	cached   effective // the last state that it has published or read
	read     gate      // legacy's, while it reads extracted's
	want     statement // to be sent
	next     effective // to be published
	walk     uint8     // of an attempt: see walks
	to       side      // of an attempt
	closing  uint8     // of an attempt: epoch of its closing
	marker   uint8     // of an attempt: the last write before its closing
	passed   bool      // of an attempt: over a proxy that has not said that it holds
	hand     uint8     // a change that its mover has received; only without RuleTokens
	into     side      // where that goes
}

// proxy is what one proxy serves, and by which revision.
type proxy struct {
	switching bool
	owner     side
	revision  uint8
}

// writer is one request or session that writes.
type writer struct {
	mode     mode
	via      uint8 // the proxy, plus one; 0: none, or one that waits no longer
	at       side
	snapshot gateState // of the gate, when the transaction took its snapshot
	fresh    bool      // the gate's row is still as in the snapshot
	locked   bool      // it has a lock on the gate's row
	reopens  bool      // it has opened the gate in its transaction
	async    bool
}

type mode uint8

const (
	idle    mode = iota
	held         // at a proxy
	sent         // by a proxy to a side
	begun        // has a snapshot
	written      // past the guard, and not committed
)

const mostWrites = 3

// state is everything, at one moment.
type state struct {
	db     [2]database
	store  effective
	leader uint8 // the controller whose token is the highest, plus one
	ctl    [2]ctl
	proxy  [2]proxy
	writer [3]writer
	wire   [2]statement

	writes uint8                 // committed
	made   [mostWrites + 1]uint8 // of each write: itself and those it was made upon, as bits
	origin uint8                 // bits: the writes that were made on the extracted side
	owed   uint8                 // bits: the writes that must not be lost, because they were durable when, or since, they were answered
	failed broken                // what has gone wrong
}

// broken is a promise that was not kept at a step, and cannot be seen in a state.
type broken uint8

const (
	nothingBroken broken = iota
	holdBroken           // a closing met a write of a proxy that holds
)

func bit(write uint8) uint8 { return 1 << write }

// start is where every history begins: legacy owns.
func start() state {
	var s state
	s.db[legacy].rows = rows{state: open, epoch: 1}
	s.db[extracted].rows = rows{state: sealed, guarded: true}
	for i := range s.db {
		s.db[i].durable = s.db[i].rows
	}
	s.store = effective{owner: legacy, epoch: 1}
	return s
}

// gate reads a gate.
func (s *state) gate(on side) gate {
	return gate{s.db[on].state, s.db[on].epoch, s.db[on].strange}
}

// flush makes everything durable that a database has.
func (s *state) flush(on side) {
	d := &s.db[on]
	d.durable = d.rows
	s.owed |= s.made[d.value] & s.local(on)
}

// local is the writes that were made on a side.
func (s *state) local(on side) uint8 {
	if on == extracted {
		return s.origin
	}
	return ^s.origin
}

// pending is the next write of the other side that a database has not applied; 0:
// none. What is not durable at its source is not told yet.
func (s *state) pending(into side) uint8 {
	for w := s.db[into].applied + 1; w <= s.writes; w++ {
		if s.owed&s.local(into.other())&bit(w) != 0 {
			return w
		}
	}
	return 0
}
