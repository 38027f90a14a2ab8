package breaker

import "time"

// become writes down a change of the state. Calls of the state before are dropped
// from now on. mu is held.
func (b *Breaker) become(to State, at time.Time, reason string) {
	if to != b.state {
		if b.options.OnChange != nil {
			b.untold = append(b.untold, Transition{From: b.state, To: to, At: at, Reason: reason})
		}
		b.state, b.since, b.reason = to, at, reason
	}
	b.renew()
}

// renew begins a new generation. mu is held.
func (b *Breaker) renew() {
	word := (b.word.Load()>>bits + 1) << bits
	if b.state == Closed {
		word |= passing
		if b.mode != disabled {
			word |= counting
		}
	}
	b.word.Store(word)
}

// unlock releases mu and passes on what changed.
func (b *Breaker) unlock() {
	tell := len(b.untold) > 0 && !b.telling
	b.telling = b.telling || tell
	b.mu.Unlock()
	if tell {
		b.tell()
	}
}

// tell calls OnChange until there is nothing left to tell. One goroutine at a time
// does so, which keeps the order; the others leave theirs to it.
func (b *Breaker) tell() {
	stopped := false
	defer func() {
		if !stopped { // OnChange panicked; the next change is told by whoever makes it
			b.mu.Lock()
			b.telling = false
			b.mu.Unlock()
		}
	}()
	for {
		b.mu.Lock()
		if len(b.untold) == 0 {
			b.untold, b.telling, stopped = nil, false, true
			b.mu.Unlock()
			return
		}
		next := b.untold[0]
		b.untold = b.untold[1:]
		b.mu.Unlock()
		b.options.OnChange(next)
	}
}
