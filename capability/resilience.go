package capability

import (
	"fmt"
	"time"
)

// Resilience bounds what a failing side can do to clients.
type Resilience struct {
	Timeout     time.Duration // of one request, unless its route has its own
	Retries     int           // further tries of a read on the same side after a connection error
	Fallback    bool          // reads may go to the other side when it is current
	Breaker     Breaker
	Concurrency Concurrency
	Budget      Budget
	Streams     Streams
}

// Breaker says when a side's breaker opens and for how long.
type Breaker struct {
	Ratio     float64       // share of failures in the window that opens it, 0 < Ratio <= 1
	Requests  int           // requests in the window below which it stays closed
	Window    time.Duration // length of the window
	OpenFor   time.Duration // time until a first request is tried again, spread by up to a tenth
	OpenMost  time.Duration // up to which OpenFor doubles while the trials fail; 0: ten times OpenFor
	Trials    int           // requests let through half-open; all must succeed
	Slow      time.Duration // an answer that begins later than this is slow; 0: none is
	SlowRatio float64       // share of slow answers in the window that opens it; 0: Ratio
}

// Streams is what becomes of a capability's long-lived connections (upgraded ones, event
// streams, streams of gRPC) at the old owner's side when a switch holds its writes.
type Streams string

// The empty rule is Drain.
const (
	StreamsDrain Streams = "drain" // told where the protocol can tell, and closed after StreamsGrace
	StreamsKeep  Streams = "keep"  // they stay where they are
	StreamsClose Streams = "close" // closed at once
)

// Ends reports whether streams end with a switch, and new ones wait for it.
func (s Streams) Ends() bool { return s != StreamsKeep }

// StreamsGrace is how long a stream that is drained may take to go by itself. It is well
// below the second for which a switch waits for writes in flight, which streams that may
// write are among.
const StreamsGrace = 500 * time.Millisecond

// BreakerMode is the operator's hand on a breaker.
type BreakerMode string

// The empty mode is Enforce.
const (
	BreakerEnforce  BreakerMode = "enforce"
	BreakerObserve  BreakerMode = "observe"  // it counts and changes its state, and lets everything through
	BreakerDisabled BreakerMode = "disabled" // closed, and counts nothing
	BreakerForced   BreakerMode = "open"     // open until the mode changes
)

// ParseBreakerMode reads a mode as it is written in documents and on the command
// line.
func ParseBreakerMode(s string) (BreakerMode, error) {
	switch mode := BreakerMode(s); mode {
	case BreakerEnforce, BreakerObserve, BreakerDisabled, BreakerForced:
		return mode, nil
	}
	return "", fmt.Errorf("%q is no mode of a breaker: write enforce, observe, disabled or open", s)
}

// NoTimeout is the timeout of a route whose answers may take for ever.
const NoTimeout time.Duration = -1

// BreakerModes are the modes of a capability's two breakers.
type BreakerModes struct {
	Legacy    BreakerMode
	Extracted BreakerMode
}

// Of returns the mode of one side's breaker.
func (m BreakerModes) Of(side Side) BreakerMode {
	mode := m.Legacy
	if side == Extracted {
		mode = m.Extracted
	}
	if mode == "" {
		return BreakerEnforce
	}
	return mode
}

// Concurrency bounds how many requests of a capability are at one side at once,
// so that a slow side does not take the proxy with it.
type Concurrency struct {
	Requests int           // at once; 0: 1,000
	Queue    int           // that wait for a place; 0: 100
	Wait     time.Duration // longest wait; 0: 1 s
}

// Budget bounds the retries of one capability to a share of its requests in
// flight.
type Budget struct {
	Share Weight // in basis points; 0: 20 %
	Least int    // retries at once that are always allowed; 0: 3
}
