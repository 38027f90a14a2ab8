package migrate

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A stream that has fallen behind applies several groups at once, each in a session
// of its own, and commits them in the order of the source all the same: a group is
// written while those before it are still being written, and its commit waits until
// theirs have come. So whoever reads the target sees what the source was at some
// moment, and one progress row says what there is: the position of the last commit,
// with everything before it and nothing behind it.
//
// Groups are under way together only where the keys that they write prove that they
// meet in no row (see exclusion.go): otherwise an earlier one could wait for a row of a
// later one, which waits for its turn, and no server would see that as a deadlock.
// What keys do not prove is caught. A group that fails before its turn (it takes a
// unique value that an earlier one gives up) is undone, and written again when its
// turn has come; only what fails then is a failure. A group that has waited for its
// turn for turnPatience lets go of its rows in the same way: somebody of the target
// may wait for them and have what an earlier group waits for.

// Sessions is how many sessions a stream that is behind may apply with.
const Sessions = 4

// behindFor is how old the oldest change may be that is not applied before further
// sessions are opened. They cost a server most in the moment in which they are opened,
// and the moment behind a switch is a bad one.
const behindFor = time.Second

// turnPatience is how long a written group keeps its rows locked for its turn.
const turnPatience = time.Second

// vacantFor is how long it takes until a session is opened that could not be.
const vacantFor = 30 * time.Second

// cautious is how many groups go one by one after one has failed before its turn.
const cautious = 50

// crew are the sessions of one lifetime of a stream, and the groups that they are at. Its
// methods are for the applier's goroutine alone.
type crew struct {
	// open opens the n-th session; the first is number 1, for the lead is there.
	open func(ctx context.Context, n int) (Session, error)
	// spawn runs a part of the crew's work, whose failure is the stream's.
	spawn  func(func() error)
	landed func(g group, err error) // in the order of the groups where there was no error
	behind func() bool              // whether the stream is so far behind that more sessions pay

	lead       Session
	exclusions []Exclusion
	free       chan Session
	vacant     chan int    // numbers of sessions that may be opened
	flights    []*flight   // in order; those that have ended are struck off now and then
	cautious   int         // groups to come that go alone
	failed     atomic.Bool // a group has failed before its turn since somebody looked

	mu       sync.Mutex
	sessions []Session // guarded by mu; all but the lead, to be closed
}

// flight is one group under way.
type flight struct {
	group group
	keys  map[string]struct{} // what it writes, once somebody has asked
	prev  *flight             // until it is over
	over  chan struct{}       // closed when it has ended
	err   error               // why it is not committed, or one before it; read when over
}

func newCrew(lead Session, open func(ctx context.Context, n int) (Session, error), spawn func(func() error), landed func(group, error), behind func() bool) *crew {
	c := &crew{open: open, spawn: spawn, landed: landed, behind: behind, lead: lead, exclusions: lead.Exclusions(), free: make(chan Session, Sessions), vacant: make(chan int, Sessions)}
	c.free <- lead
	for n := 1; n < Sessions; n++ {
		c.vacant <- n
	}
	return c
}

// busy says whether a group is under way.
func (c *crew) busy() bool {
	for len(c.flights) > 0 {
		select {
		case <-c.flights[0].over:
			if c.flights[0].err != nil {
				return true // for good: nothing may follow it
			}
			c.flights = c.flights[1:]
		default:
			return true
		}
	}
	return false
}

// idle is closed, or nil, when nothing is under way.
func (c *crew) idle() <-chan struct{} {
	if !c.busy() {
		return nil
	}
	return c.flights[len(c.flights)-1].over
}

// drain blocks until nothing is under way. Then the lead is free.
func (c *crew) drain(ctx context.Context) error {
	for _, f := range c.flights {
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
	c.flights = nil
	return nil
}

func (f *flight) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-f.over:
		return f.err
	}
}

// dispatch sends a group on its way. It blocks while groups are under way that it
// is not independent of, or all sessions are taken.
func (c *crew) dispatch(ctx context.Context, g group) error {
	if c.busy() {
		select {
		case <-c.flights[0].over: // it has failed
			return c.flights[0].err
		default:
		}
	}
	f := &flight{group: g, over: make(chan struct{})}
	if err := c.independent(ctx, f); err != nil {
		return err
	}
	session, err := c.session(ctx)
	if err != nil {
		return err
	}
	if c.busy() {
		f.prev = c.flights[len(c.flights)-1]
	}
	c.flights = append(c.flights, f)
	c.spawn(func() error { return c.fly(ctx, f, session) })
	return nil
}

