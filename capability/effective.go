package capability

import (
	"strings"
	"time"
)

// Phase says whether a capability is at rest or between two owners.
type Phase string

// In the phase Switching the proxies hold the capability's writes.
const (
	Steady    Phase = "steady"
	Switching Phase = "switching"
)

// Effective is what the proxies route by. The controller alone writes it; it
// follows the Document as far as the data allows. The owner in it is a copy for
// routing: the fact is read off the gates.
type Effective struct {
	Capability string `json:"capability"`
	// Revision orders the states of one capability: each is one above the last,
	// written by compare-and-set. Proxies ignore what is older than they serve.
	Revision uint64 `json:"revision"`
	// Epoch is that of the owner's gate. It changes with every switch; marks of
	// an older epoch are satisfied.
	Epoch   uint64 `json:"epoch"`
	Owner   Side   `json:"owner"`
	Weight  Weight `json:"weight"`
	Mirror  Weight `json:"mirror"`
	Phase   Phase  `json:"phase"`
	HasData bool   `json:"has_data"` // writes follow the owner; without data everything follows the weight
	// Shared says that the side that does not own the data follows closely enough to
	// answer reads: of testers, of listed subjects, and in the owner's place when that
	// fails. Without data it means nothing.
	Shared  bool     `json:"shared"`
	Refused string   `json:"refused,omitempty"`
	Attempt *Attempt `json:"attempt,omitempty"`
	// Since is when the owner last changed; zero: it never did, or there is no data.
	Since time.Time `json:"since,omitzero"`
	// Waited is for how long the last switch or rehearsal has made writes wait; 0: there
	// was none.
	Waited time.Duration `json:"waited_ns,omitempty"`
	// Told is the epoch of the owner that webhooks were last told; 0: none was.
	Told uint64 `json:"told_epoch,omitempty"`
	// Retired is when the migration ended for good: extracted owns, and nothing is
	// left in legacy to go back to. Zero: it has not.
	Retired time.Time `json:"retired,omitzero"`
}

// Attempt records the last switch that was tried, so that one change of a
// document is tried once and a successor knows what it finds.
type Attempt struct {
	To       Side      `json:"to"`
	Document string    `json:"document"` // revision of the document that asked for it
	Started  time.Time `json:"started"`
	Outcome  Outcome   `json:"outcome"`
	Reason   string    `json:"reason,omitempty"`
	// Refused is how many writes the gate refused while it was closed for the last
	// rehearsal of this.
	Refused int64 `json:"refused,omitempty"`
}

// Saw is how many writes the last rehearsal of a switch to a side saw refused. Attempts
// since that failed, or gave up, do not make them forgotten.
func (a *Attempt) Saw(to Side) int64 {
	if a == nil || a.To != to {
		return 0
	}
	return a.Refused
}

// Outcome is how a switch ended.
type Outcome string

// A switch is running until it is done or undone; there is nothing between. One that
// is rehearsed is undone because nobody wanted more.
const (
	Running   Outcome = "running"
	Done      Outcome = "done"
	Undone    Outcome = "undone"
	Rehearsed Outcome = "rehearsed"
)

// Initial is the state of a capability that was never moved: everything is the
// monolith's.
func Initial(name string, hasData bool) Effective {
	return Effective{Capability: name, Owner: Legacy, Phase: Steady, HasData: hasData}
}

// Serving is what one proxy says of one capability.
type Serving struct {
	Proxy      string `json:"proxy"`
	Capability string `json:"capability"`
	Document   string `json:"document"` // revision of the document that is served
	Revision   uint64 `json:"revision"`
	Epoch      uint64 `json:"epoch"`
	Holding    bool   `json:"holding"`
	Held       int    `json:"held"` // requests waiting
	Writes     int    `json:"writes"`
	// Routes counts the writes in flight by method and route, to name the one
	// that a switch is waiting for.
	Routes map[string]int `json:"routes,omitempty"`
	// Document problems that this proxy sees while it serves the last good one.
	Problems []Problem `json:"problems,omitempty"`
}

// Registration is how a proxy makes itself known in the store.
type Registration struct {
	ID      string    `json:"id"`
	Admin   string    `json:"admin"`   // base URL of its admin API
	Renewed time.Time `json:"renewed"` // by the clock of the proxy
	// Lapsed says that it was not renewed for long: one that does not answer either is
	// gone. Clocks may differ, and so one that answers is there all the same.
	Lapsed bool `json:"-"`
}

// Times are the bounds of a switch, which must nest: a gap that outlives
// its lease would be reopened under the controller's feet, and a held write
// that expires first would be an error instead of latency.
type Times struct {
	Gap   time.Duration // longest time without writes before the switch undoes itself
	Lease time.Duration // of a closing gate
	Age   time.Duration // of a held write
}

// DefaultTimes are 3 s < 5 s < 8 s.
func DefaultTimes() Times {
	return Times{Gap: 3 * time.Second, Lease: 5 * time.Second, Age: 8 * time.Second}
}

// Problem returns what is wrong with the times, or nil when they nest.
func (t Times) Problem() *Problem {
	if 0 < t.Gap && t.Gap < t.Lease && t.Lease < t.Age {
		return nil
	}
	return &Problem{
		Path:    "switch",
		Value:   strings.Join([]string{t.Gap.String(), t.Lease.String(), t.Age.String()}, ", "),
		Message: "the times of a switch must nest: gap < lease < age of a held write",
		Mend:    "leave them out for 3s, 5s and 8s",
	}
}
