package pool

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// opening is a dial to a peer that multiplexes: all who need a connection wait
// for the same one, or a burst would open one each. It belongs to none of them
// and goes on when the first goes away.
type opening struct {
	done       chan struct{}
	err        error // set before done is closed
	line       *line // shared, with a claim for each who waited; set before done is closed
	cancel     context.CancelFunc
	generation int // of the lines when it began
	waiting    int // guarded by lines.mu
}

// open waits for a new connection and returns it with a place reserved, or nil if
// others have taken all of them or it carries one request at a time.
func (ls *lines) open(ctx context.Context) (*line, error) {
	ls.mu.Lock()
	o := ls.opening
	if o == nil {
		dialing, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialFor+handshakeFor)
		o = &opening{done: make(chan struct{}), cancel: cancel, generation: ls.generation}
		ls.opening = o
		go ls.carryOut(dialing, o)
	}
	o.waiting++
	ls.mu.Unlock()
	select {
	case <-o.done:
		if o.line == nil {
			return nil, o.err
		}
		err := o.line.conn.Reserve()
		ls.unclaim(o.line)
		if err != nil {
			return nil, o.line.useless() // nil: it is full, and the caller looks again
		}
		return o.line, nil
	case <-ctx.Done():
		ls.mu.Lock()
		o.waiting--
		l := o.line
		ls.mu.Unlock()
		if l != nil {
			ls.unclaim(l)
		}
		return nil, context.Cause(ctx)
	}
}

func (ls *lines) carryOut(ctx context.Context, o *opening) {
	defer o.cancel()
	l, err := ls.dial(ctx, false, o)
	ls.mu.Lock()
	if ls.opening == o {
		ls.opening = nil
	}
	o.err = err
	ls.mu.Unlock()
	switch {
	case err != nil:
	case l.shared:
		ls.leave(l) // where nobody wants it any more
	default:
		ls.park(l)
	}
	close(o.done)
}

// dial makes a connection and takes it in, not reserved. It may be for an opening.
func (ls *lines) dial(ctx context.Context, upgrade bool, o *opening) (*line, error) {
	conn, w, shared, err := ls.dialer.dial(ctx, upgrade)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", ls.dialer.address, err)
	}
	if shared && o != nil {
		settle(ctx, conn)
	}
	l := &line{lines: ls, conn: conn, wire: w, shared: shared}
	broken := l.broken
	w.broken.Store(&broken)
	if !shared {
		caught := ls.caught
		w.caught.Store(&caught)
	}
	ls.add(l, upgrade, o)
	return l, nil
}

// settle waits until the peer has said how many streams it takes at once. Until
// then net/http promises a hundred places, and when the peer allows fewer, those
// who begin wait for places that the others hold who wait to begin: nothing moves
// any more. A peer that is silent for so long gets the hundred.
func settle(ctx context.Context, conn *http.ClientConn) {
	const promised, patience = 100, 250 * time.Millisecond
	heard := make(chan struct{})
	tell := sync.OnceFunc(func() { close(heard) })
	conn.SetStateHook(func(*http.ClientConn) { tell() })
	if conn.Available() != promised {
		return // it has spoken already
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-heard:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// add takes a new connection in.
func (ls *lines) add(l *line, upgrade bool, o *opening) {
	ls.mu.Lock()
	l.generation = ls.generation
	if o != nil && o.waiting == 0 && o.generation != ls.generation {
		// All were closed while it was being made, and nobody waits for it.
		l.generation, l.leaving = o.generation, true
	}
	if l.shared && !l.leaving {
		ls.shared = append(ls.shared, l)
	}
	if l.shared && o != nil {
		// Those who wait get theirs even if the connection is told to leave meanwhile.
		l.claims, o.line = o.waiting, l
		ls.opening = nil
	}
	if !upgrade {
		ls.single = !l.shared
	}
	ls.mu.Unlock()
	l.conn.SetStateHook(l.changed)
	if l.conn.Err() != nil {
		ls.drop(l) // it ended while it was being settled, which is told once
	}
}

// useless says why a connection takes nothing that was made for this request and on
// which no place could be reserved; nil where others have taken its places. Another
// one would be no better.
func (l *line) useless() error {
	if l.conn.InFlight() > 0 || l.used.Load() { // in this order: what has ended was used
		return nil
	}
	if err := l.conn.Err(); err != nil {
		return fmt.Errorf("connect to %s: it hung up at once: %w", l.lines.dialer.address, err)
	}
	return fmt.Errorf("connect to %s: it takes no requests", l.lines.dialer.address)
}

// unclaim gives back a claim, which was made use of or not.
func (ls *lines) unclaim(l *line) {
	ls.mu.Lock()
	l.claims--
	leaving := l.leaving
	ls.mu.Unlock()
	if leaving {
		ls.leave(l)
	}
}
