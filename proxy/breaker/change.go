package breaker

import (
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"

	"strangler/capability"
)

// advance does what is due: it ends an open time that is over and trials that have
// expired. It returns the time now. mu is held.
func (b *Breaker) advance() time.Time {
	for {
		now := time.Now()
		if b.opening == nil {
			return now
		}
		if b.state == Open && b.opening.due(now) {
			b.become(HalfOpen, b.opening.until, "its open time is over")
		}
		if b.state != HalfOpen {
			return now
		}
		t := b.opening.expired(now)
		if t == nil {
			return now
		}
		b.opening.end(t, errFailed)
		// From the trial's deadline on: if nobody asked since, the open time may be over.
		b.follow(t.deadline, fmt.Sprintf("a trial did not end within %v", t.expiry))
	}
}

// follow makes the state what gobreaker made it after the end of a trial. mu is
// held.
func (b *Breaker) follow(at time.Time, reason string) {
	switch b.opening.state {
	case gobreaker.StateOpen:
		b.open(at, reason)
	case gobreaker.StateClosed:
		trials := b.opening.allowed
		b.shut(at, fmt.Sprintf("%d of %d trials succeeded", trials, trials))
		b.closed = at
	default: // more trials to come
	}
}

// open begins an opening. mu is held.
func (b *Breaker) open(at time.Time, reason string) {
	b.opened++
	o := &opening{since: at, spread: 1 + spread*(2*b.options.Rand()-1)}
	o.open(time.Until(at.Add(openTime(b.settings, b.opened, o.spread))), b.settings.Trials)
	b.opening = o
	b.become(Open, at, reason)
}

// forgive lets the open times begin small again once the breaker stayed closed for
// a window. mu is held.
func (b *Breaker) forgive(now time.Time) {
	if b.state == Closed && now.Sub(b.closed) >= b.settings.Window {
		b.opened = 0
	}
}

// shut closes the breaker with an empty window. mu is held.
func (b *Breaker) shut(at time.Time, reason string) {
	b.opening = nil
	b.window.clear()
	b.become(Closed, at, reason)
}

// Use takes new settings and a mode, as New does, and forgets as little as it can;
// with what it has already it does nothing.
//
//   - Closed, the window keeps what it counted. Another threshold for slow answers
//     forgets the slow ones alone.
//   - Open, the time that is left follows the new settings as if they had held since
//     it opened.
//   - Half-open, new numbers of trials hold from the next opening on.
//   - From and to observe nothing changes but who is let through.
//   - Disabled it is closed, and open by the operator it is open; both forget. When the
//     operator lets go, it starts closed.
func (b *Breaker) Use(s capability.Breaker, mode capability.BreakerMode) {
	b.mu.Lock()
	defer b.unlock()
	now := b.advance()
	b.setSettings(complete(s), now)
	b.setMode(mode, now)
}

// setSettings takes complete settings. mu is held.
func (b *Breaker) setSettings(s capability.Breaker, now time.Time) {
	old := b.settings
	if s == old {
		return
	}
	b.settings = s
	if s.Window != old.Window {
		b.window = b.window.resized(s.Window, now.Sub(b.epoch))
	}
	if s.Slow != old.Slow {
		b.window.forgetSlow()
	}
	if o := b.opening; o != nil && b.state == Open {
		o.open(time.Until(o.since.Add(openTime(s, b.opened, o.spread))), s.Trials)
	}
}

// setMode takes a mode. mu is held.
func (b *Breaker) setMode(mode capability.BreakerMode, now time.Time) {
	if mode == "" {
		mode = capability.BreakerEnforce
	}
	old := b.mode
	if mode == old {
		return
	}
	b.mode = mode
	switch {
	case mode == forced:
		b.opening, b.opened = nil, 0
		b.window.clear()
		b.become(Open, now, byOperator)
		b.reason = byOperator // also if it was open before
	case mode == disabled, old == disabled, old == forced:
		b.opened = 0
		b.shut(now, byOperator)
	default:
		// The generation stays: what is in flight counts.
		if old == "" {
			b.renew()
		}
	}
}
