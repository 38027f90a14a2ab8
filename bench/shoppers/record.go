package shoppers

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// keptFaults is how many faults are kept in words; all are counted.
const keptFaults = 50

// lateAfter is how long past its moment a request may start without counting as late.
const lateAfter = 100 * time.Millisecond

// Write is one write and its id.
type Write struct {
	Ref      string
	Customer int64
	At       time.Time     // when the answer came
	Took     time.Duration // from the moment the schedule meant
}

// Counts are totals since the beginning.
type Counts struct {
	Requests     int64
	Failed       int64 // status 500 and above, broken connections, timeouts, and answers that make no sense
	Acknowledged int64 // writes
	Refused      int64 // writes turned down for a reason of business: nothing may have happened
	Stale        int64 // reads that did not show what their own shopper had written
	Late         int64 // arrivals that found no idle shopper in time
	ServedBy     map[string]int64
}

// Record is what the load has seen. Its methods may be called while the load runs.
type Record struct {
	mu       sync.Mutex // guards everything below
	counts   Counts
	acks     []Write
	unknown  []Write
	faults   []string
	timeline timeline
}

func newRecord(began time.Time) *Record {
	return &Record{counts: Counts{ServedBy: map[string]int64{}}, timeline: timeline{began: began}}
}

// begin sets the first second of the timeline.
func (r *Record) begin(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timeline.began = now
}

// Counts returns the totals so far.
func (r *Record) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts
	c.ServedBy = maps.Clone(c.ServedBy)
	return c
}

// Acknowledged returns all writes that were answered with success.
func (r *Record) Acknowledged() []Write {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.acks)
}

// Unknown returns the writes that failed: each may have happened or not.
func (r *Record) Unknown() []Write {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.unknown)
}

// Faults describes the first failures and stale reads.
func (r *Record) Faults() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.faults)
}

// Seconds returns the run second by second.
func (r *Record) Seconds() []Second {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.timeline.seconds)
}

// arrived counts an arrival that started so long after the moment meant.
func (r *Record) arrived(delay time.Duration) {
	if delay <= lateAfter {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Late++
}

func (r *Record) answered(at time.Time, servedBy string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Requests++
	r.counts.ServedBy[servedBy]++
	r.timeline.at(at).Requests++
}

func (r *Record) acknowledged(w Write) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Acknowledged++
	r.acks = append(r.acks, w)
	second := r.timeline.at(w.At)
	second.Writes++
	second.Slowest = max(second.Slowest, w.Took)
}

func (r *Record) refused() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Refused++
}

// lost notes a write whose outcome nobody told.
func (r *Record) lost(w Write) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unknown = append(r.unknown, w)
}

func (r *Record) failed(at time.Time, fault string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Failed++
	r.timeline.at(at).Failed++
	r.fault(at, "failed", fault)
}

func (r *Record) stale(at time.Time, fault string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Stale++
	r.fault(at, "stale", fault)
}

// fault is called with mu held.
func (r *Record) fault(at time.Time, kind, text string) {
	if len(r.faults) < keptFaults {
		r.faults = append(r.faults, fmt.Sprintf("%s %s: %s", at.Format("15:04:05.000"), kind, text))
	}
}
