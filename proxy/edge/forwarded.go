package edge

import (
	"net/http"
	"strings"
)

// Scrub drops every header with which a client could speak for somebody else: all
// forwarding headers of a peer that is not trusted, and of a trusted one those
// spelled with an underscore, which no proxy writes but PHP, WSGI and CGI read as
// the real ones. With trusted false nothing of the kind survives, in no spelling.
// Framing headers with an underscore go with them. It does not allocate.
func Scrub(h http.Header, trusted bool) {
	for name := range h {
		if kind, underscored := forwarding(name); kind && (underscored || !trusted) {
			delete(h, name)
		}
	}
}

// forwarding reports whether a name is that of a forwarding header, in any case and
// with '_' for any '-', and whether it holds an underscore.
func forwarding(name string) (kind, underscored bool) {
	if len(name) < len("Host") {
		return false, false
	}
	if strings.EqualFold(name, "Proxy") {
		return true, true // CGI reads it as HTTP_PROXY (CVE-2016-5385); nobody has a use for it
	}
	switch name[0] | 0x20 {
	case 'x', 'f', 'c', 't':
		if len(name) > len(forwardedFamily) {
			if same, _ := folded(name[:len(forwardedFamily)], forwardedFamily); same {
				return true, strings.IndexByte(name, '_') >= 0
			}
		}
		for _, known := range forwardingNames {
			if same, u := folded(name, known); same {
				return true, u
			}
		}
		for _, known := range framingNames {
			if same, u := folded(name, known); same {
				return u, u // the real ones are net/http's
			}
		}
	}
	return false, false
}

// All headers of this family speak for somebody: hosts, but also users and client
// certificates.
const forwardedFamily = "x-forwarded-"

// In lower case.
var (
	forwardingNames = [...]string{
		"forwarded", "x-real-ip", "x-scheme", "x-original-url", "x-rewrite-url",
		"x-client-ip", "x-cluster-client-ip", "x-envoy-external-address", "true-client-ip", "cf-connecting-ip", "fastly-client-ip",
	}
	framingNames = [...]string{"content-length", "transfer-encoding"}
)

// folded compares like a CGI backend does.
func folded(name, known string) (same, underscored bool) {
	if len(name) != len(known) {
		return false, false
	}
	for i := range len(name) {
		b := name[i]
		switch {
		case 'A' <= b && b <= 'Z':
			b |= 0x20
		case b == '_':
			b, underscored = '-', true
		}
		if b != known[i] {
			return false, false
		}
	}
	return true, underscored
}

// SetForwarded tells an upstream who the client is. in is the header of the
// client's request after Scrub; out, that of the request to the upstream, may be
// in or have lost its forwarding headers.
//
//   - X-Forwarded-For: what a trusted peer sent, with that peer appended; else the peer alone
//   - X-Forwarded-Proto, -Host, -Port: of the client's own request
//   - X-Real-Ip: Client.Address, for those who cannot walk a chain
//   - Forwarded goes: two chains that are not the same are worse than one
//
// What else a trusted peer sent (as X-Forwarded-Prefix) is left alone.
func (c Client) SetForwarded(out, in http.Header) {
	if chain := c.chain(in["X-Forwarded-For"]); chain != "" {
		out["X-Forwarded-For"] = []string{chain}
	} else {
		delete(out, "X-Forwarded-For")
	}
	out["X-Forwarded-Proto"] = []string{c.Proto}
	out["X-Forwarded-Host"] = []string{c.Host}
	out["X-Forwarded-Port"] = []string{c.port()}
	delete(out, "Forwarded")
	delete(out, "X-Real-Ip")
	if c.Address != "" && c.Address != local {
		out["X-Real-Ip"] = []string{c.Address}
	}
}

// chain appends the direct peer, which every proxy does for the one before it.
func (c Client) chain(before []string) string {
	chain := ""
	if c.Trusted {
		chain = strings.Join(before, ", ")
		if chain == "" && c.Address != c.peer {
			chain = c.Address // from Forwarded
		}
	}
	switch {
	case c.peer == "" || c.peer == local:
		return chain
	case chain == "":
		return c.peer
	}
	return chain + ", " + c.peer
}
