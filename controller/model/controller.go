package model

import "strangler/capability"

// place is where a controller is: which call it makes next.
type place uint8

const (
	out        place = iota // it does not lead, or does not run
	leads                   // it has the leader's row, and has read the stored state
	connecting              // it has reached legacy
	resting                 // it has reached both databases, and looks every now and then
	looking                 // it has read legacy's gate
	mending                 // it is about to change a gate by what it has read
	publishing              // it is about to publish what the gates say
	tidying                 // it is about to take guards out of the way
	// What follows are the calls of an attempt: see attempt.go.
	holdStore
	holdFirst
	holdSecond
	closeRead
	closeReads
	closeGate
	drainWait
	sealGate
	sealRead
	sealReads
	sealReopen
	openRead
	openReads
	openGate
	publishOwner
	unguard
	reopenRead
	reopenReads
	reopenGate
	releaseRead
	releaseReads
	releaseStore
)

// controller is what a controller may do next.
func (m *Model) controller(s *state, c int, emit emitter) {
	k := s.ctl[c]
	if k.at == out {
		m.takeLead(s, c, emit)
		return
	}
	if m.bounds.Crashes {
		n := *s
		n.ctl[c] = ctl{}
		emit(act(dies, c), n, false)
	}
	if s.leader != uint8(c)+1 && k.at < holdStore {
		n := *s
		n.ctl[c] = ctl{}
		emit(act(learns, c), n, true)
	}
	switch k.at {
	case leads:
		m.connect(s, c, legacy, connecting, emit)
	case connecting:
		m.connect(s, c, extracted, resting, emit)
	case resting:
		m.rest(s, c, emit)
	case looking:
		m.look(s, c, emit)
	case mending, tidying:
		m.send(s, c, emit, func(n *state, _ answered) { n.ctl[c].rest() })
	case publishing:
		m.publish(s, c, k.next, emit, func(n *state, _ bool) { n.ctl[c].rest() })
	default:
		m.attempt(s, c, emit)
	}
}

// rest is the end of a look, or of an attempt.
func (k *ctl) rest() {
	*k = ctl{at: resting, sessions: k.sessions, streams: k.streams, cached: k.cached, hand: k.hand, into: k.into}
}

// takeLead makes a controller the leader. That the one before still runs, and that
// its lease has not run out by its own clock, does not matter: leases are clocks.
func (m *Model) takeLead(s *state, c int, emit emitter) {
	nobody := s.leader == 0 || s.ctl[s.leader-1].at == out
	n := *s
	n.leader = uint8(c) + 1
	n.ctl[c] = ctl{at: leads, sessions: [2]bool{true, true}, streams: [2]bool{true, true}, cached: s.store}
	l := act(takesLead, c)
	l.a = b2u(!nobody)
	emit(l, n, nobody)
}

// connect reaches one database. Whoever has the highest token ends the sessions of
// the other controller there, and what they have under way; whoever has not, and
// comes after it, is not let in.
func (m *Model) connect(s *state, c int, to side, then place, emit emitter) {
	n := *s
	l := act(connects, c)
	l.a = uint8(to)
	if !s.ctl[c].sessions[to] {
		n.ctl[c] = ctl{}
		l.b = 1
		emit(l, n, true)
		return
	}
	n.ctl[c].at = then
	if int(s.leader) == c+1 {
		before := &n.ctl[1-c]
		before.streams[to] = false
		if m.keeps(RuleFences) {
			before.sessions[to] = false
			for i := range n.wire {
				if st := &n.wire[i]; st.kind != nothing && st.on == to && int(st.by) == 1-c {
					*st = statement{}
				}
			}
		}
	}
	emit(l, n, true)
}

// rest is what a controller does that has nothing to do: it hears of what is stored,
// looks, and begins a switch when somebody types the command.
func (m *Model) rest(s *state, c int, emit emitter) {
	k := s.ctl[c]
	if k.cached.revision != s.store.revision && m.keeps(RuleHear) {
		n := *s
		n.ctl[c].cached = s.store
		emit(act(hears, c), n, true)
	}
	if k.sessions[legacy] {
		n := *s
		n.ctl[c].at, n.ctl[c].read = looking, s.gate(legacy)
		emit(act(looks, c), n, true)
	}
	if int(max(s.db[legacy].epoch, s.db[extracted].epoch)) <= m.bounds.Begin && !k.cached.switching {
		n := *s
		n.ctl[c].to = k.cached.owner.other()
		m.walkOn(&n.ctl[c], capability.Walk{})
		l := act(beginsSwitch, c)
		l.a = uint8(n.ctl[c].to)
		emit(l, n, false)
	}
}

