package pool

import (
	"context"
	"fmt"
)

// opening is a dial to a peer that multiplexes: all who need a connection wait
// for the same one, or a burst would open one each. It belongs to none of them
// and goes on when the first goes away.
type opening struct {
	done    chan struct{}
	err     error // set before done is closed
	cancel  context.CancelFunc
	waiting int // guarded by lines.mu
}

// open waits until there is a new connection, which others may have taken.
func (ls *lines) open(ctx context.Context) error {
	ls.mu.Lock()
	o := ls.opening
	if o == nil {
		dialing, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialFor+handshakeFor)
		o = &opening{done: make(chan struct{}), cancel: cancel}
		ls.opening = o
		go ls.carryOut(dialing, o, ls.generation)
	}
	o.waiting++
	ls.mu.Unlock()
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		ls.mu.Lock()
		o.waiting--
		ls.mu.Unlock()
		return context.Cause(ctx)
	}
}

func (ls *lines) carryOut(ctx context.Context, o *opening, generation int) {
	defer o.cancel()
	l, err := ls.dial(ctx, false)
	ls.mu.Lock()
	unwanted := o.waiting == 0 && ls.generation != generation
	ls.opening = nil
	o.err = err
	ls.mu.Unlock()
	switch {
	case err != nil:
	case unwanted:
		_ = l.conn.Close() // closed idle connections while it was being made, and nobody waits
	case !l.shared:
		ls.park(l)
	}
	close(o.done)
}

// dial makes a connection and takes it in, not reserved.
func (ls *lines) dial(ctx context.Context, upgrade bool) (*line, error) {
	conn, w, shared, err := ls.dialer.dial(ctx, upgrade)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", ls.dialer.address, err)
	}
	l := &line{lines: ls, conn: conn, wire: w, shared: shared}
	ls.add(l, upgrade)
	return l, nil
}
