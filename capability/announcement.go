package capability

import (
	"slices"
	"time"
)

// Webhooks are told about switches of a capability's owner, by POST with an
// Announcement as JSON.
type Webhooks struct {
	// Before are asked before writes are held; an answer other than 2xx stops the switch.
	Before []string
	// After are told when writes have been released, to the new owner or to the old one.
	After   []string
	Timeout time.Duration // of each
}

// Clone is independent of the original.
func (w Webhooks) Clone() Webhooks {
	w.Before, w.After = slices.Clone(w.Before), slices.Clone(w.After)
	return w
}

// Moment is when an announcement is made.
type Moment string

// The moments of a switch that are announced.
const (
	Before Moment = "before"
	After  Moment = "after"
)

// Announcement is what a webhook is told. The same may be told more than once: who is
// told compares epochs.
type Announcement struct {
	Event      Moment `json:"event"`
	Capability string `json:"capability"`
	Owner      Side   `json:"owner"`        // by now
	To         Side   `json:"to,omitempty"` // before: who is to own
	Rehearsal  bool   `json:"rehearsal,omitempty"`
	// Epoch is that of the owner's gate. It grows with every switch, and with every one
	// that was taken back after the gate was closed.
	Epoch uint64    `json:"epoch"`
	At    time.Time `json:"at"`
}
