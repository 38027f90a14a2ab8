package model

import "strangler/capability"

// Model is the protocol within bounds, perhaps without some of its rules.
type Model struct {
	bounds  Bounds
	dropped Rule
	product *product
}

// New returns a model within bounds that does without some rules.
func New(b Bounds, without Rule) *Model {
	return &Model{bounds: b, dropped: without, product: newProduct(without)}
}

func (m *Model) keeps(r Rule) bool { return m.dropped&r == 0 }

// emitter takes what may happen next. Healthy says that it may happen also when
// nothing fails any more, and nobody wants anything new: what was begun goes on.
type emitter func(l label, next state, healthy bool)

// successors tells emit everything that may happen next.
func (m *Model) successors(s *state, emit emitter) {
	for c := range m.bounds.Controllers {
		m.controller(s, c, emit)
	}
	m.network(s, emit)
	m.streams(s, emit)
	m.proxies(s, emit)
	m.writers(s, emit)
	m.faults(s, emit)
}

// faults is what databases suffer.
func (m *Model) faults(s *state, emit emitter) {
	for _, on := range []side{legacy, extracted} {
		l := label{a: uint8(on)}
		d := &s.db[on]
		if d.rows != d.durable {
			n := *s
			n.flush(on)
			l.verb = flushes
			emit(l, n, true)
			if m.bounds.Crashes {
				n = *s
				n.crash(on)
				l.verb = crashes
				emit(l, n, false)
			}
		}
		if m.bounds.Failovers && !d.strange {
			n := *s
			n.failover(on, false)
			l.verb = failsOver
			emit(l, n, false)
			if d.state == sealed && (d.value != d.value0 || d.applied != d.applied0) {
				n = *s
				n.failover(on, true)
				l.b = 1
				emit(l, n, false)
			}
		}
	}
}

// settled says that nothing is left to be done: a side owns, everybody knows it, no
// write is held, and nobody is in the middle of a switch. Where a database is not the
// one of the move a person has to look, but writes go on at the side that took them
// last, if there is one.
func (m *Model) settled(s *state) bool {
	for c := range s.ctl {
		if s.ctl[c].at >= holdStore {
			return false
		}
	}
	v := m.product.verdict(s.gate(legacy), s.gate(extracted))
	owner := sideOf(v.Owner)
	switch v.Action {
	case capability.ActionNone:
	case capability.ActionStop:
		switch {
		case s.db[legacy].state != sealed && s.db[legacy].epoch > s.db[extracted].epoch:
			owner = legacy
		case s.db[extracted].state != sealed && s.db[extracted].epoch > s.db[legacy].epoch:
			owner = extracted
		default:
			return true
		}
	default:
		return false
	}
	return s.known(owner, m.bounds.Proxies)
}

// known says that everybody knows who owns, and no write waits.
func (s *state) known(owner side, proxies int) bool {
	if s.store.switching || s.store.owner != owner {
		return false
	}
	for p := range proxies {
		if s.proxy[p].revision != s.store.revision {
			return false
		}
	}
	for i := range s.writer {
		if s.writer[i].mode == held {
			return false
		}
	}
	return true
}
