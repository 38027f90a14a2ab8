package breaker

import (
	"fmt"
	"time"

	"strangler/capability"
)

// State is closed, half-open or open.
type State string

// The states of a breaker. They change along closed → open → half-open → closed,
// from half-open back to open, and between closed and open by the operator.
const (
	Closed   State = "closed"    // everything passes
	HalfOpen State = "half-open" // trials pass
	Open     State = "open"      // nothing passes
)

// Metric is the state as a number: 0 closed, 1 half-open, 2 open.
func (s State) Metric() float64 {
	switch s {
	case HalfOpen:
		return 1
	case Open:
		return 2
	default:
		return 0
	}
}

// byOperator is the reason of whatever a change of the mode does.
const byOperator = "by the operator"

// Transition is one change of a breaker's state.
type Transition struct {
	From, To State
	At       time.Time // when it was due; it may have been noticed later
	Reason   string    // never empty
}

// Info is a breaker as it is now.
type Info struct {
	// State is that which the breaker has or, in the mode observe, would have.
	State     State
	Mode      capability.BreakerMode
	Since     time.Time     // when the state last changed, or the breaker was made
	Reason    string        // of the last change; empty before the first
	Remaining time.Duration // of the open time; 0 in other states, and when open by the operator
	// Requests counts the answers in the window that counted, Failures and Slow those
	// of them that failed and that began late; one answer can be both. From
	// the trip to the closing nothing is added to them.
	Requests, Failures, Slow int
	// Opened counts how many times in a row it has opened: each but the first doubled
	// the open time. It starts again once it stayed closed for a window.
	Opened int
}

// OpenError says that a request was not let through.
type OpenError struct {
	After  time.Duration // when asking again makes sense; above 0
	Reason string        // why the breaker is open
	// Operator: by the operator, who alone knows for how long; After is then no more than
	// a pause between two questions.
	Operator bool
}

func (e *OpenError) Error() string {
	return fmt.Sprintf("the breaker is open: %s", e.Reason)
}
