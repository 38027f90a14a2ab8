package model

import "strangler/capability"

// starts is the call that an attempt begins a step of the plan with. Steps that are
// not here change nothing that is modelled and are passed; that they may fail is
// part of the failing of the next.
var starts = map[capability.StepName]place{
	capability.StepHold: holdStore, capability.StepClose: closeRead, capability.StepDrain: drainWait,
	capability.StepSeal: sealGate, capability.StepOpen: openRead, capability.StepPublish: publishOwner,
}

// undoes is the call that it begins to take a step back with.
var undoes = map[capability.StepName]place{capability.StepHold: releaseRead, capability.StepClose: reopenRead}

// walkOn is an attempt at the next step of its walk that the model has, or at rest
// where there is none.
func (m *Model) walkOn(k *ctl, w capability.Walk) {
	k.read, k.want = gate{}, statement{}
	for {
		step, undo, ok := w.Next()
		if !ok {
			k.rest()
			return
		}
		at, modelled := starts[step.Name]
		if undo {
			at, modelled = undoes[step.Name]
		}
		if at == releaseRead && !k.cached.switching {
			modelled = false // the transition was never stored, as far as it knows
		}
		if !modelled {
			w = w.Done()
			continue
		}
		k.walk, k.at = m.product.number(w), at
		if at == sealGate {
			k.want = statement{kind: seal, on: k.to.other(), from: k.closing, to: k.closing + 1}
		}
		return
	}
}

func (m *Model) stepDone(k *ctl)   { m.walkOn(k, m.product.walks[k.walk].Done()) }
func (m *Model) stepFailed(k *ctl) { m.walkOn(k, m.product.walks[k.walk].Failed(false)) }

// attempt is what a controller may do next that walks the plan.
func (m *Model) attempt(s *state, c int, emit emitter) {
	k := s.ctl[c]
	switch k.at {
	case holdStore:
		next := k.cached
		next.switching, next.running = true, 1+uint8(k.to)
		m.publish(s, c, next, emit, func(n *state, ok bool) {
			switch {
			case !ok:
				m.stepFailed(&n.ctl[c])
			case m.bounds.Proxies == 0:
				m.stepDone(&n.ctl[c])
			default:
				n.ctl[c].at = holdFirst
			}
		})
	case holdFirst, holdSecond:
		m.askProxy(s, c, int(k.at-holdFirst), emit)
	case closeRead, sealRead, openRead, reopenRead, releaseRead:
		m.readLegacy(s, c, emit)
	case closeReads, sealReads, openReads, reopenReads, releaseReads:
		m.readExtracted(s, c, emit)
	case closeGate:
		m.send(s, c, emit, func(n *state, a answered) { m.closed(n, c, a) })
	case drainWait:
		m.drain(s, c, emit)
	case sealGate:
		m.send(s, c, emit, func(n *state, a answered) {
			switch a {
			case took:
				m.stepDone(&n.ctl[c])
			case notTaken:
				m.stepFailed(&n.ctl[c])
			case noAnswer:
				n.ctl[c].at, n.ctl[c].want = sealRead, statement{}
			}
		})
	case sealReopen:
		m.send(s, c, emit, func(n *state, a answered) {
			switch {
			case a == took:
				m.stepFailed(&n.ctl[c])
			case a == notTaken && (n.db[legacy].strange || n.db[extracted].strange): // nor will it be: it asks for as long as a lease, and gives up
				m.walkOn(&n.ctl[c], m.product.walks[k.walk].Failed(true))
			default:
				n.ctl[c].at, n.ctl[c].want = sealRead, statement{}
			}
		})
	case openGate:
		m.send(s, c, emit, func(n *state, a answered) {
			if a == took {
				n.ctl[c].next.epoch = k.want.to
				m.stepDone(&n.ctl[c])
				return
			}
			n.ctl[c].at, n.ctl[c].want = openRead, statement{}
		})
	case publishOwner:
		m.publish(s, c, effective{owner: k.to, epoch: k.next.epoch}, emit, func(n *state, ok bool) {
			to := n.ctl[c].to
			switch {
			case !ok:
				m.stepFailed(&n.ctl[c])
			case n.db[to].guarded: // or the guards are out of the way already
				n.ctl[c].at, n.ctl[c].want = unguard, statement{kind: disable, on: to, from: n.ctl[c].next.epoch}
			default:
				m.stepDone(&n.ctl[c])
			}
		})
	case unguard:
		m.send(s, c, emit, func(n *state, _ answered) { m.stepDone(&n.ctl[c]) })
	case reopenGate:
		m.send(s, c, emit, func(n *state, _ answered) { m.stepDone(&n.ctl[c]) })
	case releaseStore:
		m.publish(s, c, k.next, emit, func(n *state, _ bool) { m.stepDone(&n.ctl[c]) })
	}
}

