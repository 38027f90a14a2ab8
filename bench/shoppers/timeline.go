package shoppers

import (
	"slices"
	"time"
)

// Second is what happened in one second of the run.
type Second struct {
	Requests int64
	Failed   int64
	Writes   int64         // acknowledged
	Slowest  time.Duration // acknowledged write
}

type timeline struct {
	began   time.Time
	seconds []Second
}

// at is the second that holds a moment.
func (t *timeline) at(moment time.Time) *Second {
	i := max(0, int(moment.Sub(t.began)/time.Second))
	for len(t.seconds) <= i {
		t.seconds = append(t.seconds, Second{})
	}
	return &t.seconds[i]
}

// Window is how the writes fared between two moments.
type Window struct {
	Gap     time.Duration // the longest time in which no write was acknowledged
	Slowest time.Duration // of the acknowledged writes
	PerS    float64       // acknowledged
}

// Window looks at the writes acknowledged between two moments, the second of which must have passed. Without any, the
// gap is the whole window.
func (r *Record) Window(from, to time.Time) Window {
	var inside []Write
	for _, w := range r.Acknowledged() {
		if !w.At.Before(from) && !w.At.After(to) {
			inside = append(inside, w)
		}
	}
	slices.SortFunc(inside, func(a, b Write) int { return a.At.Compare(b.At) })
	var found Window
	last := from
	for _, w := range inside {
		found.Gap = max(found.Gap, w.At.Sub(last))
		found.Slowest = max(found.Slowest, w.Took)
		last = w.At
	}
	found.Gap = max(found.Gap, to.Sub(last))
	found.PerS = float64(len(inside)) / to.Sub(from).Seconds()
	return found
}
