package model

// key is a state in few words.
type key [6]uint64

// packer writes one word of a key, the lowest bits first.
type packer struct {
	word uint64
	n    uint
}

func (p *packer) put(v uint8, width uint) {
	if v>>width != 0 {
		panic("the bounds are too wide for a key")
	}
	p.word |= uint64(v) << p.n
	p.n += width
}

func (p *packer) flag(v bool) { p.put(b2u(v), 1) }

func (p *packer) rows(r rows) {
	p.put(uint8(r.state), 2)
	p.put(r.epoch, 4)
	p.flag(r.guarded)
	p.put(r.value, 2)
	p.put(r.applied, 2)
}

func (p *packer) effective(e effective) {
	p.flag(e.switching)
	p.put(uint8(e.owner), 1)
	p.put(e.epoch, 4)
	p.put(e.running, 2)
	p.put(e.revision, 3)
}

func (p *packer) statement(s statement) {
	p.put(uint8(s.kind), 3)
	p.put(uint8(s.on), 1)
	p.put(s.from, 4)
	p.put(s.to, 4)
}

// unpacker reads what a packer has written.
type unpacker struct{ word uint64 }

func (u *unpacker) get(width uint) uint8 {
	v := uint8(u.word & (1<<width - 1))
	u.word >>= width
	return v
}

func (u *unpacker) flag() bool { return u.get(1) == 1 }

func (u *unpacker) rows() rows {
	return rows{state: gateState(u.get(2)), epoch: u.get(4), guarded: u.flag(), value: u.get(2), applied: u.get(2)}
}

func (u *unpacker) effective() effective {
	return effective{switching: u.flag(), owner: side(u.get(1)), epoch: u.get(4), running: u.get(2), revision: u.get(3)}
}

func (u *unpacker) statement() statement {
	return statement{kind: kind(u.get(3)), on: side(u.get(1)), from: u.get(4), to: u.get(4)}
}

func (k *ctl) pack() (a, b uint64) {
	var p, q packer
	p.put(uint8(k.at), 5)
	for i := range 2 {
		p.flag(k.sessions[i])
		p.flag(k.streams[i])
	}
	p.effective(k.cached)
	p.put(uint8(k.read.state), 2)
	p.put(k.read.epoch, 4)
	p.flag(k.read.strange)
	p.statement(k.want)
	p.put(k.walk, 6)
	q.effective(k.next)
	q.put(uint8(k.to), 1)
	q.put(k.closing, 4)
	q.put(k.marker, 2)
	q.flag(k.passed)
	q.put(k.hand, 2)
	q.put(uint8(k.into), 1)
	return p.word, q.word
}

func (k *ctl) unpack(a, b uint64) {
	p, q := unpacker{a}, unpacker{b}
	k.at = place(p.get(5))
	for i := range 2 {
		k.sessions[i] = p.flag()
		k.streams[i] = p.flag()
	}
	k.cached = p.effective()
	k.read = gate{gateState(p.get(2)), p.get(4), p.flag()}
	k.want = p.statement()
	k.walk = p.get(6)
	k.next = q.effective()
	k.to = side(q.get(1))
	k.closing, k.marker, k.passed, k.hand, k.into = q.get(4), q.get(2), q.flag(), q.get(2), side(q.get(1))
}

const halfWidth = 22 // of the second part of a controller

func (w *writer) pack(p *packer) {
	p.put(uint8(w.mode), 3)
	p.put(w.via, 2)
	p.put(uint8(w.at), 1)
	p.put(uint8(w.snapshot), 2)
	p.flag(w.fresh)
	p.flag(w.locked)
	p.flag(w.reopens)
	p.flag(w.async)
}

func (w *writer) unpack(u *unpacker) {
	*w = writer{mode: mode(u.get(3)), via: u.get(2), at: side(u.get(1)), snapshot: gateState(u.get(2)), fresh: u.flag(), locked: u.flag(), reopens: u.flag(), async: u.flag()}
}

func (v *proxy) pack(p *packer) {
	p.flag(v.switching)
	p.put(uint8(v.owner), 1)
	p.put(v.revision, 3)
}

func (v *proxy) unpack(u *unpacker) {
	*v = proxy{switching: u.flag(), owner: side(u.get(1)), revision: u.get(3)}
}

func (s *state) pack() key {
	var d, clients, rest packer
	for i := range s.db {
		db := &s.db[i]
		d.rows(db.rows)
		d.rows(db.durable)
		d.put(db.value0, 2)
		d.put(db.applied0, 2)
		d.flag(db.strange)
	}
	a0, b0 := s.ctl[0].pack()
	a1, b1 := s.ctl[1].pack()
	clients.effective(s.store)
	for i := range s.writer {
		s.writer[i].pack(&clients)
	}
	for i := range s.proxy {
		s.proxy[i].pack(&clients)
	}
	for i := range s.wire {
		rest.statement(s.wire[i])
		rest.put(s.wire[i].by, 1)
	}
	for w := 1; w <= mostWrites; w++ {
		rest.put(s.made[w]>>1, 3)
	}
	rest.put(s.origin>>1, 3)
	rest.put(s.owed>>1, 3)
	rest.put(s.writes, 2)
	rest.put(s.leader, 2)
	rest.put(uint8(s.failed), 1)
	return key{d.word, a0, a1, b0 | b1<<halfWidth, clients.word, rest.word}
}

func (s *state) unpack(k key) {
	d, clients, rest := unpacker{k[0]}, unpacker{k[4]}, unpacker{k[5]}
	for i := range s.db {
		db := &s.db[i]
		db.rows = d.rows()
		db.durable = d.rows()
		db.value0, db.applied0, db.strange = d.get(2), d.get(2), d.flag()
	}
	s.ctl[0].unpack(k[1], k[3]&(1<<halfWidth-1))
	s.ctl[1].unpack(k[2], k[3]>>halfWidth)
	s.store = clients.effective()
	for i := range s.writer {
		s.writer[i].unpack(&clients)
	}
	for i := range s.proxy {
		s.proxy[i].unpack(&clients)
	}
	for i := range s.wire {
		s.wire[i] = rest.statement()
		s.wire[i].by = rest.get(1)
	}
	for w := 1; w <= mostWrites; w++ {
		s.made[w] = rest.get(3) << 1
	}
	s.origin, s.owed = rest.get(3)<<1, rest.get(3)<<1
	s.writes, s.leader, s.failed = rest.get(2), rest.get(2), broken(rest.get(1))
}
