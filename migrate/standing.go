package migrate

import (
	"context"
	"slices"
	"sync"
	"time"

	"strangler/capability"
)

// markersKept bounds the markers remembered for callers that wait later.
const markersKept = 1000

// standing is where a stream stands, shared by those that move it and those that
// wait for it. Everything below mu is guarded by it.
type standing struct {
	mu sync.Mutex
	// moved is closed and replaced whenever a waiter may find something new.
	moved chan struct{}

	// applied: every transaction whose commit record starts before it is durable
	// on the target. It never goes back.
	applied capability.Position
	// persisted is what the target's progress row says: what the source may forget.
	persisted capability.Position
	// begun is the newest commit record whose transaction was let through.
	begun capability.Position
	// horizon: transactions that commit before it meet rows from other moments. It
	// never goes back.
	horizon capability.Position
	// head is the furthest position the source has told of.
	head capability.Position
	// markers are the passed markers and where their transactions end.
	markers map[string]capability.Position
	order   []string // of markers, oldest first
	hold    *Hold    // at most one
	ended   error    // why Run will not go on

	live    bool
	trouble string // the last error of a connection, while not live
	changes uint64
	behind  lagClock
	updated time.Time
}

func newStanding() *standing {
	return &standing{moved: make(chan struct{}), markers: map[string]capability.Position{}}
}

// change runs f under the lock and wakes all waiters.
func (s *standing) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.updated = time.Now()
	close(s.moved)
	s.moved = make(chan struct{})
}

// await blocks until done says so, the stream has ended for good, or ctx ends.
// done runs under the lock.
func (s *standing) await(ctx context.Context, done func() (bool, error)) error {
	for {
		s.mu.Lock()
		ok, err := done()
		if !ok && err == nil {
			err = s.ended
		}
		moved := s.moved
		s.mu.Unlock()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-moved:
		}
	}
}

// resume takes over what the target says at the start of a connection.
func (s *standing) resume(stored capability.Position) {
	s.change(func() {
		s.applied, s.persisted, s.head = max(s.applied, stored), stored, max(s.head, stored)
		// Which of the transactions before it was the last is not known any more.
		s.begun = max(s.begun, stored-min(stored, 1))
		s.live, s.trouble = true, ""
	})
}

// admit lets a transaction through to the target, unless a hold stands before it.
func (s *standing) admit(commit capability.Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != nil && commit >= s.hold.at {
		return false
	}
	s.begun = max(s.begun, commit)
	return true
}

// advance tells that everything before p is durable.
func (s *standing) advance(p capability.Position) {
	s.change(func() {
		s.applied, s.head = max(s.applied, p), max(s.head, p)
		s.behind.clear(p)
	})
}

// persist tells that the progress row says p.
func (s *standing) persist(p capability.Position, changes int) {
	s.change(func() {
		s.applied, s.persisted, s.head = max(s.applied, p), p, max(s.head, p)
		s.changes += uint64(changes)
		s.behind.clear(p)
	})
}

// mark remembers a marker. The oldest is forgotten where there are too many.
func (s *standing) mark(nonce string, end capability.Position) {
	s.change(func() {
		if _, again := s.markers[nonce]; !again {
			s.order = append(s.order, nonce)
		}
		s.markers[nonce] = end
		if len(s.order) > markersKept {
			delete(s.markers, s.order[0])
			s.order = slices.Delete(s.order, 0, 1)
		}
	})
}

// raise moves the horizon on.
func (s *standing) raise(horizon capability.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.horizon = max(s.horizon, horizon)
}

func (s *standing) horizonNow() capability.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.horizon
}

// ahead tells of a position that the source has reached.
func (s *standing) ahead(p capability.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = max(s.head, p)
}

// late notes a transaction that is received and not yet applied.
func (s *standing) late(begin Begin, r Received, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = max(s.head, begin.Commit+1) // its commit record ends somewhere behind that
	s.behind.note(begin.Commit, r.Sent.Sub(begin.Time), at)
}

// lag is the age of the oldest transaction that is received and not yet applied.
func (s *standing) lag() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behind.lag(time.Now())
}

func (s *standing) positions() (applied, persisted capability.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied, s.persisted
}

// lost tells that the connections are gone, and why.
func (s *standing) lost(err error) {
	s.change(func() { s.live, s.trouble = false, err.Error() })
}

// end tells that Run has returned; err is nil when it was asked to.
func (s *standing) end(err error) {
	s.change(func() {
		s.live = false
		if err != nil {
			s.ended, s.trouble = err, err.Error()
		}
	})
}

func (s *standing) status(from capability.Side, changed int) capability.StreamStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return capability.StreamStatus{
		From: from, Live: s.live, Position: s.applied, LagBytes: uint64(s.head - min(s.head, s.applied)),
		Lag: s.behind.lag(time.Now()), Changes: s.changes, Changed: changed, Error: s.trouble, UpdatedAt: s.updated,
	}
}

// lagClock measures the age of the oldest received and unapplied transaction:
// its age by the source's own clock when it was sent, and our time since then,
// so that the clocks of two machines are never subtracted.
type lagClock struct {
	waiting []waiting // in order
	last    capability.Position
}

// waiting are transactions that were received within lagGrain, by the first of them.
type waiting struct {
	commit capability.Position
	age    time.Duration // at
	at     time.Time
}

// lagGrain is how exact the lag is while transactions come one upon another.
const lagGrain = 50 * time.Millisecond

func (c *lagClock) note(commit capability.Position, age time.Duration, at time.Time) {
	c.last = max(c.last, commit)
	if n := len(c.waiting); n == 0 || at.Sub(c.waiting[n-1].at) >= lagGrain {
		c.waiting = append(c.waiting, waiting{commit, max(age, 0), at})
	}
}

// clear forgets what commits before p.
func (c *lagClock) clear(p capability.Position) {
	if c.last < p {
		c.waiting = c.waiting[:0]
	}
	for len(c.waiting) > 1 && c.waiting[1].commit < p { // not sooner: some behind the first are counted with it
		c.waiting = c.waiting[1:]
	}
}

func (c *lagClock) lag(now time.Time) time.Duration {
	if len(c.waiting) == 0 {
		return 0
	}
	return c.waiting[0].age + now.Sub(c.waiting[0].at)
}
