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
	Breakers   BreakerModes
	Rollout    Rollout
	Webhooks   Webhooks
	Data       *Data // nil: only traffic moves
}

// Route is one claim of a capability on the monolith's URL space.
type Route struct {
	Path    string   // gorilla/mux template; a trailing "/**" claims the subtree, the bare prefix included
	Methods []string // empty: all
	// Host is the host that the request must be for, without a port, in lower case;
	// "*.example.com" takes any one label in front. Empty: any.
	Host    string
	Headers []Condition // all must hold
	Query   []Condition // all must hold
	// Allow names what a path may hold although its two readings differ; everything
	// else of the kind is refused. See Oddity.
	Allow    []Oddity
	Class    Class         // empty: by method
	Timeout  time.Duration // 0: that of Resilience; NoTimeout: none
	Retries  *int          // nil: those of Resilience
	Fallback *bool         // nil: that of Resilience
	Body     int64         // largest body in bytes; 0: the proxy's own limit
	Line     int           // in the document, for messages
}

// Condition asks for a header or a query parameter of a request.
type Condition struct {
	Name  string // a header's in canonical form; a parameter's as it is
	Value string // one of its values must equal this; empty: it must be there
}

// Oddity names something in a path that two servers may read differently.
type Oddity string

// What a route may allow by name.
const (
	EncodedSlash     Oddity = "encoded-slash"     // %2F
	EncodedBackslash Oddity = "encoded-backslash" // %5C
	EncodedZero      Oddity = "encoded-zero"      // %00
	DotSegments      Oddity = "dot-segments"      // "." and ".." in any encoding, forwarded as they came
)

// Oddities lists all of them.
var Oddities = []Oddity{EncodedSlash, EncodedBackslash, EncodedZero, DotSegments}

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
	Salt    string   // group of capabilities that move the same people; default: the capability's name
	Always  []string // subjects on the extracted side whatever the weight; Never is asked first
	Never   []string // subjects on the legacy side whatever the weight
}

// SubjectKind says where the unit of stickiness is found in a request.
type SubjectKind string

// Minted is the default: a cookie of the proxy's own.
const (
	SubjectMinted  SubjectKind = "minted"
	SubjectCookie  SubjectKind = "cookie"
	SubjectHeader  SubjectKind = "header"
	SubjectClaim   SubjectKind = "claim"
	SubjectAddress SubjectKind = "address"
)

// Subject names who is being routed. A request that lacks the named cookie,
// header or claim is routed by its client address.
type Subject struct {
	Kind SubjectKind
	Name string // of the cookie, the header, or the claim of the bearer token
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
		d.Routes[i].Headers = slices.Clone(d.Routes[i].Headers)
		d.Routes[i].Query = slices.Clone(d.Routes[i].Query)
		d.Routes[i].Allow = slices.Clone(d.Routes[i].Allow)
	}
	d.Extracted = d.Extracted.Clone()
	d.Traffic.Always = slices.Clone(d.Traffic.Always)
	d.Traffic.Never = slices.Clone(d.Traffic.Never)
	d.Rollout.Steps = slices.Clone(d.Rollout.Steps)
	d.Webhooks = d.Webhooks.Clone()
	if d.Data != nil {
		data := d.Data.clone()
		d.Data = &data
	}
	return d
}