// look reads the other gate, which may have changed since, and decides.
func (m *Model) look(s *state, c int, emit emitter) {
	n := *s
	k := &n.ctl[c]
	l := act(sees, c)
	if !k.sessions[extracted] {
		k.rest()
		l.a = 1
		emit(l, n, true)
		return
	}
	d := m.product.look(k.cached, k.read, s.gate(extracted))
	k.read = gate{}
	owner := sideOf(d.owner)
	switch {
	case d.mend.kind != nothing:
		k.at, k.want = mending, d.mend
	case d.publish:
		k.at, k.next = publishing, d.next
	case d.owner != "" && !k.cached.switching && s.db[owner].guarded: // or the guards are out of the way already
		k.at, k.want = tidying, statement{kind: disable, on: owner, from: s.db[owner].epoch}
	default:
		k.rest()
	}
	emit(l, n, true)
}

// answered is what a controller hears of a statement.
type answered uint8

const (
	took     answered = iota
	notTaken          // the gate is not what it was read to be
	noAnswer          // an error, which tells nothing
)

// How a statement or a publishing goes, for stories.
const (
	goesWell uint8 = iota
	isLate         // the gate, or the stored state, is another by now
	waitsTooLong
	isFenced
	isLost    // nothing happens, and the sender hears an error
	goesLater // the sender hears an error, and it happens when it happens
	isUnheard // it happens, and the sender hears an error
	isUnknown // the same, and what is stored cannot be read either
)

// send is all that may become of the statement that a controller wants to send.
func (m *Model) send(s *state, c int, emit emitter, then func(n *state, a answered)) {
	st := s.ctl[c].want
	st.by = uint8(c)
	tell := func(n state, how uint8, a answered, healthy bool) {
		then(&n, a)
		l := act(sends, c)
		l.a, l.b = uint8(s.ctl[c].at), how
		emit(l, n, healthy)
	}
	other := st.on.other()
	switch {
	case !s.ctl[c].sessions[st.on], st.kind == openIt && !s.ctl[c].sessions[other]: // it asks the other for its identity first
		tell(*s, isFenced, noAnswer, true)
		return
	case st.kind == openIt && s.db[other].strange && m.keeps(RuleIdentity):
		tell(*s, isLate, notTaken, true)
		return
	}
	for _, stands := range []bool{true, false} {
		if !stands && (st.kind != seal || s.db[st.on].state != closing) {
			continue
		}
		n := *s
		switch m.execute(&n, st, stands) {
		case done:
			tell(n, goesWell, took, true)
		case refused:
			tell(n, isLate, notTaken, true)
		case busy:
			tell(n, waitsTooLong, noAnswer, true)
		}
	}
	if !m.bounds.Errors {
		return
	}
	tell(*s, isLost, noAnswer, false)
	for i := range m.bounds.Wire {
		if s.wire[i].kind == nothing {
			n := *s
			n.wire[i] = st
			tell(n, goesLater, noAnswer, false)
			break
		}
	}
}

// publish is all that may become of a publishing: compare-and-set in the store.
func (m *Model) publish(s *state, c int, next effective, emit emitter, then func(n *state, ok bool)) {
	tell := func(n state, how uint8, ok, healthy bool) {
		then(&n, ok)
		l := act(publishes, c)
		l.a, l.b = uint8(s.ctl[c].at), how
		emit(l, n, healthy)
	}
	n := *s
	if s.ctl[c].cached.revision != s.store.revision {
		n.ctl[c].cached = s.store
		tell(n, isLate, false, true)
	} else {
		next.revision = s.store.revision + 1
		n.store, n.ctl[c].cached = next, next
		tell(n, goesWell, true, true)
		if m.bounds.Errors {
			tell(n, isUnheard, false, false)
			n.ctl[c].cached = s.ctl[c].cached
			tell(n, isUnknown, false, false)
		}
	}
	if m.bounds.Errors {
		tell(*s, isLost, false, false)
	}
}

// network delivers, or drops, what is under way.
func (m *Model) network(s *state, emit emitter) {
	for i := range m.bounds.Wire {
		st := s.wire[i]
		if st.kind == nothing {
			continue
		}
		n := *s
		n.wire[i] = statement{}
		l := label{verb: drops, a: uint8(i)}
		emit(l, n, true)
		for _, stands := range []bool{true, false} {
			if !stands && (st.kind != seal || s.db[st.on].state != closing) {
				continue
			}
			n := *s
			n.wire[i] = statement{}
			if m.execute(&n, st, stands) == done {
				l.verb = arrivesLate
				emit(l, n, true)
			}
		}
	}
}
