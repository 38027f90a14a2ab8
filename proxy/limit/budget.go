package limit

import (
	"math"
	"sync/atomic"

	"strangler/capability"
)

// Budget bounds the retries of one capability, as Envoy's retry budget does: at
// once there are at most a share of the requests in flight, and a few in any case.
// When everything fails, retries then add a fifth to the load, not a multiple.
//
// It holds no lock.
type Budget struct {
	settings atomic.Uint64 // share << 32 | least
	inFlight atomic.Int64
	retries  atomic.Int64
}

// NewBudget makes a budget. What is zero or less takes its default: 20 %, and 3 in
// any case. A share above 100 % is 100 %.
func NewBudget(b capability.Budget) *Budget {
	budget := &Budget{}
	budget.Use(b)
	return budget
}

// Use takes new settings and keeps what is in flight. Retries that run already go
// on, even if they are now too many.
func (b *Budget) Use(s capability.Budget) {
	if s.Share <= 0 {
		s.Share = 2000
	}
	if s.Least <= 0 {
		s.Least = 3
	}
	share, least := min(s.Share, capability.Whole), min(s.Least, math.MaxInt32)
	b.settings.Store(uint64(share)<<32 | uint64(least))
}

// Begin counts a request of the capability; End is called once when it has ended,
// with all its retries.
func (b *Budget) Begin() { b.inFlight.Add(1) }

// End ends what Begin began.
func (b *Budget) End() { b.inFlight.Add(-1) }

// TryRetry says whether one more retry may run now. If so, the caller calls
// EndRetry once when it has ended.
func (b *Budget) TryRetry() bool {
	for {
		running := b.retries.Load()
		if running >= b.Limit() {
			return false
		}
		if b.retries.CompareAndSwap(running, running+1) {
			return true
		}
	}
}

// EndRetry ends what TryRetry allowed.
func (b *Budget) EndRetry() { b.retries.Add(-1) }

// Limit is how many retries may run at once now: the share of the requests in
// flight, rounded down, but never less than the least.
func (b *Budget) Limit() int64 {
	s := b.settings.Load()
	share, least := int64(s>>32), int64(s&math.MaxUint32)
	return max(least, b.inFlight.Load()*share/int64(capability.Whole))
}

// InFlight is how many requests are in flight, and Retries how many of their
// retries.
func (b *Budget) InFlight() int64 { return b.inFlight.Load() }

// Retries is how many retries run.
func (b *Budget) Retries() int64 { return b.retries.Load() }
