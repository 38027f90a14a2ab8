package proxy

import (
	"net/http"

	"strangler/capability"
	"strangler/proxy/edge"
	"strangler/proxy/match"
)

// Reason says in a word why a request went where it went, or why it was
// answered by the proxy itself. It stands in the access log and in metrics.
type Reason string

// Why a side was chosen.
const (
	ReasonUnclaimed Reason = "unclaimed"  // no capability claims it
	ReasonOwner     Reason = "owner"      // a write, or a read that only the owner can answer now
	ReasonOwnWrite  Reason = "own-write"  // the subject's write has not reached the other side yet
	ReasonWeight    Reason = "weight"     // the subject's place below or above the weight
	ReasonListed    Reason = "listed"     // the subject is in `always` or `never`
	ReasonOverride  Reason = "override"   // a trusted peer asked for the side
	ReasonFallback  Reason = "fallback"   // the chosen side failed or its breaker is open
	ReasonPath      Reason = "path"       // refused: the path has no safe normal form
	ReasonTooLarge  Reason = "too-large"  // refused: the body is larger than the route takes
	ReasonLast      Reason = "last"       // an OPTIONS or TRACE that was to go no further
	ReasonNotReady  Reason = "not-ready"  // refused: no table is loaded
	ReasonHeld      Reason = "hold"       // refused: too many held writes, or held too long
	ReasonBreaker   Reason = "breaker"    // refused: the breaker is open
	ReasonBusy      Reason = "busy"       // refused: too many requests are at the side already
	ReasonNowhere   Reason = "endpoint"   // refused: no endpoint, or none took the connection
	ReasonExhausted Reason = "exhausted"  // refused: this machine has nothing left for another connection
	ReasonRequest   Reason = "request"    // refused: the side cannot be sent such a request
	ReasonBroken    Reason = "connection" // the side broke the exchange off
	ReasonTimeout   Reason = "timeout"    // the side did not answer in time
	ReasonBehind    Reason = "behind"     // refused: the other side would have shown older data
	ReasonGone      Reason = "client"     // the client went away, or ended its request early
	ReasonStalled   Reason = "stalled"    // the client let the rest of its body wait
	ReasonMalformed Reason = "malformed"  // refused: the body broke the rules of its framing under way
	ReasonPanic     Reason = "panic"      // a mistake in the proxy
	ReasonMoved     Reason = "moved"      // a stream was ended, because the owner changes
	ReasonShutdown  Reason = "shutdown"   // cut off, because the proxy stops and its grace is over
)

// decision is where one request goes, and why.
type decision struct {
	route   *route // nil: unclaimed
	class   capability.Class
	subject subject
	asked   capability.Side // by a trusted peer; empty: nobody did
	side    capability.Side
	reason  Reason
	owner   capability.Side // by the state that the side was chosen by
	// upgrades says that the request is a write because it asks for a connection of its own.
	upgrades bool
}

// decide matches a request and assigns it. For writes the side is what the table
// says; it becomes final with the state that the hold lets it through by.
func decide(t *table, r *http.Request, path match.Path, client edge.Client) decision {
	matched := t.find(r, path)
	if matched == nil {
		return unclaimed(r.Method)
	}
	d := decision{route: matched, class: matched.ClassOf(r.Method)}
	if d.class == capability.Read && matched.Class == "" && matched.endsStreams() && mayUpgrade(r) {
		// Behind the 101 a WebSocket may write. Who knows better says so of the route or of all streams.
		d.class, d.upgrades = capability.Write, true
	}
	d.subject = subjectOf(matched.binding.document.Traffic.Subject, r, client.Address)
	if client.Trusted && t.override != "" {
		// Nobody who asks for something that is no side gets one.
		d.asked, _ = capability.ParseSide(r.Header.Get(t.override))
	}
	d.assign(matched.binding.effective)
	return d
}

func unclaimed(method string) decision {
	return decision{class: capability.Route{}.ClassOf(method), side: capability.Legacy, reason: ReasonUnclaimed}
}

// assign chooses the side under one effective state.
func (d *decision) assign(e capability.Effective) {
	b := d.route.binding
	d.owner = e.Owner
	if e.HasData && d.class == capability.Write {
		d.side, d.reason = e.Owner, ReasonOwner
		return
	}
	d.side, d.reason = b.place(d.subject.value, e.Weight)
	if d.asked != "" {
		d.side, d.reason = d.asked, ReasonOverride
	}
	switch {
	case !e.HasData || d.side == e.Owner:
	case d.reason != ReasonWeight && !e.Shared:
		d.side, d.reason = e.Owner, ReasonOwner
	case b.lasting.marks.pinned(d.subject.value):
		d.side, d.reason = e.Owner, ReasonOwnWrite
	}
}

// place is where a subject belongs by the lists and by the weight.
func (b *binding) place(subject string, weight capability.Weight) (capability.Side, Reason) {
	switch {
	case b.never[subject]:
		return capability.Legacy, ReasonListed
	case b.always[subject]:
		return capability.Extracted, ReasonListed
	}
	return capability.Assign(b.salt(), subject, weight), ReasonWeight
}

// standsIn reports whether a read that its side cannot answer may go to the
// other one: why not is ReasonBehind when that side might show older data.
//
// The owner's side is always current. The other one is trusted with data only
// while the controller says that it follows closely, and never for a subject
// whose own write it may lack. Without data the monolith can always answer; the
// extracted side only while it answers some already.
func (d *decision) standsIn() (ok bool, why Reason) {
	if d.route == nil || d.class != capability.Read || !d.route.fallback() {
		return false, ""
	}
	e, other := d.route.binding.effective, d.side.Other()
	switch {
	case e.HasData && other == e.Owner, !e.HasData && other == capability.Legacy:
		return true, ""
	case !e.HasData && e.Weight == 0, e.HasData && !e.Shared, e.HasData && d.route.binding.lasting.marks.pinned(d.subject.value):
		return false, ReasonBehind
	}
	return true, ""
}
