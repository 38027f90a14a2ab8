package edge

import (
	"bytes"
	"net/http"
	"strings"
)

// Scrub drops every header with which a client could speak for somebody else: all
// forwarding headers, and those of dropped, of a peer that is not trusted, and of a
// trusted one those spelled with an underscore or a dot, which no proxy writes but PHP,
// WSGI and CGI read as the real ones. With trusted false nothing of the kind survives, in
// no spelling. What only this proxy says goes whoever sent it, and so do framing
// headers with an underscore or a dot. It does not allocate.
func Scrub(h http.Header, trusted bool, dropped Names) {
	for name := range h {
		if kind, goes := forwarding(name, dropped); kind && (goes || !trusted) {
			delete(h, name)
		}
	}
}

// ScrubOurs drops from what an upstream has sent every header that only this proxy says,
// in every spelling, but the one of them that is an upstream's to say, spelled as it
// is here. It does not allocate.
func ScrubOurs(h http.Header, but string) {
	for name := range h {
		if len(name) < len(ourFamily) || name[0]|0x20 != 'x' || name == but {
			continue
		}
		var family [len(ourFamily)]byte
		if string(spelled(family[:0], name[:len(ourFamily)])) == ourFamily {
			delete(h, name)
		}
	}
}

// Names are names of headers as spelled gives them.
type Names map[string]bool

// NewNames takes names in any case, and with '_' or another mark for any '-'.
func NewNames(names ...string) Names {
	set := Names{}
	for _, name := range names {
		set[string(spelled(nil, name))] = true
	}
	return set
}

// spelled appends a name as a CGI backend compares it: without case, whatever is
// neither letter nor digit being '-'. All make '_' of '-', lighttpd of everything, and
// PHP of a dot that another server has left.
func spelled(b []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case !alphanumeric(c):
			c = '-'
		}
		b = append(b, c)
	}
	return b
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// hyphenated reports whether a name is spelled as everybody does.
func hyphenated(name string) bool {
	for i := range len(name) {
		if name[i] != '-' && !alphanumeric(name[i]) {
			return false
		}
	}
	return true
}

// forwarding reports whether a name is that of a forwarding header, in any case and
// with another mark for any '-', and whether it must go whoever has sent it.
func forwarding(name string, dropped Names) (kind, goes bool) {
	if name == "" || len(dropped) == 0 && strings.IndexByte("cfprstwx", name[0]|0x20) < 0 {
		return false, false // the first letters of all names below
	}
	odd := !hyphenated(name)
	var most [64]byte // of nearly all names
	plain := spelled(most[:0], name)
	switch {
	case string(plain) == "proxy", bytes.HasPrefix(plain, []byte(ourFamily)):
		return true, true
	case forwardingNames[string(plain)], dropped[string(plain)]:
		return true, odd
	case replacedNames[string(plain)]:
		return odd, odd
	}
	for _, family := range forwardingFamilies {
		if bytes.HasPrefix(plain, []byte(family)) {
			return true, odd
		}
	}
	return false, false
}

// CGI reads Proxy as HTTP_PROXY (CVE-2016-5385); nobody has a use for it. Ours is
// what the proxies say to each other and to their upstreams.
const ourFamily = "x-strangler-"

// All headers that begin so speak for somebody: hosts, but also users and client
// certificates. Balancers, gateways and sidecars write them, and no client does.
var forwardingFamilies = [...]string{
	"x-forwarded-", "x-forward-", "x-ssl-", "ssl-client-", "x-tls-client-", "x-client-cert", "client-cert",
	"x-envoy-", "x-remote-extra-", "x-amzn-mtls-", "x-amzn-oidc-", "x-ms-client-principal", "x-goog-authenticated-user-",
}

// Names that applications take from their own clients are not among them, as
// X-HTTP-Method-Override, X-User and X-Auth-Token.
var (
	forwardingNames = NewNames(
		"forwarded", "forwarded-for", "x-forwarded", "x-original-forwarded-for",
		"x-scheme", "x-url-scheme", "front-end-https", "x-arr-ssl", "cf-visitor",
		"x-host", "x-original-host", "x-http-host-override", "x-original-url", "x-original-uri", "x-original-method", "x-rewrite-url",
		"client-ip", "x-client-ip", "x-real-ip", "x-cluster-client-ip", "x-originating-ip", "x-remote-ip", "x-remote-addr", "x-proxyuser-ip",
		"true-client-ip", "proxy-client-ip", "wl-proxy-client-ip", "fastly-client-ip", "fly-client-ip", "cf-connecting-ip", "cf-connecting-ipv6",
		"x-azure-clientip", "x-azure-socketip", "x-appengine-user-ip", "x-arr-clientcert",
		"remote-user", "x-remote-user", "remote-groups", "x-remote-group", "cf-access-authenticated-user-email",
	)
	// replacedNames are replaced, or read, by whoever writes the request; only other
	// spellings of them would get past.
	replacedNames = NewNames("content-length", "transfer-encoding", "x-request-id")
)

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
