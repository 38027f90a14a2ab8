package breaker

import (
	"fmt"
	"slices"
	"time"
)

// count takes the outcome of a request that began while the breaker was closed, and
// returns when it did.
func (b *Breaker) count(word uint64, outcome Outcome, took time.Duration) time.Duration {
	at := time.Since(b.epoch)
	b.mu.Lock()
	if word != b.word.Load() {
		b.mu.Unlock()
		return at
	}
	failed := outcome.kind == failure
	if failed {
		b.failure = outcome.reason
	}
	b.window.add(at, failed, b.late(took))
	b.judge(at)
	b.unlock()
	return at
}

// takeBack makes a failure of a success that was counted at the given time.
func (b *Breaker) takeBack(word uint64, counted time.Duration, reason string) {
	at := time.Since(b.epoch)
	b.mu.Lock()
	defer b.unlock()
	if word == b.word.Load() && b.window.takeBack(counted, at) {
		b.failure = reason
		b.judge(at)
	}
}

// judge opens the breaker if what was counted says so. mu is held.
func (b *Breaker) judge(at time.Duration) {
	if reason := trips(&b.settings, &b.window.total, b.failure); reason != "" {
		now := b.epoch.Add(at)
		b.forgive(now)
		b.open(now, reason)
	}
}

// late says whether an answer that took so long to begin is slow.
func (b *Breaker) late(took time.Duration) bool {
	return b.settings.Slow > 0 && took > b.settings.Slow
}

// doneTrial takes the outcome of a trial. Slow trials count as one failure when
// their share of the trials would have opened the breaker: the first answer of a
// side that has just been started is often slow.
func (b *Breaker) doneTrial(word uint64, t *trial, outcome Outcome, took time.Duration) {
	b.mu.Lock()
	defer b.unlock()
	now := b.advance()
	if word != b.word.Load() || !slices.Contains(b.opening.inFlight, t) {
		return
	}
	o, err, reason := b.opening, error(nil), ""
	switch {
	case outcome.kind == excluded:
		err = errExcluded
	case outcome.kind == failure:
		err, reason = errFailed, "a trial failed: "+outcome.reason
	case b.late(took):
		if o.slow++; float64(o.slow)/float64(o.allowed) >= b.settings.SlowRatio {
			err, reason = errFailed, fmt.Sprintf("%d of %d trials took longer than %v to begin", o.slow, o.allowed, b.settings.Slow)
		}
	}
	o.end(t, err)
	b.follow(now, reason)
}
