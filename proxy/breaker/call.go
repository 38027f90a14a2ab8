package breaker

import (
	"sync/atomic"
	"time"
)

// Outcome is what one request says about the side.
type Outcome struct {
	kind   kind
	reason string
}

type kind uint8

const (
	excluded kind = iota
	success
	failure
)

// Success is the outcome of a request that the side answered.
func Success() Outcome { return Outcome{kind: success} }

// Failure is the outcome of a request that failed through the side's doing. The
// reason is shown to operators: "the upstream answered 500".
func Failure(reason string) Outcome { return Outcome{kind: failure, reason: reason} }

// Excluded is the outcome of a request that says nothing about the side, such as
// one whose client went away. It is the zero Outcome.
func Excluded() Outcome { return Outcome{} }

// Call is a request that was let through. The zero Call was let through without
// being counted.
type Call struct {
	breaker *Breaker
	word    uint64        // of the breaker when it began
	trial   *trial        // or nil
	at      time.Duration // since the breaker's epoch: when its success was counted
	done    uint32        // accessed atomically; not an atomic.Uint32, for a Call is returned by value
}

// What has become of a Call.
const (
	waits   uint32 = iota
	told           // for good
	counted        // as a success, which may be taken back
)

// Trial says whether the request is a trial, on whose success the closing of the
// breaker depends.
func (c *Call) Trial() bool { return c.trial != nil }

// Done reports the outcome and the time until the answer began, or until it was
// clear that none would. The first report counts and later ones are ignored, as
// are those that come after the breaker changed its state or after a trial has
// expired. It may be called by several goroutines, but not on copies of a Call.
func (c *Call) Done(outcome Outcome, took time.Duration) {
	if c.breaker == nil || !atomic.CompareAndSwapUint32(&c.done, waits, told) {
		return
	}
	if c.trial != nil {
		c.breaker.doneTrial(c.word, c.trial, outcome, took)
		return
	}
	if c.word&counting == 0 || outcome.kind == excluded {
		return
	}
	c.at = c.breaker.count(c.word, outcome, took)
	if outcome.kind == success {
		atomic.StoreUint32(&c.done, counted)
	}
}

// Broke takes back the success that Done has reported: the answer broke off after
// it had begun. It is still one answer, which failed. Whatever else Done reported
// stays, as does a success that the window has forgotten, that of a trial, and one
// from before the breaker changed its state. It comes after Done has returned, and
// counts once.
func (c *Call) Broke(reason string) {
	if c.breaker != nil && atomic.CompareAndSwapUint32(&c.done, counted, told) {
		c.breaker.takeBack(c.word, c.at, reason)
	}
}
