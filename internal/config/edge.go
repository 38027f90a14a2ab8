package config

import (
	"net/netip"
	"slices"
	"time"
)

// Edge is how clients are received.
type Edge struct {
	// Trusted are the peers whose forwarded headers, and whose Override, are
	// believed: prefixes in their one form, as in 10.0.0.0/8 and 127.0.0.1/32.
	Trusted []string
	// DropHeaders are dropped of other peers' requests, in canonical form.
	DropHeaders []string
	Override    string // header by which trusted peers choose the side, in canonical form; empty: none
	HTTP2       bool
	TLS         EdgeTLS
	Limits      Limits
	Drain       Drain
}

// EdgeTLS is what clients see of us, and what we ask of them. Without
// Certificates the listener speaks no TLS.
type EdgeTLS struct {
	Certificates       []Certificate // the first is for clients that name no host
	Clients            string        // file of the CA of client certificates
	ClientCertificates ClientCertificates
}

// Certificate is a pair of PEM files.
type Certificate struct {
	Certificate string
	Key         string
}

// ClientCertificates says whether clients are asked for theirs.
type ClientCertificates string

// A certificate that is sent must be valid with either of the latter two.
const (
	ClientsNone    ClientCertificates = "none"
	ClientsRequest ClientCertificates = "request"
	ClientsRequire ClientCertificates = "require"
)

// Limits bound what a connection and a request may cost.
type Limits struct {
	Connections int           // at once
	HeaderBytes int           // of a request's head
	HeaderTime  time.Duration // to read it
	Body        int64         // largest body of a request in bytes, where its route says nothing; 0: no limit
	BodyStall   time.Duration // longest wait for the next piece of a body
	WriteStall  time.Duration // longest wait for the client to take a piece of an answer
	Idle        time.Duration // between two requests
	TunnelIdle  time.Duration // silence after which an upgraded connection is closed; 0: never
}

// Drain is the end of a process.
type Drain struct {
	Delay time.Duration // not ready, and still listening
	Grace time.Duration // for what is in flight, once the listeners are closed
}

var edgeKeys = slices.Concat([]key[Edge]{
	{"trusted", "", func(v value, e *Edge) { keep(v, &e.Trusted, value.prefixes) }},
	{"drop_headers", "", func(v value, e *Edge) {
		keep(v, &e.DropHeaders, func(v value) ([]string, bool) { return distinct(v, value.header) })
	}},
	{"override", "X-Strangler-Side", func(v value, e *Edge) { keep(v, &e.Override, orNone(value.header)) }},
	{"http2", "true", func(v value, e *Edge) { keep(v, &e.HTTP2, value.boolean) }},
	{"tls.certificates", "", func(v value, e *Edge) { keep(v, &e.TLS.Certificates, value.certificates) }},
	{"tls.clients", "", func(v value, e *Edge) { keep(v, &e.TLS.Clients, value.authorities) }},
	{"tls.client_certificates", string(ClientsNone), func(v value, e *Edge) {
		keep(v, &e.TLS.ClientCertificates, words(ClientsNone, ClientsRequest, ClientsRequire))
	}},
	{"drain.delay", "500ms", func(v value, e *Edge) { keep(v, &e.Drain.Delay, value.pause) }},
	{"drain.grace", "10s", func(v value, e *Edge) { keep(v, &e.Drain.Grace, value.duration) }},
}, within("limits", limitKeys, func(e *Edge) *Limits { return &e.Limits }))

var limitKeys = []key[Limits]{
	{"connections", "10000", func(v value, l *Limits) { keep(v, &l.Connections, number(1, 10_000_000)) }},
	{"header_bytes", "64KiB", func(v value, l *Limits) {
		keep(v, &l.HeaderBytes, func(v value) (int, bool) { n, ok := v.bytes(1<<10, 16<<20); return int(n), ok })
	}},
	{"header_time", "10s", func(v value, l *Limits) { keep(v, &l.HeaderTime, value.duration) }},
	{"body", "0", func(v value, l *Limits) { keep(v, &l.Body, value.sizeOrNone) }},
	{"body_stall", "30s", func(v value, l *Limits) { keep(v, &l.BodyStall, value.duration) }},
	{"write_stall", "30s", func(v value, l *Limits) { keep(v, &l.WriteStall, value.duration) }},
	{"idle", "2m", func(v value, l *Limits) { keep(v, &l.Idle, value.duration) }},
	{"tunnel_idle", "0s", func(v value, l *Limits) { keep(v, &l.TunnelIdle, value.pause) }},
}

// check looks at what only shows between the keys.
func (e *Edge) check(r *reading) {
	const certificates, clients, asked = "edge.tls.certificates", "edge.tls.clients", "edge.tls.client_certificates"
	t := e.TLS
	asks := t.ClientCertificates != ClientsNone
	if !r.sound(certificates, clients, asked) {
		return
	}
	switch {
	case asks && len(t.Certificates) == 0:
		r.add(r.lines[asked], asked, string(t.ClientCertificates), "asks for certificates where no TLS is spoken", "name the proxy's own in edge.tls.certificates")
	case asks && t.Clients == "":
		r.add(r.lines[asked], asked, string(t.ClientCertificates), "asks for certificates that nobody can vouch for", "name the file of their CA in edge.tls.clients")
	case !asks && t.Clients != "":
		r.add(r.lines[clients], clients, "", "vouches for certificates that nobody is asked for", "write client_certificates: request or require beside it, or take it out")
	}
}

// prefixes reads addresses and networks.
func (v value) prefixes() ([]string, bool) {
	return distinct(v, func(item value) (string, bool) {
		text, ok := item.text()
		if !ok {
			return "", false
		}
		prefix, message, mend := network(text)
		if message != "" {
			item.problem(message, mend)
			return "", false
		}
		return prefix.String(), true
	})
}

// network returns what the text stands for, or why it stands for nothing.
func network(text string) (prefix netip.Prefix, message, mend string) {
	const form = "write it as in 10.0.0.0/8, or an address as in 127.0.0.1"
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return prefix, "is no address and no network", form
		}
		prefix = netip.PrefixFrom(address, address.BitLen())
	}
	switch {
	case prefix.Addr().Is4In6():
		return prefix, "is an IPv4 address that is written as IPv6", "write it as IPv4, since that is how peers are known"
	case prefix != prefix.Masked():
		return prefix, "has bits beyond its length", "write " + prefix.Masked().String()
	}
	return prefix, "", ""
}
