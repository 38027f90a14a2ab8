package capability

import (
	"fmt"
	"strings"
	"time"
)

// Refusals are the statements that a gate has refused to others than movers: of
// writers that do not come through a proxy.
type Refusals struct {
	Count int64 `json:"count"`
	// Writers sent them, the last one first: eight at most. Two that are refused at
	// the same moment may not both be counted here.
	Writers []Writer `json:"writers,omitempty"`
}

// Writer is an application as it calls itself to the database, under one role.
type Writer struct {
	Application string    `json:"application"` // the first 28 bytes of application_name; may be empty
	Role        string    `json:"role"`
	Refused     int64     `json:"refused"`
	Last        time.Time `json:"last"`
}

// Since is what has been refused behind an earlier count of the same gate.
func (r Refusals) Since(before Refusals) Refusals {
	type who struct{ application, role string }
	was := map[who]int64{}
	for _, w := range before.Writers {
		was[who{w.Application, w.Role}] = w.Refused
	}
	since := Refusals{Count: r.Count - before.Count}
	for _, w := range r.Writers {
		// One that was forgotten in between and came back counts from the start.
		if n := was[who{w.Application, w.Role}]; n <= w.Refused {
			w.Refused -= n
		}
		if w.Refused > 0 {
			since.Writers = append(since.Writers, w)
		}
	}
	return since
}

// String names the writers, for a sentence: `psql as admin (3), role cron (1)`.
func (r Refusals) String() string {
	names := make([]string, 0, len(r.Writers))
	for _, w := range r.Writers {
		name := "role " + w.Role
		if w.Application != "" {
			name = w.Application + " as " + w.Role
		}
		names = append(names, fmt.Sprintf("%s (%d)", name, w.Refused))
	}
	return strings.Join(names, ", ")
}
