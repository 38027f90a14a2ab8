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
	PerS    float64       // that were due, and have been acknowledged since
}

// Window looks at the writes that were due or acknowledged between two moments, the second of which must have passed.
// Without any, the gap is the whole window. The rate is of those due: what comes late was under load all the same, and
// how late it came is what the slowest says.
func (r *Record) Window(from, to time.Time) Window {
	within := func(at time.Time) bool { return !at.Before(from) && !at.After(to) }
	var acknowledged []time.Time
	var found Window
	due := 0
	for _, w := range r.Acknowledged() {
		meant := within(w.At.Add(-w.Took))
		if meant {
			due++
		}
		if within(w.At) {
			acknowledged = append(acknowledged, w.At)
		}
		if meant || within(w.At) {
			found.Slowest = max(found.Slowest, w.Took)
		}
	}
	slices.SortFunc(acknowledged, time.Time.Compare)
	last := from
	for _, at := range acknowledged {
		found.Gap = max(found.Gap, at.Sub(last))
		last = at
	}
	found.Gap = max(found.Gap, to.Sub(last))
	found.PerS = float64(due) / to.Sub(from).Seconds()
	return found
}
