package model

// naming says which of several like things is called what: controllers, proxies and
// writers are interchangeable, so that of states that differ only in that one is
// enough.
type naming struct {
	ctl, proxy [2]uint8
	writer     [3]uint8
}

var asCalled = naming{[2]uint8{0, 1}, [2]uint8{0, 1}, [3]uint8{0, 1, 2}}

// settle brings a state into the one form of all that are like it, and returns
// where everything was before.
func (m *Model) settle(s *state) naming {
	n := asCalled
	m.drop(s)
	s.rank(m.bounds)
	if m.bounds.Controllers == 2 && later(&s.ctl[0], &s.ctl[1]) {
		s.ctl[0], s.ctl[1] = s.ctl[1], s.ctl[0]
		n.ctl = [2]uint8{1, 0}
		if s.leader > 0 {
			s.leader = 3 - s.leader
		}
		for i := range s.wire {
			if s.wire[i].kind != nothing {
				s.wire[i].by = 1 - s.wire[i].by
			}
		}
	}
	if m.bounds.Proxies == 2 && s.ctl[0].at != holdSecond && s.ctl[1].at != holdSecond && s.proxy[0].number() > s.proxy[1].number() {
		s.proxy[0], s.proxy[1] = s.proxy[1], s.proxy[0]
		n.proxy = [2]uint8{1, 0}
		for i := range s.writer {
			if s.writer[i].via > 0 {
				s.writer[i].via = 3 - s.writer[i].via
			}
		}
	}
	for i := 1; i < m.bounds.Writers; i++ {
		for j := i; j > 0 && s.writer[j-1].number() > s.writer[j].number(); j-- {
			s.writer[j-1], s.writer[j] = s.writer[j], s.writer[j-1]
			n.writer[j-1], n.writer[j] = n.writer[j], n.writer[j-1]
		}
	}
	if s.wire[0].number() < s.wire[1].number() { // so that what is nothing is last
		s.wire[0], s.wire[1] = s.wire[1], s.wire[0]
	}
	return n
}

func later(a, b *ctl) bool {
	a1, a2 := a.pack()
	b1, b2 := b.pack()
	return a1 > b1 || a1 == b1 && a2 > b2
}

func (s statement) number() uint64 {
	var p packer
	p.statement(s)
	p.put(s.by, 1)
	return p.word
}

func (v *proxy) number() uint64 {
	var p packer
	v.pack(&p)
	return p.word
}

func (w *writer) number() uint64 {
	var p packer
	w.pack(&p)
	return p.word
}

// drop forgets statements under way that cannot change anything any more: epochs
// only grow, where they are compared and kept.
func (m *Model) drop(s *state) {
	if !m.keeps(RuleEpochs) || !m.keeps(RuleDurable) {
		return
	}
	for i := range s.wire {
		if st := &s.wire[i]; st.kind != nothing && st.from < s.db[st.on].epoch {
			*st = statement{}
		} else if !m.keeps(RuleFences) {
			st.by = 0 // nobody asks
		}
	}
}

// rank numbers the revisions that somebody has anew: they are compared, and the next
// is above all.
func (s *state) rank(b Bounds) {
	var has [16]bool
	has[s.store.revision] = true
	for c := range s.ctl {
		if s.ctl[c].at != out {
			has[s.ctl[c].cached.revision] = true
		}
	}
	for p := range b.Proxies {
		has[s.proxy[p].revision] = true
	}
	var ranks [16]uint8
	next := uint8(0)
	for r, is := range has {
		ranks[r] = next
		if is {
			next++
		}
	}
	s.store.revision = ranks[s.store.revision]
	for c := range s.ctl {
		if s.ctl[c].at != out {
			s.ctl[c].cached.revision = ranks[s.ctl[c].cached.revision]
		}
	}
	for p := range b.Proxies {
		s.proxy[p].revision = ranks[s.proxy[p].revision]
	}
}
