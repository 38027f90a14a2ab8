package pool

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// idleFor is how long an idle connection is kept. It is below what HTTP servers
	// keep them (nginx 75 s, Go by convention 60 s or more, Apache must be set): the
	// proxy must be the one who closes first, because a write sent on a connection
	// that the server just closed fails without being repeatable.
	idleFor  = 30 * time.Second
	mostIdle = 256 // HTTP/1.1 connections kept per endpoint
)

// wanted is what a request needs of its connection.
type wanted struct {
	upgrade bool // HTTP/1.1, because it alone has upgrades
	fresh   bool // no idle HTTP/1.1 connection: one was just found dead
}

// lines are the connections to one endpoint. HTTP/1.1 connections are parked
// while idle, the last used on top; HTTP/2 connections are shared all their life.
//
// Nothing calls into a connection with mu held: net/http answers with a call of
// line.changed, which takes it.
type lines struct {
	dialer *dialer

	mu         sync.Mutex
	parked     []*line     // guarded by mu; the longest idle first
	shared     []*line     // guarded by mu
	generation int         // guarded by mu: counts closings; parking needs the present one
	opening    *opening    // guarded by mu: a dial that many wait for
	sweeper    *time.Timer // guarded by mu: nil while nothing is parked
	single     bool        // guarded by mu: the peer last chose HTTP/1.1
	distrust   distrust    // guarded by mu: no HTTP/1.1 connection is kept while it holds

	onStray func(keepsNone time.Duration) // nil: nobody wants to know
}

func newLines(d *dialer) *lines { return &lines{dialer: d, single: !d.multiplexes()} }

// take returns a connection with a place reserved on it, and whether it has
// carried a request before.
func (ls *lines) take(ctx context.Context, w wanted) (*line, bool, error) {
	// Every round ends or has made a connection of which others took all places.
	const rounds = 64
	for range rounds {
		if w.upgrade || ls.singles() {
			if l := ls.unpark(w); l != nil {
				return l, true, nil
			}
			l, err := ls.dial(ctx, w.upgrade, nil)
			if err != nil {
				return nil, false, err
			}
			if l.conn.Reserve() == nil {
				return l, l.used.Load(), nil
			}
			if err := l.useless(); err != nil {
				return nil, false, err
			}
			continue
		}
		if l := ls.join(); l != nil {
			return l, l.used.Load(), nil
		}
		l, err := ls.open(ctx)
		if err != nil {
			return nil, false, err
		}
		if l != nil {
			return l, l.used.Load(), nil
		}
	}
	return nil, false, errors.New("every new connection was taken at once")
}

func (ls *lines) singles() bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.single
}

// unpark returns an idle HTTP/1.1 connection, reserved, or nil.
func (ls *lines) unpark(w wanted) *line {
	if w.fresh {
		return nil
	}
	for {
		ls.mu.Lock()
		n := len(ls.parked)
		if n == 0 {
			ls.mu.Unlock()
			return nil
		}
		l := ls.parked[n-1]
		ls.parked[n-1] = nil
		ls.parked = ls.parked[:n-1]
		l.parked = false
		// The wall clock also counts what the machine slept.
		old := time.Since(l.idleSince.Round(0)) > idleFor
		ls.mu.Unlock()
		if l.conn.Reserve() != nil {
			continue // closed meanwhile, or parked by a late notice while in use
		}
		if !old && l.wire.clean() {
			return l
		}
		_ = l.conn.Close() // of net/http: says nothing of interest
	}
}

// join returns a shared connection with a place reserved, or nil.
func (ls *lines) join() *line {
	ls.mu.Lock()
	for i := 0; i < len(ls.shared); i++ {
		l := ls.shared[i]
		l.claims++
		ls.mu.Unlock()
		err := l.conn.Reserve()
		ls.unclaim(l)
		if err == nil {
			return l
		}
		ls.mu.Lock()
	}
	ls.mu.Unlock()
	return nil
}

// park keeps a connection whose request has ended, or closes it.
func (ls *lines) park(l *line) {
	ls.mu.Lock()
	if l.parked {
		ls.mu.Unlock()
		return
	}
	distrusted := ls.distrust.holds(time.Now())
	if distrusted || l.generation != ls.generation || len(ls.parked) >= mostIdle {
		ls.mu.Unlock()
		if distrusted && !l.uploaded.Load() {
			l.wire.closeAtOnce()
		}
		retire(l)
		return
	}
	l.parked, l.idleSince = true, time.Now()
	ls.parked = append(ls.parked, l)
	if ls.sweeper == nil {
		ls.sweeper = time.AfterFunc(idleFor, ls.sweep)
	}
	ls.mu.Unlock()
}

// retire closes a connection that nobody has reserved, once the answer before is out.
func retire(l *line) {
	if l.awaited.Load() > 0 {
		l.due.Store(true)
		if l.awaited.Load() > 0 || !l.due.Swap(false) {
			return // whoever waits does it
		}
	}
	if l.conn.Reserve() == nil {
		_ = l.conn.Close() // of net/http: says nothing of interest
	}
}

// sweep closes what was idle too long. HTTP/2 connections look after themselves.
func (ls *lines) sweep() {
	ls.mu.Lock()
	n := 0
	for n < len(ls.parked) && time.Since(ls.parked[n].idleSince) >= idleFor {
		ls.parked[n].parked = false
		n++
	}
	old := slices.Clone(ls.parked[:n])
	ls.parked = slices.Delete(ls.parked, 0, n)
	ls.sweeper = nil
	if len(ls.parked) > 0 {
		ls.sweeper = time.AfterFunc(idleFor-time.Since(ls.parked[0].idleSince), ls.sweep)
	}
	ls.mu.Unlock()
	for _, l := range old {
		retire(l)
	}
}

// drop forgets a connection that is closed.
func (ls *lines) drop(l *line) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.shared {
		ls.shared = slices.DeleteFunc(slices.Clone(ls.shared), func(o *line) bool { return o == l })
	} else if l.parked {
		l.parked = false
		ls.parked = slices.DeleteFunc(ls.parked, func(o *line) bool { return o == l })
	}
}

// leave closes a shared connection that takes no more requests, once it has none.
func (ls *lines) leave(l *line) {
	ls.mu.Lock()
	free := l.leaving && l.claims == 0
	ls.mu.Unlock()
	if free && l.conn.InFlight() == 0 {
		_ = l.conn.Close() // of net/http: says nothing of interest
	}
}

// closeIdle closes every connection: idle ones now, the others when their
// requests have ended. Requests that begin later use new ones.
func (ls *lines) closeIdle() {
	ls.mu.Lock()
	ls.generation++
	parked, shared := ls.parked, ls.shared
	ls.parked, ls.shared = nil, nil
	for _, l := range parked {
		l.parked = false
	}
	for _, l := range shared {
		l.leaving = true
	}
	if ls.sweeper != nil {
		ls.sweeper.Stop()
		ls.sweeper = nil
	}
	if o := ls.opening; o != nil && o.waiting == 0 {
		o.cancel()
	}
	ls.mu.Unlock()
	for _, l := range parked {
		retire(l)
	}
	for _, l := range shared {
		ls.leave(l)
	}
}
