package model

// writers is what whoever writes may do next: requests through the proxies, and
// sessions past them.
func (m *Model) writers(s *state, emit emitter) {
	arrived := false
	for i := range m.bounds.Writers {
		w := s.writer[i]
		if w.mode == idle {
			if !arrived { // one that is idle is like another
				m.arrive(s, i, emit)
			}
			arrived = true
			continue
		}
		m.writer(s, i, emit)
	}
}

// room says whether another write may be begun within the bounds.
func (m *Model) room(s *state) bool {
	coming := int(s.writes)
	for i := range s.writer {
		if s.writer[i].mode != idle {
			coming++
		}
	}
	return coming < m.bounds.Writes
}

func (m *Model) arrive(s *state, i int, emit emitter) {
	if !m.room(s) {
		return
	}
	for p := range m.bounds.Proxies {
		n := *s
		n.writer[i] = admitted(s.proxy[p], p)
		emit(label{verb: arrives, who: uint8(i), a: uint8(p), b: uint8(n.writer[i].mode), c: uint8(n.writer[i].at)}, n, false)
	}
	if !m.bounds.Direct {
		return
	}
	for _, at := range []side{legacy, extracted} {
		m.statements(s, i, writer{at: at}, emit)
		if m.bounds.Async {
			m.statements(s, i, writer{at: at, async: true}, emit)
		}
		if m.bounds.Snapshots && s.db[at].state != sealed {
			n := *s
			n.writer[i] = writer{mode: begun, at: at, snapshot: s.db[at].state, fresh: true}
			emit(label{verb: begins, who: uint8(i), a: uint8(at)}, n, false)
		}
	}
}

// admitted is a write that a proxy lets through, or holds.
func admitted(p proxy, number int) writer {
	if p.switching {
		return writer{mode: held, via: uint8(number) + 1}
	}
	return writer{mode: sent, via: uint8(number) + 1, at: p.owner}
}

func (m *Model) writer(s *state, i int, emit emitter) {
	w := s.writer[i]
	who := uint8(i)
	n := *s
	switch w.mode {
	case held:
		n.writer[i] = writer{}
		emit(label{verb: expires, who: who, a: w.via}, n, false)
	case sent:
		m.statements(s, i, w, emit)
	case begun:
		m.statements(s, i, w, emit)
		n.writer[i] = writer{}
		emit(label{verb: ends, who: who, a: uint8(w.at)}, n, true)
	case written:
		m.commit(&n, i)
		emit(label{verb: commits, who: who, a: uint8(w.at), b: n.writes, c: b2u(w.reopens)}, n, true)
		if m.bounds.Errors {
			n = *s
			n.writer[i] = writer{}
			emit(label{verb: breaks, who: who, a: uint8(w.at)}, n, false)
		}
		if w.via > 0 && m.bounds.Errors {
			n = *s
			n.writer[i].via = 0
			emit(label{verb: givesUp, who: who, a: w.via}, n, false)
		}
	case idle:
	}
}

// statements is what may come of a statement: what the clock says of a lease is for
// the clock.
func (m *Model) statements(s *state, i int, w writer, emit emitter) {
	for _, over := range []bool{false, true} {
		if over && s.db[w.at].state != closing && (w.mode != begun || w.snapshot != closing) {
			continue
		}
		after, permitted, waits := m.guard(s, w, over)
		if waits || !permitted && s.writer[i].mode == idle {
			continue
		}
		n := *s
		if permitted {
			n.writer[i] = after
			emit(label{verb: writes, who: uint8(i), a: uint8(w.at), b: b2u(after.reopens), c: w.via<<1 | b2u(w.mode == begun)}, n, w.mode != idle)
		} else {
			n.writer[i] = writer{}
			emit(label{verb: isRefused, who: uint8(i), a: uint8(w.at), b: w.via, c: b2u(w.mode == begun)}, n, w.mode != idle)
		}
	}
}

// proxies is what proxies may do next by themselves: hear of a newer state.
func (m *Model) proxies(s *state, emit emitter) {
	for p := range m.bounds.Proxies {
		if s.proxy[p].revision == s.store.revision {
			continue
		}
		n := *s
		n.serve(p)
		emit(label{verb: hearsProxy, who: uint8(p), a: b2u(s.store.switching), b: uint8(s.store.owner)}, n, true)
	}
}

// serve makes a proxy serve what is stored. Where that is no transition, it lets the
// writes through that it holds, to the owner of that very state.
func (s *state) serve(p int) {
	s.proxy[p] = proxy{switching: s.store.switching, owner: s.store.owner, revision: s.store.revision}
	for i := range s.writer {
		if w := &s.writer[i]; w.mode == held && int(w.via) == p+1 {
			*w = admitted(s.proxy[p], p)
		}
	}
}

// inFlight says whether a write that a proxy has let through is not answered yet.
func (s *state) inFlight(p int) bool {
	for i := range s.writer {
		if w := &s.writer[i]; int(w.via) == p+1 && (w.mode == sent || w.mode == written) {
			return true
		}
	}
	return false
}

// streams is what the movers may do next: apply the next change.
func (m *Model) streams(s *state, emit emitter) {
	for c := range m.bounds.Controllers {
		if s.ctl[c].at < resting {
			continue // not connected
		}
		if !m.keeps(RuleTokens) {
			m.handed(s, c, emit)
			continue
		}
		for _, into := range []side{legacy, extracted} {
			next := s.pending(into)
			if next == 0 || !s.ctl[c].streams[into] || s.db[into.other()].strange || s.reopening(into) {
				continue
			}
			n := *s
			n.apply(into, next)
			emit(label{verb: applies, who: uint8(c), a: uint8(into), b: next}, n, true)
		}
	}
}

// apply makes a database's row what a write has made it at the other one.
func (s *state) apply(into side, write uint8) {
	s.db[into].value, s.db[into].applied = write, write
	s.flush(into)
}

// handed is the mover without tokens: it applies what it has received, whoever has
// applied it meanwhile.
func (m *Model) handed(s *state, c int, emit emitter) {
	who := uint8(c)
	if k := s.ctl[c]; k.hand > 0 {
		if k.sessions[k.into] {
			n := *s
			n.ctl[c].hand, n.ctl[c].into = 0, 0
			n.apply(k.into, k.hand)
			emit(label{verb: applies, who: who, a: uint8(k.into), b: k.hand}, n, true)
		}
		return
	}
	for _, into := range []side{legacy, extracted} {
		if next := s.pending(into); next > 0 {
			n := *s
			n.ctl[c].hand, n.ctl[c].into = next, into
			emit(label{verb: receives, who: who, a: uint8(into), b: next}, n, true)
		}
	}
}

func b2u(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
