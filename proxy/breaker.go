package proxy

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"strangler/capability"
)

// BreakerState is closed, half-open or open.
type BreakerState string

// The states of a breaker. In the metric strangler_breaker_state they are 0, 1
// and 2.
const (
	Closed   BreakerState = "closed"
	HalfOpen BreakerState = "half-open"
	Open     BreakerState = "open"
)

var breakerStates = map[gobreaker.State]BreakerState{
	gobreaker.StateClosed: Closed, gobreaker.StateHalfOpen: HalfOpen, gobreaker.StateOpen: Open,
}

// transition is one change of a breaker's state.
type transition struct {
	from, to BreakerState
	at       time.Time
	reason   string
}

// breaker wraps gobreaker's two-step breaker for what it leaves out: the time
// until it lets a request through again, trials that never report (they expire,
// or half-open would last for ever), and callbacks that run outside its lock.
type breaker struct {
	settings capability.Breaker
	inner    *gobreaker.TwoStepCircuitBreaker[struct{}]
	onChange func(transition) // called without any lock held

	trial   atomic.Bool // half-open: what is admitted now is a trial
	pending atomic.Bool // changes is not empty

	mu      sync.Mutex
	changes []transition // guarded by mu; not yet told to onChange
	last    transition   // guarded by mu
	reason  string       // guarded by mu; the latest failure
}

// errExcluded is reported for requests that say nothing about the side.
var errExcluded = errors.New("not the side's doing")

// errTrialExpired is reported in the name of a trial that did not report.
var errTrialExpired = errors.New("a trial request did not end in time")

func newBreaker(s capability.Breaker, onChange func(transition)) *breaker {
	s = breakerDefaults(s)
	b := &breaker{settings: s, onChange: onChange, last: transition{to: Closed, at: time.Now()}}
	const buckets = 10
	b.inner = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  uint32(s.Trials),
		Interval:     s.Window,
		BucketPeriod: s.Window / buckets,
		Timeout:      s.OpenFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			done := c.TotalSuccesses + c.TotalFailures
			return int(done) >= s.Requests && float64(c.TotalFailures) >= s.Ratio*float64(done)
		},
		OnStateChange: func(_ string, from, to gobreaker.State) { b.note(breakerStates[from], breakerStates[to]) },
		IsExcluded:    func(err error) bool { return errors.Is(err, errExcluded) },
	})
	return b
}

// breakerDefaults fills in what a document leaves out: half of at least 20
// requests within 10 s, open for 5 s, then 3 trials.
func breakerDefaults(s capability.Breaker) capability.Breaker {
	if s.Ratio <= 0 || s.Ratio > 1 {
		s.Ratio = 0.5
	}
	if s.Requests <= 0 {
		s.Requests = 20
	}
	if s.Window <= 0 {
		s.Window = 10 * time.Second
	}
	if s.OpenFor <= 0 {
		s.OpenFor = 5 * time.Second
	}
	if s.Trials <= 0 {
		s.Trials = 3
	}
	return s
}

// admit lets a request through or returns false and the time after which asking
// again makes sense. The caller reports the outcome by calling done once: nil,
// an error, or one that wraps errExcluded. A trial that has not reported after
// expiry counts as failed.
func (b *breaker) admit(expiry time.Duration) (done func(error), after time.Duration, ok bool) {
	report, err := b.inner.Allow()
	trial := b.trial.Load()
	b.tell()
	if err != nil {
		return nil, b.remaining(), false
	}
	if !trial {
		return func(err error) { b.report(report, err) }, 0, true
	}
	var once sync.Once
	timer := time.AfterFunc(expiry, func() {
		once.Do(func() { b.report(report, errTrialExpired) })
	})
	return func(err error) {
		timer.Stop()
		once.Do(func() { b.report(report, err) })
	}, 0, true
}

func (b *breaker) report(report func(error), err error) {
	if err != nil && !errors.Is(err, errExcluded) {
		b.mu.Lock()
		b.reason = err.Error()
		b.mu.Unlock()
	}
	report(err)
	b.tell()
}

// note runs under gobreaker's lock, and therefore only writes down.
func (b *breaker) note(from, to BreakerState) {
	b.trial.Store(to == HalfOpen)
	b.mu.Lock()
	defer b.mu.Unlock()
	t := transition{from: from, to: to, at: time.Now()}
	if to == Open {
		t.reason = b.reason
	}
	b.last = t
	b.changes = append(b.changes, t)
	b.pending.Store(true)
}

// tell passes on what note has written down, outside every lock.
func (b *breaker) tell() {
	if !b.pending.Load() {
		return
	}
	b.mu.Lock()
	changes := b.changes
	b.changes = nil
	b.pending.Store(false)
	b.mu.Unlock()
	if b.onChange == nil {
		return
	}
	for _, t := range changes {
		b.onChange(t)
	}
}

// remaining is the rest of the open time. While trials run it is a second: long
// enough for them to end.
func (b *breaker) remaining() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last.to != Open {
		return time.Second
	}
	return max(b.settings.OpenFor-time.Since(b.last.at), 0)
}

// state returns the state now, and how it came to be.
func (b *breaker) state() (BreakerState, transition) {
	state := breakerStates[b.inner.State()]
	b.tell()
	b.mu.Lock()
	defer b.mu.Unlock()
	return state, b.last
}
