package edge

import (
	"errors"
	"net/http"
	"time"
)

// past is a deadline that has passed.
func past() time.Time { return time.Unix(1, 0) }

// The read deadlines of a guard: the one that net/http or the handler asked for,
// the one of a stalled body, and the past, which wakes an idle connection that is
// to go.

// arm sees to it that a read of a body ends when the client sends nothing for
// BodyStall, and that no other read does. The deadline is set anew when an eighth
// of it has gone by: not for every read.
func (g *guard) arm() {
	g.mu.Lock()
	defer g.mu.Unlock()
	stall := g.server.limits.BodyStall
	if stall <= 0 || g.free.Load() || !g.framing.body() {
		if !g.armed.IsZero() {
			g.set(g.user)
		}
		return
	}
	now := time.Now()
	if g.armed.Sub(now) > stall-stall/8 {
		return
	}
	deadline := now.Add(stall)
	if !g.user.IsZero() && g.user.Before(deadline) {
		return // set already: it is the one that was asked for
	}
	g.set(deadline)
	g.armed = deadline
}

// set needs mu.
func (g *guard) set(deadline time.Time) {
	g.armed = time.Time{}
	_ = g.Conn.SetReadDeadline(deadline) // fails on closed connections only, as the read will
}

// SetReadDeadline is kept beside the deadline of the stall; the earlier one counts.
func (g *guard) SetReadDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.user, g.armed = t, time.Time{}
	return g.Conn.SetReadDeadline(t)
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (g *guard) SetDeadline(t time.Time) error {
	return errors.Join(g.SetReadDeadline(t), g.SetWriteDeadline(t))
}

// retire tells the connection to close when it is idle, which may be now.
func (g *guard) retire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.quit = true
	if g.idle() {
		g.set(past())
	}
}

func (g *guard) idle() bool {
	return !g.opaque.Load() && http.ConnState(g.state.Load()) == http.StateIdle
}

// leave reports whether the connection is to close instead of waiting for its
// next request. It stays for one that lies in the kernel already: that one is
// answered, and the answer closes the connection.
func (g *guard) leave() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.quit || !g.idle() || !g.framing.between() {
		return false
	}
	if !waiting(g.wire.Conn) {
		return true
	}
	g.quit = false
	g.set(g.user)
	return false
}

// woken reports whether a read that timed out is to be tried again, because it was
// retire that ended it, and counts it when it was the client's stall.
func (g *guard) woken() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	asked := !g.user.IsZero() && !now.Before(g.user)
	switch {
	case asked:
	case g.quit && g.idle():
		if !g.framing.between() {
			g.quit = false
			g.set(g.user)
		}
		return true
	case !g.stalled && !g.armed.IsZero() && !now.Before(g.armed):
		g.stalled = true
		g.server.counters.stalls.Add(1)
	}
	return false
}
