package breaker

import (
	"errors"
	"slices"
	"time"

	"github.com/sony/gobreaker/v2"
)

// What is reported to gobreaker in place of the caller's outcome.
var (
	errFailed   = errors.New("failed")
	errExcluded = errors.New("says nothing about the side")
)

// opening is one open time and the trials after it. It ends when gobreaker closes
// or opens again. It is guarded by its breaker, whose lock is always taken before
// gobreaker's.
type opening struct {
	inner    *gobreaker.TwoStepCircuitBreaker[struct{}]
	state    gobreaker.State // as inner last announced it
	since    time.Time       // when it began
	until    time.Time       // the first instant at which inner is half-open
	spread   float64         // of the open time
	allowed  int             // trials
	inFlight []*trial
	slow     int // trials that succeeded late
}

// trial is a request that was let through half-open. It is guarded by the breaker.
type trial struct {
	report   func(error)
	expiry   time.Duration
	deadline time.Time // when it counts as failed
}

// open makes gobreaker open with the given rest of its open time. gobreaker lets
// nothing through at the last instant of that time, hence the nanosecond less, and
// takes 0 for a minute, hence the least of two.
func (o *opening) open(rest time.Duration, trials int) {
	rest = max(rest, 2)
	o.allowed = trials
	o.inner = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   uint32(trials),
		Timeout:       rest - 1,
		ReadyToTrip:   func(gobreaker.Counts) bool { return true },
		IsExcluded:    func(err error) bool { return errors.Is(err, errExcluded) },
		OnStateChange: func(_ string, _, to gobreaker.State) { o.state = to },
	})
	if report, err := o.inner.Allow(); err == nil { // a new one is closed and lets everything through
		report(errFailed)
	}
	// Read after gobreaker read it: the open time never ends here before it ends there.
	o.until = time.Now().Add(rest)
}

// due lets gobreaker become half-open and says whether it is.
func (o *opening) due(now time.Time) bool {
	return !now.Before(o.until) && o.inner.State() == gobreaker.StateHalfOpen
}

// try begins a trial, or returns nil when there are enough.
func (o *opening) try(now time.Time, expiry time.Duration) *trial {
	report, err := o.inner.Allow()
	if err != nil {
		return nil
	}
	t := &trial{report: report, expiry: expiry, deadline: now.Add(expiry)}
	o.inFlight = append(o.inFlight, t)
	return t
}

// end reports a trial.
func (o *opening) end(t *trial, err error) {
	o.inFlight = slices.DeleteFunc(o.inFlight, func(other *trial) bool { return other == t })
	t.report(err)
}

// expired returns the trial that was due first and has not reported, or nil.
func (o *opening) expired(now time.Time) *trial {
	var first *trial
	for _, t := range o.inFlight {
		if !now.Before(t.deadline) && (first == nil || t.deadline.Before(first.deadline)) {
			first = t
		}
	}
	return first
}
