package edge

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Client is who sent a request and how, as far as that is vouched for.
type Client struct {
	// Address is an IP address in its canonical form, or "unix". It is the peer's
	// own, or the last one in the chain that a trusted peer vouches for.
	Address string
	Proto   string // "http" or "https", as the client used it
	Host    string // as the client asked for it
	Trusted bool   // whether the direct peer is
	peer    string // the direct peer's address
}

// local stands for the address of a client of a Unix socket.
const local = "unix"

// Client finds out who sent r. Where the direct peer is trusted, X-Forwarded-For
// is walked from its end: each address was written by the host to its right, so
// the walk goes on while the host just found is trusted itself, and ends before
// anything that is not an address. Without X-Forwarded-For, Forwarded (RFC 7239)
// is walked in the same way. Proto and host are taken from a trusted peer's
// X-Forwarded-Proto and X-Forwarded-Host: the last value, which is the peer's own.
func (p Peers) Client(r *http.Request) Client {
	c := Client{Proto: "http", Host: r.Host}
	if r.TLS != nil {
		c.Proto = "https"
	}
	address, socket := peerOf(r.RemoteAddr)
	if socket {
		c.Address, c.Trusted = local, p.local
	} else if address.IsValid() {
		c.Address, c.Trusted = address.String(), p.Contains(address)
	}
	c.peer = c.Address
	if !c.Trusted {
		return c
	}
	if values, ok := r.Header["X-Forwarded-For"]; ok {
		p.walk(&c, values, forwardedFor)
	} else if values, ok := r.Header["Forwarded"]; ok {
		p.walk(&c, values, forwardedElement)
		c.said(lastParameter(values, "proto"), lastParameter(values, "host"))
	}
	c.said(lastOf(r.Header["X-Forwarded-Proto"]), lastOf(r.Header["X-Forwarded-Host"]))
	return c
}

func (c *Client) said(proto, host string) {
	switch {
	case strings.EqualFold(proto, "http"):
		c.Proto = "http"
	case strings.EqualFold(proto, "https"):
		c.Proto = "https"
	}
	if validHost(host) {
		c.Host = host
	}
}

// walk goes through the elements of values from the last to the first, and keeps
// in c the one up to which hosts vouched for each other.
func (p Peers) walk(c *Client, values []string, parse func(string) (netip.Addr, bool)) {
	for i := len(values) - 1; i >= 0; i-- {
		rest, more := values[i], true
		for more {
			var element string
			element, rest, more = cutLast(rest)
			a, ok := parse(element)
			if !ok {
				return
			}
			c.Address = a.String()
			if !p.Contains(a) {
				return
			}
		}
	}
}

// cutLast splits a list at its last comma that is not inside a quoted string.
func cutLast(list string) (last, rest string, more bool) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch list[i] {
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				return list[i+1:], list[:i], true
			}
		}
	}
	return list, "", false
}

// forwardedFor takes an address, with a port or in brackets as some balancers write it.
func forwardedFor(s string) (netip.Addr, bool) {
	s = strings.Trim(s, " \t")
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap(), true
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().Unmap(), true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			a, err := netip.ParseAddr(inner)
			return a.Unmap(), err == nil && a.Is6()
		}
	}
	return netip.Addr{}, false
}

// forwardedElement takes one element of Forwarded. An obfuscated identifier or
// "unknown" is no address, and ends the walk.
func forwardedElement(s string) (netip.Addr, bool) {
	return forwardedFor(parameter(s, "for"))
}

// parameter returns the value of one parameter of an element of Forwarded, or
// nothing when it is not there or there twice.
func parameter(element, name string) (value string) {
	found := false
	for pair := range strings.SplitSeq(element, ";") {
		n, v, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
		if !ok || !strings.EqualFold(n, name) {
			continue
		}
		if found {
			return ""
		}
		found = true
		if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
			v = v[1 : len(v)-1]
		}
		value = v
	}
	return value
}

func lastParameter(values []string, name string) string {
	return parameter(lastOf(values), name)
}

func lastOf(values []string) string {
	if len(values) == 0 {
		return ""
	}
	last, _, _ := cutLast(values[len(values)-1])
	return strings.Trim(last, " \t")
}

// peerOf reads http.Request.RemoteAddr: an address with a port, whose zone is
// dropped because it names an interface of ours, or a Unix socket, whose clients
// have no address.
func peerOf(remote string) (a netip.Addr, socket bool) {
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		return ap.Addr().Unmap().WithZone(""), false
	}
	if remote == "" || remote == "@" || remote[0] == '/' {
		return netip.Addr{}, true
	}
	return netip.Addr{}, false
}

// port returns the port at which the client believes to be.
func (c Client) port() string {
	if _, port, err := net.SplitHostPort(c.Host); err == nil && port != "" {
		return port
	}
	if c.Proto == "https" {
		return "443"
	}
	return "80"
}
