package proxy

import (
	"net/http"

	"strangler/capability"
)

// Reason says in a word why a request went where it went, or why it was
// answered by the proxy itself. It stands in the access log and in metrics.
type Reason string

// Why a side was chosen.
const (
	ReasonUnclaimed Reason = "unclaimed"  // no capability claims it
	ReasonOwner     Reason = "owner"      // a write, or a read of who just wrote
	ReasonOwnWrite  Reason = "own-write"  // the subject's write has not reached the weighted side yet
	ReasonWeight    Reason = "weight"     // the subject's place below or above the weight
	ReasonFallback  Reason = "fallback"   // the chosen side failed or its breaker is open
	ReasonPath      Reason = "path"       // refused: the path has no safe normal form
	ReasonNotReady  Reason = "not-ready"  // refused: no table is loaded
	ReasonHeld      Reason = "hold"       // refused: too many held writes, or held too long
	ReasonBreaker   Reason = "breaker"    // refused: the breaker is open
	ReasonNowhere   Reason = "endpoint"   // refused: no endpoint, or none took the connection
	ReasonBroken    Reason = "connection" // the side broke the exchange off
	ReasonTimeout   Reason = "timeout"    // the side did not answer in time
	ReasonBehind    Reason = "behind"     // refused: the other side would have shown older data
	ReasonGone      Reason = "client"     // the client went away
)

// decision is where one request goes, and why.
type decision struct {
	route   *route // nil: unclaimed
	class   capability.Class
	subject subject
	side    capability.Side
	reason  Reason
}

// decide matches a request and assigns it. For writes the side is what the table
// says; it becomes final with the state that the hold lets it through by.
func decide(t *table, r *http.Request, path string) decision {
	matched := t.index.find(r.Method, path)
	if matched == nil {
		return decision{class: capability.Route{}.ClassOf(r.Method), side: capability.Legacy, reason: ReasonUnclaimed}
	}
	d := decision{route: matched, class: matched.ClassOf(r.Method)}
	d.subject = subjectOf(matched.binding.document.Traffic.Subject, r)
	d.assign(matched.binding.effective)
	return d
}

// assign chooses the side under one effective state.
func (d *decision) assign(e capability.Effective) {
	b := d.route.binding
	if e.HasData && d.class == capability.Write {
		d.side, d.reason = e.Owner, ReasonOwner
		return
	}
	d.side, d.reason = capability.Assign(b.salt(), d.subject.value, e.Weight), ReasonWeight
	if e.HasData && d.side != e.Owner && b.lasting.marks.pinned(d.subject.value) {
		d.side, d.reason = e.Owner, ReasonOwnWrite
	}
}

// standsIn reports whether a read that its side cannot answer may go to the
// other one: why not is ReasonBehind when that side might show older data.
//
// The owner's side is always current. The other one is trusted with data only
// while the weight sends reads there at all, which the controller allows only
// when it follows closely, and never for a subject whose own write it may lack.
func (d *decision) standsIn() (ok bool, why Reason) {
	if d.route == nil || d.class != capability.Read || !d.route.binding.document.Resilience.Fallback {
		return false, ""
	}
	e, other := d.route.binding.effective, d.side.Other()
	if e.HasData && other == e.Owner || !e.HasData && other == capability.Legacy {
		return true, ""
	}
	shares := other == capability.Extracted && e.Weight > 0 || other == capability.Legacy && e.Weight < capability.Whole
	if !shares || e.HasData && d.route.binding.lasting.marks.pinned(d.subject.value) {
		return false, ReasonBehind
	}
	return true, ""
}
