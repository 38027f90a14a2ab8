package capability

import (
	"slices"
	"time"
)

// Document is the desired state of one capability: the one thing that a person
// edits, by hand, by git or through the command line.
type Document struct {
	Name       string
	File       string // where it was read, for messages
	Revision   string // hash of its content; a switch is tried once per revision
	Routes     []Route
	Extracted  Upstream
	Traffic    Traffic
	Resilience Resilience
	Rollout    Rollout
	Data       *Data // nil: only traffic moves
}

// Upstream names the addresses of one side: either listed or found in Consul.
type Upstream struct {
	Endpoints []string // absolute URLs, scheme and host only
	Consul    string   // service name; empty when Endpoints is set
}

// Route is one claim of a capability on the monolith's URL space.
type Route struct {
	Path    string   // gorilla/mux template; a trailing "/**" claims the subtree, the bare prefix included
	Methods []string // empty: all
	Class   Class    // empty: by method
	Timeout time.Duration
	Line    int // in the document, for messages
}

// ClassOf says whether a request with this method on this route is a read.
// GET, HEAD and OPTIONS are, unless the route says otherwise.
func (r Route) ClassOf(method string) Class {
	if r.Class != "" {
		return r.Class
	}
	if slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, method) {
		return Read
	}
	return Write
}

// Traffic says who should own the capability and how its reads are split.
type Traffic struct {
	Owner   Side
	Weight  Weight
	Mirror  Weight
	Subject Subject
	Salt    string // group of capabilities that move the same people; default: the capability's name
}

// SubjectKind says where the unit of stickiness is found in a request.
type SubjectKind string

// Minted is the default: a cookie of the proxy's own.
const (
	SubjectMinted  SubjectKind = "minted"
	SubjectCookie  SubjectKind = "cookie"
	SubjectHeader  SubjectKind = "header"
	SubjectAddress SubjectKind = "address"
)

// Subject names who is being routed. A request that lacks the named cookie or
// header is routed by its client address.
type Subject struct {
	Kind SubjectKind
	Name string // of the cookie or header
}

// Resilience bounds what a failing side can do to clients.
type Resilience struct {
	Timeout  time.Duration // of one request, unless its route has its own
	Retries  int           // further tries of a read on the same side after a connection error
	Fallback bool          // reads may go to the other side when it is current
	Breaker  Breaker
}

// Breaker says when a side's breaker opens and for how long.
type Breaker struct {
	Ratio    float64       // share of failures in the window that opens it, 0 < Ratio <= 1
	Requests int           // requests in the window below which it stays closed
	Window   time.Duration // length of the window
	OpenFor  time.Duration // time until a first request is tried again
	Trials   int           // requests let through half-open; all must succeed
}

// Rollout is a schedule of weights.
type Rollout struct {
	Steps []Weight
	Every time.Duration
}

// Clone returns a deep copy, so that one holder's change is not another's.
func (d Document) Clone() Document {
	d.Routes = slices.Clone(d.Routes)
	for i := range d.Routes {
		d.Routes[i].Methods = slices.Clone(d.Routes[i].Methods)
	}
	d.Extracted.Endpoints = slices.Clone(d.Extracted.Endpoints)
	d.Rollout.Steps = slices.Clone(d.Rollout.Steps)
	if d.Data != nil {
		data := d.Data.clone()
		d.Data = &data
	}
	return d
}
