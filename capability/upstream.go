package capability

import (
	"slices"
	"time"
)

// Upstream is how one side is reached: its addresses, either listed or found in
// Consul, what is spoken there, and when an address is not used.
type Upstream struct {
	Endpoints []string // absolute URLs, scheme and host only
	Consul    string   // service name; empty when Endpoints is set
	Protocol  Protocol // empty: ProtocolAuto
	TLS       UpstreamTLS
	Check     Check
	Ejection  Ejection
	SlowStart time.Duration // in which a new endpoint's share grows to its full weight; 0: at once
	Rewrite   Rewrite
}

// Clone returns a deep copy.
func (u Upstream) Clone() Upstream {
	u.Endpoints = slices.Clone(u.Endpoints)
	return u
}

// Instance is one address of a service, as a registry knows it.
type Instance struct {
	Address string // absolute URL, scheme and host only
	Weight  int    // 1 and above, relative to the others; 0 counts as 1
	Zone    string // empty: not known
}

// Protocol is what is spoken to an upstream.
type Protocol string

// Upgrades (WebSocket) are always asked for by HTTP/1.1, which alone has them.
const (
	ProtocolAuto  Protocol = "auto"  // HTTP/1.1 to http, what is negotiated to https
	ProtocolHTTP1 Protocol = "http1" // HTTP/1.1
	ProtocolHTTP2 Protocol = "h2"    // HTTP/2 over TLS
	ProtocolH2C   Protocol = "h2c"   // HTTP/2 without TLS, by prior knowledge
)

// UpstreamTLS is how https endpoints are trusted, and who the proxy is to them.
type UpstreamTLS struct {
	CA          string // file of PEM certificates; empty: the system's
	Certificate string // file, with Key: the client certificate; empty: none
	Key         string
	ServerName  string // to verify instead of the endpoint's host
}

// Check asks every endpoint regularly whether it is well. Any answer from 200 to
// 399 within the timeout is a yes.
type Check struct {
	Path      string        // empty: no active checks
	Every     time.Duration // 0: 5 s; spread by up to a tenth
	Timeout   time.Duration // 0: 1 s
	Healthy   int           // answers in a row after which it is used again; 0: 2
	Unhealthy int           // failures in a row after which it is not; 0: 3
}

// Ejection takes an endpoint out of use after failures of ordinary requests.
type Ejection struct {
	Off      bool
	Failures int           // in a row; 0: 5
	For      time.Duration // the first time, doubling up to ten times that while it goes on failing; 0: 10 s
	// Most is the share of endpoints that may be out at once, in basis points; at
	// least one may while there are two, and it is never the last. 0: half.
	Most Weight
}

// Rewrite translates between the public paths and names and one side's own.
type Rewrite struct {
	Prefix string // of public paths, whole segments; empty: no path is rewritten
	To     string // what the side has in its place
	// Host is sent instead of the client's; Location and cookies that name it, or the
	// endpoint, are given the client's host back. Empty: the client's.
	Host string
	// CookieDomain replaces the Domain that the side gives its cookies. Empty: as Host
	// says.
	CookieDomain string
}
