package proxy

import (
	"context"
	"slices"
	"sync"

	"strangler/capability"
)

// Marks answers what the other side must have applied before a subject that has
// just written may read there. The position in the answer is read after the
// question arrived. Mark may block until ctx ends; an error means "not known",
// and leaves subjects with the owner.
type Marks interface {
	Mark(ctx context.Context, capability string) (capability.Mark, error)
}

// marks remembers, for one capability with data, which subjects must read from
// the owner because a write of theirs may not have reached the other side.
//
// A subject is pinned from before its write is forwarded until a mark that was
// asked for after the write's end is applied. It is unpinned early only when the
// owner changes: a switch drains what was written before it. (A newer epoch with
// the same owner is a switch that was undone, and has drained nothing.)
type marks struct {
	limit int    // subjects remembered; beyond it everybody is pinned together
	kick  func() // somebody waits for a mark; called without mu

	mu       sync.Mutex
	owner    capability.Side // guarded by mu
	epoch    uint64          // guarded by mu
	counter  uint64          // guarded by mu; numbers the ends of writes
	subjects map[string]*pin // guarded by mu
	everyone pin             // guarded by mu; the writes of subjects beyond the limit
	ended    []*pin          // guarded by mu; with a write that no question was asked for, each once
	marked   []batch         // guarded by mu; writes that wait to be applied, oldest first
	waiting  int             // guarded by mu; tokens in marked
	// markedEpoch is that of all marks in marked; guarded by mu.
	markedEpoch uint64
	asking      bool // guarded by mu; a loop is running
}

// pin keeps one subject with the owner.
type pin struct {
	subject string
	writing int    // writes in flight
	last    uint64 // number of its last write's end; 0: none waits
	queued  bool   // it is in ended
}

func (p *pin) holds() bool { return p.writing > 0 || p.last > 0 }

// token is the end of one write. It unpins only if no later write of the same
// subject has ended meanwhile.
type token struct {
	pin    *pin
	number uint64
}

// batch is what one mark answered.
type batch struct {
	position capability.Position
	tokens   []token
}

func newMarks(limit int, kick func()) *marks {
	return &marks{limit: limit, kick: kick, subjects: map[string]*pin{}}
}

// begin pins the subject. It is called before its write is forwarded, so that
// there is no moment at which the write is done and the subject free.
func (m *marks) begin(subject string) *pin {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.subjects[subject]
	switch {
	case p != nil:
	case len(m.subjects) < m.limit:
		p = &pin{subject: subject}
		m.subjects[subject] = p
	default:
		p = &m.everyone
	}
	p.writing++
	return p
}

// end is called after the write's answer, or when it is known that there will be
// none.
func (m *marks) end(p *pin) {
	m.mu.Lock()
	m.counter++
	p.writing--
	p.last = m.counter
	m.queue(p)
	idle := !m.asking
	m.mu.Unlock()
	if idle {
		m.kick()
	}
}

// untouched ends a write that was never sent: there is nothing to wait for.
func (m *marks) untouched(p *pin) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p.writing--
	if !p.holds() && p != &m.everyone {
		delete(m.subjects, p.subject)
	}
}

// queue is called with mu held.
func (m *marks) queue(p *pin) {
	if !p.queued {
		p.queued = true
		m.ended = append(m.ended, p)
	}
}

// pinned reports whether the subject must read from the owner.
func (m *marks) pinned(subject string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.everyone.holds() || m.subjects[subject] != nil
}

// set takes over the owner and epoch. Called before any write is admitted to a
// new owner, so that no write of the new owner is taken for one of the old.
func (m *marks) set(owner capability.Side, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switched := m.owner != "" && m.owner != owner
	m.owner, m.epoch = owner, epoch
	if !switched {
		return
	}
	for _, p := range m.ended {
		p.queued = false
	}
	m.ended, m.marked, m.waiting = nil, nil, 0
	m.everyone.last = 0
	for subject, p := range m.subjects {
		p.last = 0
		if p.writing == 0 {
			delete(m.subjects, subject)
		}
	}
}

// release is called with mu held.
func (m *marks) release(tokens []token) {
	for _, t := range tokens {
		if t.pin.last != t.number {
			continue
		}
		t.pin.last = 0
		if t.pin.writing == 0 && t.pin != &m.everyone {
			delete(m.subjects, t.pin.subject)
		}
	}
}

// question is one request for a mark, with the writes that it asks for.
type question struct {
	owner  capability.Side
	tokens []token
}

// ask takes every write that has ended so far. ok is false when nobody waits;
// the asking loop ends then, and end kicks a new one.
func (m *marks) ask() (q question, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ended) == 0 && len(m.marked) == 0 {
		m.asking = false
		return question{}, false
	}
	q = question{owner: m.owner}
	for _, p := range m.ended {
		p.queued = false
		q.tokens = append(q.tokens, token{p, p.last})
	}
	m.ended = nil
	return q, true
}

// answer applies a mark, and reports whether it was of use.
//
// Positions are compared only within one epoch: another one may speak of another
// database. When the epoch has moved on, what waited under the old one waits for
// the new mark instead, which was taken later still. A mark of an epoch older
// than the one served says nothing about writes to the present owner.
func (m *marks) answer(q question, mark capability.Mark, err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q.owner != m.owner {
		return true // the switch has released everything that was asked for
	}
	if err != nil || !mark.Current || mark.Epoch < m.epoch {
		for _, t := range q.tokens {
			if t.pin.last == t.number { // else a later write of the subject asks for itself
				m.queue(t.pin)
			}
		}
		return false
	}
	if mark.Epoch != m.markedEpoch {
		for _, b := range m.marked {
			q.tokens = append(q.tokens, b.tokens...)
		}
		m.marked, m.waiting, m.markedEpoch = nil, 0, mark.Epoch
	}
	if len(q.tokens) > 0 {
		m.marked = append(m.marked, batch{position: mark.Position, tokens: q.tokens})
		m.waiting += len(q.tokens)
	}
	done := 0
	for done < len(m.marked) && m.marked[done].position <= mark.Applied {
		m.release(m.marked[done].tokens)
		m.waiting -= len(m.marked[done].tokens)
		done++
	}
	m.marked = slices.Delete(m.marked, 0, done)
	if m.waiting > 2*m.limit {
		m.compact()
	}
	return true
}

// compact drops the tokens of writes that a later one of the same subject has
// overtaken. Without it a stream that stands still would let them pile up. Called
// with mu held.
func (m *marks) compact() {
	m.waiting = 0
	for i := range m.marked {
		b := &m.marked[i]
		b.tokens = slices.DeleteFunc(b.tokens, func(t token) bool { return t.pin.last != t.number })
		m.waiting += len(b.tokens)
	}
	m.marked = slices.DeleteFunc(m.marked, func(b batch) bool { return len(b.tokens) == 0 })
}

// start claims the asking loop; false when it runs already.
func (m *marks) start() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asking || len(m.ended) == 0 && len(m.marked) == 0 {
		return false
	}
	m.asking = true
	return true
}

// stop gives the loop up with writes still waiting.
func (m *marks) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asking = false
}

// count returns how many subjects are pinned by name.
func (m *marks) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.subjects)
}