// independent waits for those whose rows the group may meet.
func (c *crew) independent(ctx context.Context, f *flight) error {
	if c.failed.Swap(false) {
		c.cautious = cautious
	}
	if c.cautious > 0 {
		c.cautious--
		return c.drain(ctx)
	}
	if !c.busy() {
		return nil
	}
	for i := len(c.flights) - 1; i >= 0; i-- {
		if other := c.flights[i]; f.meets(other, c.exclusions) {
			return other.wait(ctx) // those before it are over by then
		}
	}
	return nil
}

// ready says whether a group could be sent on its way beside those that are: a session is
// free, or may be opened, and no row is met.
func (c *crew) ready(g group) bool {
	if c.cautious > 0 || len(c.free) == 0 && (len(c.vacant) == 0 || !c.behind()) {
		return false
	}
	f := &flight{group: g}
	for _, other := range c.flights {
		if f.meets(other, c.exclusions) {
			return false
		}
	}
	return true
}

func (f *flight) writes(exclusions []Exclusion) map[string]struct{} {
	if f.keys == nil {
		f.keys = map[string]struct{}{}
		for _, change := range f.group.pending {
			exclusions[change.Table].claims(change, func(key string) { f.keys[key] = struct{}{} })
		}
	}
	return f.keys
}

func (f *flight) meets(other *flight, exclusions []Exclusion) bool {
	few, many := f.writes(exclusions), other.writes(exclusions)
	if len(few) > len(many) {
		few, many = many, few
	}
	for key := range few {
		if _, both := many[key]; both {
			return true
		}
	}
	return false
}

// session takes a free session; one more is opened when none is.
func (c *crew) session(ctx context.Context) (Session, error) {
	select {
	case s := <-c.free:
		return s, nil
	default:
	}
	if c.behind() {
		select {
		case n := <-c.vacant:
			c.spawn(func() error { c.hire(ctx, n); return nil })
		default:
		}
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case s := <-c.free:
		return s, nil
	}
}

// hire opens one more session. Where that fails the others go on: a server may have
// no room for one more, for now.
func (c *crew) hire(ctx context.Context, n int) {
	s, err := c.open(ctx, n)
	if err != nil { // open has told of it
		select {
		case <-ctx.Done():
		case <-time.After(vacantFor):
			c.vacant <- n
		}
		return
	}
	c.mu.Lock()
	c.sessions = append(c.sessions, s)
	c.mu.Unlock()
	c.free <- s
}

// fly writes a group and commits it in its turn.
func (c *crew) fly(ctx context.Context, f *flight, session Session) error {
	defer close(f.over)
	f.err = c.write(ctx, f, session)
	c.landed(f.group, f.err)
	f.prev = nil // or all that ever were would be kept
	c.free <- session
	return f.err
}

func (c *crew) write(ctx context.Context, f *flight, session Session) error {
	g := f.group
	if f.prev != nil {
		select {
		case <-f.prev.over:
		default:
			return c.ahead(ctx, f, session)
		}
		if f.prev.err != nil {
			return f.prev.err
		}
	}
	return session.Commit(ctx, g.pending, g.end)
}

// ahead writes a group before its turn, and commits it when that has come.
func (c *crew) ahead(ctx context.Context, f *flight, session Session) error {
	unwritten := f.group.pending
	switch err := session.Apply(ctx, unwritten); {
	case err == nil:
		unwritten = nil
	case ctx.Err() != nil:
		return err
	default:
		// Whatever is wrong with it may be so no longer in its turn.
		if err := session.Undo(ctx); err != nil {
			return err
		}
		c.failed.Store(true)
	}
	if unwritten == nil {
		patience := time.NewTimer(turnPatience)
		defer patience.Stop()
		select {
		case <-ctx.Done():
		case <-f.prev.over:
		case <-patience.C:
			if err := session.Undo(ctx); err != nil {
				return err
			}
			unwritten = f.group.pending
		}
	}
	if err := f.prev.wait(ctx); err != nil {
		return err
	}
	return session.Commit(ctx, unwritten, f.group.end)
}

// dismiss closes every session but the lead, when all that was spawned has ended.
func (c *crew) dismiss() {
	for _, s := range c.sessions {
		_ = s.Close() // what it has committed is committed
	}
}
