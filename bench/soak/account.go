package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// finding is an outcome that nothing explains.
type finding struct {
	Request  string        `json:"request"`
	Kind     string        `json:"kind"`
	Expected string        `json:"expected"`
	Actual   string        `json:"actual"`
	Fault    string        `json:"fault,omitempty"` // of the matrix, at that moment
	After    time.Duration `json:"after_ns"`
}

func (f finding) String() string {
	fault := ""
	if f.Fault != "" {
		fault = "  (meanwhile: " + f.Fault + ")"
	}
	return fmt.Sprintf("%7.1fs  %-12s %-14s expected %s; got %s%s", f.After.Seconds(), f.Request, f.Kind, f.Expected, f.Actual, fault)
}

// kept is how many findings are kept in full.
const kept = 50

// account is what became of every request.
type account struct {
	started time.Time
	faults  func() string
	done    atomic.Int64
	wrong   atomic.Int64

	arrived []atomic.Int32 // by number of the request: how often an upstream was asked to write

	mu       sync.Mutex
	kinds    map[string]*tally // guarded by mu
	findings []finding         // guarded by mu; the first of them
}

// tally is one kind's count.
type tally struct {
	Requests int           `json:"requests"`
	Wrong    int           `json:"wrong"`
	Longest  time.Duration `json:"longest_ns"`
	total    time.Duration
}

func newAccount(requests int, faults func() string) *account {
	return &account{started: time.Now(), faults: faults, arrived: make([]atomic.Int32, requests+1), kinds: map[string]*tally{}}
}

// mismatch is an outcome that was not the expected one.
type mismatch struct{ expected, actual string }

func (m mismatch) Error() string { return "expected " + m.expected + "; got " + m.actual }

// expect returns nil where they are equal.
func expect[T comparable](what string, want, got T) error {
	if want == got {
		return nil
	}
	return mismatch{expected: fmt.Sprintf("%s %v", what, want), actual: fmt.Sprint(got)}
}

// count enters the outcome of one request: nil is as expected.
func (a *account) count(kind string, request string, took time.Duration, err error) {
	a.mu.Lock()
	t := a.kinds[kind]
	if t == nil {
		t = &tally{}
		a.kinds[kind] = t
	}
	t.Requests++
	t.total += took
	t.Longest = max(t.Longest, took)
	if err != nil {
		t.Wrong++
	}
	a.mu.Unlock()
	if err != nil {
		a.found(kind, request, err)
	}
}

// found enters what is wrong beside the outcome of a request.
func (a *account) found(kind, request string, err error) {
	a.wrong.Add(1)
	f := finding{Request: request, Kind: kind, Expected: "success", Actual: err.Error(), Fault: a.faults(), After: time.Since(a.started)}
	if m, ok := err.(mismatch); ok { //nolint:errorlint // wrapped ones say more than their core
		f.Expected, f.Actual = m.expected, m.actual
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.findings) < kept {
		a.findings = append(a.findings, f)
	}
}

// write counts the arrival of a write at an upstream. It may happen once.
func (a *account) write(number uint64, where string) {
	if number == 0 || number >= uint64(len(a.arrived)) {
		return
	}
	if n := a.arrived[number].Add(1); n > 1 {
		a.found("replay", name(number), mismatch{"a write to arrive once", fmt.Sprintf("arrival %d, at %s", n, where)})
	}
}

// name is how a request is called in findings and in its X-Soak-Id.
func name(number uint64) string { return fmt.Sprintf("t%d", number) }

func (a *account) tallies() map[string]tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(map[string]tally, len(a.kinds))
	for kind, t := range a.kinds {
		all[kind] = *t
	}
	return all
}

func (a *account) first() []finding {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.findings)
}

func sorted(all map[string]tally) []string { return slices.Sorted(maps.Keys(all)) }
