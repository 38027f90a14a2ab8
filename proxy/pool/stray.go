package pool

import (
	"crypto/tls"
	"log/slog"
	"net"
	"time"
)

const (
	// keepNoneFor is how long no HTTP/1.1 connection to an endpoint is kept that has sent
	// more than it announced: such bytes are taken for the answer to the next request, if
	// they come when that has begun to leave. Each time after that lasts twice as long.
	keepNoneFor     = time.Minute
	keepNoneLongest = 10 * time.Minute
)

// distrust is what an endpoint has earned by that.
type distrust struct {
	until time.Time
	spell time.Duration // the last one
}

// catch begins a spell and returns how long it is; 0: one is under way.
func (d *distrust) catch(now time.Time) time.Duration {
	switch {
	case now.Before(d.until):
		return 0
	case now.Sub(d.until) > keepNoneLongest:
		d.spell = keepNoneFor
	default:
		d.spell = min(2*d.spell, keepNoneLongest)
	}
	d.until = now.Add(d.spell)
	return d.spell
}

func (d *distrust) holds(now time.Time) bool { return now.Before(d.until) }

// caught hears that the endpoint has sent what nobody asked for. Idle connections are
// closed, and those in use when their requests end.
func (ls *lines) caught() {
	ls.mu.Lock()
	spell := ls.distrust.catch(time.Now())
	parked := ls.parked
	ls.parked = nil
	ls.generation++
	for _, l := range parked {
		l.parked = false
	}
	ls.mu.Unlock()
	for _, l := range parked {
		retire(l)
	}
	if ls.onStray != nil {
		ls.onStray(spell)
	}
}

// onStray has tell called whenever the endpoint has sent beyond what it announced, with
// how long no connections are kept from now on; 0: that was said already. It comes before
// the first request.
func (s *standard) onStray(tell func(keepsNone time.Duration)) { s.lines.onStray = tell }

// watch counts and logs what the leg to an endpoint catches it at.
func (p *Pool) watch(leg Leg, address string) Leg {
	if w, ok := leg.(interface{ onStray(func(time.Duration)) }); ok {
		w.onStray(func(keepsNone time.Duration) {
			p.strays.Add(1)
			if keepsNone > 0 {
				p.log.Warn("an endpoint sends more than it announces, which may be taken for the answer to another request: keeping no connections to it for a while. "+
					"Look for a body behind HEAD, 204 or 304, a wrong Content-Length, or two answers to one request",
					slog.String("endpoint", address), slog.Duration("for", keepsNone))
			}
		})
	}
	return leg
}

// Strays returns how often an endpoint was caught sending more than it had announced.
func (p *Pool) Strays() uint64 { return p.strays.Load() }

// isFarewell reports whether bytes that nobody asked for are a 408, with which many
// servers end an idle connection. net/http knows them as well.
func isFarewell(b []byte) bool {
	const like = "HTTP/1.x 408"
	return len(b) >= len(like) && string(b[:7]) == like[:7] && string(b[8:len(like)]) == like[8:]
}

// foundMore reports whether net/http has closed a connection because more lay in its
// buffer than the answer. It says so in no other way than this text.
func foundMore(err error) bool {
	return err.Error() == "readLoopPeekFailLocked: %!w(<nil>)"
}

// closeAtOnce makes Close leave no connection in TIME_WAIT, where a thousand requests a
// second, each with its own, would soon have taken all ports. It loses what has not
// left yet.
func (w *wire) closeAtOnce() {
	for conn := w.Conn; ; {
		switch c := conn.(type) {
		case *wire:
			conn = c.Conn
		case *tls.Conn:
			conn = c.NetConn()
		case *net.TCPConn:
			_ = c.SetLinger(0) // then it waits, as others do
			return
		default:
			return
		}
	}
}