// askProxy asks one proxy whether it holds, and has no write in flight. One whose
// registration has run out is not asked, although it may well be alive.
func (m *Model) askProxy(s *state, c, p int, emit emitter) {
	next := func(n *state) {
		if p+1 < m.bounds.Proxies {
			n.ctl[c].at++
		} else {
			m.stepDone(&n.ctl[c])
		}
	}
	l := act(asks, c)
	l.a = uint8(p)
	if v := s.proxy[p]; v.revision >= s.ctl[c].cached.revision && v.switching && (!s.inFlight(p) || !m.keeps(RuleIdle)) {
		n := *s
		next(&n)
		emit(l, n, true)
	}
	if m.bounds.Errors {
		n := *s
		n.ctl[c].passed = true
		next(&n)
		l.b = 1
		emit(l, n, false)
	}
	n := *s
	m.stepFailed(&n.ctl[c])
	l.b = 2
	emit(l, n, true)
}

// closed is an attempt after its closing. Whoever was through the hold meets the
// guards now; nobody is, if every proxy has said so.
func (m *Model) closed(n *state, c int, a answered) {
	k := &n.ctl[c]
	if a != took {
		m.stepFailed(k)
		return
	}
	from := k.to.other()
	for w := uint8(1); w <= n.writes; w++ {
		if n.made[n.db[from].value]&n.local(from)&bit(w) != 0 {
			k.marker = w
		}
	}
	if !k.passed {
		for p := range m.bounds.Proxies {
			if n.inFlight(p) {
				n.failed = holdBroken
			}
		}
	}
	m.stepDone(k)
}

// drain waits until the other side has applied the marker, or longer than a gap may
// be.
func (m *Model) drain(s *state, c int, emit emitter) {
	k := s.ctl[c]
	l := act(drains, c)
	if s.db[k.to].applied >= k.marker || !m.keeps(RuleDrain) {
		n := *s
		m.stepDone(&n.ctl[c])
		emit(l, n, true)
	}
	n := *s
	m.stepFailed(&n.ctl[c])
	l.a = 1
	emit(l, n, true)
}

// readLegacy reads the first of the two gates.
func (m *Model) readLegacy(s *state, c int, emit emitter) {
	k := s.ctl[c]
	l := act(reads, c)
	l.a = uint8(k.at)
	if k.sessions[legacy] {
		n := *s
		n.ctl[c].at++
		n.ctl[c].read = s.gate(legacy)
		emit(l, n, true)
		if !m.bounds.Errors {
			return
		}
	}
	m.cannotRead(s, c, l, emit)
}

// cannotRead is what becomes of an attempt that cannot read the gates.
func (m *Model) cannotRead(s *state, c int, l label, emit emitter) {
	n := *s
	k := &n.ctl[c]
	l.b = 1
	switch k.at {
	case closeRead, closeReads:
		m.stepFailed(k)
	case sealRead, sealReads: // for as long as a lease: then it gives up knowing
		m.walkOn(k, m.product.walks[k.walk].Failed(true))
	case openRead, openReads: // for ten seconds: then whoever looks next goes on
		m.stepFailed(k)
	default: // what cannot be taken back is left to whoever looks next
		m.stepDone(k)
	}
	emit(l, n, s.ctl[c].sessions != [2]bool{true, true})
}

// readExtracted reads the second gate, which may have changed since, and decides.
func (m *Model) readExtracted(s *state, c int, emit emitter) {
	l := act(reads, c)
	l.a = uint8(s.ctl[c].at)
	if !s.ctl[c].sessions[extracted] || m.bounds.Errors {
		m.cannotRead(s, c, l, emit)
	}
	if !s.ctl[c].sessions[extracted] {
		return
	}
	n := *s
	k := &n.ctl[c]
	from := k.to.other()
	gates := [2]gate{k.read, s.gate(extracted)}
	q := question{of: from, gates: gates}
	k.read = gate{}
	switch s.ctl[c].at {
	case closeReads:
		q.what = askClose
		a := m.product.ask(q)
		if a.err {
			m.stepFailed(k)
			break
		}
		k.want, k.closing, k.at = a.want, a.want.to, closeGate
	case sealReads:
		m.judge(k, gates, from)
	case openReads:
		q.what, q.of = askFinish, k.to
		a := m.product.ask(q)
		switch {
		case a.err: // it reads again for ten seconds
			again := n
			again.ctl[c].at = openRead
			emit(l, again, true)
			m.stepFailed(k)
		case a.want.kind == nothing:
			k.next.epoch = gates[k.to].epoch
			m.stepDone(k)
		default:
			k.want, k.at = a.want, openGate
		}
	case reopenReads:
		q.what, q.epoch = askReopen, k.closing
		if a := m.product.ask(q); a.err || a.want.kind == nothing {
			m.stepDone(k)
		} else {
			k.want, k.at = a.want, reopenGate
		}
	case releaseReads:
		q.what = askOwns
		if m.product.ask(q).err {
			m.stepDone(k)
			break
		}
		k.next, k.at = m.product.look(k.cached, gates[legacy], gates[extracted]).next, releaseStore
	}
	emit(l, n, true)
}

// judge tells what became of a sealing without an answer.
func (m *Model) judge(k *ctl, gates [2]gate, from side) {
	switch m.product.afterSealing(from, gates[from], k.closing) {
	case capability.SealingDone:
		m.stepDone(k)
	case capability.SealingFailed:
		m.stepFailed(k)
	case capability.SealingOpen:
		k.want = m.product.ask(question{what: askReopen, of: from, epoch: k.closing, gates: gates}).want
		k.at = sealReopen
	}
}
