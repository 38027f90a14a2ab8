package model

import "strangler/capability"

// outcome is what became of a statement at its database.
type outcome uint8

const (
	done    outcome = iota
	refused         // the gate is not what the statement expects
	busy            // it waits for somebody's lock, and gives up
)

var events = [...]capability.Event{shut: capability.EventClose, seal: capability.EventSeal, openIt: capability.EventOpen, sealOpen: capability.EventSeal}

// execute does what gate.sql does: a compare-and-set on the row of a gate, along
// the transitions of the product. Whether the lease of a closing gate stands is for
// the clock of the moment to say.
func (m *Model) execute(s *state, st statement, stands bool) outcome {
	d := &s.db[st.on]
	if st.kind != seal && st.kind != openIt && s.tableLocked(st.on) && (m.keeps(RuleWait) || s.rowLocked(st.on)) {
		return busy // before it looks at the gate
	}
	expected := st.from == d.epoch || !m.keeps(RuleEpochs)
	if st.kind == disable {
		if !expected || d.state != open {
			return refused
		}
		d.guarded, d.durable.guarded = false, false // if it is lost in a crash, it is only done again
		return done
	}
	if !expected || !asGateSQL(st.kind, d.state) || st.kind == seal && !stands || st.kind == openIt && d.strange && m.keeps(RuleIdentity) {
		return refused
	}
	if s.rowLocked(st.on) {
		return busy
	}
	to, allowed := m.product.becomes(d.state, events[st.kind])
	if !allowed {
		return refused
	}
	d.state, d.epoch = to, st.to
	if st.kind == shut || st.kind == sealOpen {
		d.guarded = true
	}
	m.changed(s, st.on)
	return done
}

// asGateSQL says whether the function for a kind of statement looks at gates in a
// state at all: shut_gate at open ones, seal_gate at closing ones, open_gate at
// those that are not open.
func asGateSQL(k kind, is gateState) bool {
	switch k {
	case shut, sealOpen:
		return is == open
	case seal:
		return is == closing
	case openIt:
		return is != open
	case nothing, disable:
	}
	return false
}

// changed is what comes with every change of a gate's row: it is durable, so that
// every earlier commit is, and no snapshot of before may lock the row any more.
func (m *Model) changed(s *state, on side) {
	for i := range s.writer {
		if w := &s.writer[i]; w.at == on && w.mode == begun {
			w.fresh = false
		}
	}
	if !m.keeps(RuleDurable) {
		return
	}
	s.flush(on)
	if m.bounds.Failovers {
		s.db[on].value0, s.db[on].applied0 = s.db[on].value, s.db[on].applied
	}
}

// tableLocked says that somebody has written and not committed.
func (s *state) tableLocked(on side) bool {
	for i := range s.writer {
		if s.writer[i].mode == written && s.writer[i].at == on {
			return true
		}
	}
	return false
}

// rowLocked says that a guard has locked the gate's row for somebody who has not
// committed.
func (s *state) rowLocked(on side) bool {
	for i := range s.writer {
		if s.writer[i].mode == written && s.writer[i].at == on && s.writer[i].locked {
			return true
		}
	}
	return false
}

// guard is what a guard says to a statement of a writer, where over says what the
// clock says of a lease. It returns the writer as it is then; waits: it has to wait
// for another writer's lock.
func (m *Model) guard(s *state, w writer, over bool) (after writer, permitted, waits bool) {
	d := &s.db[w.at]
	snapshot := gate{d.state, d.epoch, false} // READ COMMITTED sees what is
	fresh := true
	if w.mode == begun {
		snapshot.state, fresh = w.snapshot, w.fresh
	}
	w.mode, w.snapshot, w.fresh = written, open, false
	if !d.guarded {
		return w, true, false
	}
	reopening := s.reopening(w.at)
	switch {
	case !m.keeps(RuleMover) && w.via == 0:
		return w, true, false
	case snapshot.state == open && !m.keeps(RuleLock):
		return w, true, false
	case snapshot.state == open:
		w.locked = true
		return w, fresh && d.state == open, reopening
	case snapshot.state == closing && over && !m.keeps(RuleReopen):
		return w, true, false
	case snapshot.state == closing && over:
		w.locked, w.reopens = true, true
		return w, fresh && d.state == closing, s.rowLocked(w.at)
	}
	return w, false, false
}

// reopening says that a writer has opened the gate and not committed: whoever wants
// the row waits for it.
func (s *state) reopening(on side) bool {
	for i := range s.writer {
		if s.writer[i].mode == written && s.writer[i].at == on && s.writer[i].reopens {
			return true
		}
	}
	return false
}

// commit ends a writer's transaction, and answers it.
func (m *Model) commit(s *state, i int) {
	w := s.writer[i]
	s.writer[i] = writer{}
	d := &s.db[w.at]
	if w.reopens {
		d.epoch = m.product.reopened(gate{state: d.state, epoch: d.epoch})
		d.state = open
		m.changed(s, w.at)
	}
	s.writes++
	id := s.writes
	s.made[id] = s.made[d.value] | bit(id)
	d.value = id
	if w.at == extracted {
		s.origin |= bit(id)
	}
	if !w.async || w.reopens {
		s.flush(w.at)
	}
}

// crash ends every session of a database, and loses what was not durable.
func (s *state) crash(on side) {
	d := &s.db[on]
	d.rows = d.durable
	s.ends(on)
}

// failover puts a standby in a database's place. It has every change of the gate.
// Where the gate is sealed it may lack what the mover has applied since.
func (s *state) failover(on side, lossy bool) {
	d := &s.db[on]
	if lossy {
		d.value, d.applied = d.value0, d.applied0
	}
	d.durable, d.strange = d.rows, true
	s.ends(on)
}

// ends is the end of every session of a database.
func (s *state) ends(on side) {
	for i := range s.writer {
		if w := &s.writer[i]; w.at == on && (w.mode == begun || w.mode == written) {
			*w = writer{}
		}
	}
	for i := range s.wire {
		if s.wire[i].kind != nothing && s.wire[i].on == on {
			s.wire[i] = statement{}
		}
	}
}
