package proxy

import (
	"iter"
	"net/http"
	"strings"
)

// asked returns the protocols to which the client would change, as it wrote them.
// RFC 9110, 7.8 lets any server go on without; this one does so
//
//   - for what carries HTTP itself, as h2c, or hides it, as TLS: what came behind
//     the 101 would pass by routes, holds and breakers;
//   - for a request with a body, because the upstream could change over while it is
//     still being sent, and take the rest of it for the new protocol;
//   - for HTTP/1.0, as it has to.
func asked(r *http.Request) []string {
	if r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.ContentLength != 0 || !connectionNames(r.Header, "upgrade") {
		return nil
	}
	var out []string
	for protocol := range protocols(r.Header) {
		name, version, versioned := strings.Cut(protocol, "/")
		if !isProtocol(name) || versioned && !isProtocol(version) {
			continue
		}
		switch strings.ToLower(name) {
		case "h2c", "h2", "http", "tls":
		default:
			out = append(out, protocol)
		}
	}
	return out
}

// protocols ranges over the elements of Upgrade.
func protocols(h http.Header) iter.Seq[string] { return elements(h["Upgrade"]) }

// elements ranges over those of a list that may be spread over several lines.
func elements(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for element := range strings.SplitSeq(line, ",") {
				if element = strings.TrimSpace(element); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

func connectionNames(h http.Header, option string) bool {
	for element := range elements(h["Connection"]) {
		if strings.EqualFold(element, option) {
			return true
		}
	}
	return false
}

// isProtocol reports whether s can be a protocol's name or version: a token of RFC
// 9110, 5.6.2.
func isProtocol(s string) bool {
	for i := range len(s) {
		c := s[i]
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alphanumeric && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// offer leaves in the request's Upgrade what may be asked of an upstream. The
// reverse proxy takes it from there, and drops Connection and all it names.
func (x *exchange) offer(r *http.Request) {
	if len(r.Header["Upgrade"]) == 0 {
		return
	}
	x.offered = asked(r)
	r.Header = r.Header.Clone()
	delete(r.Header, "Http2-Settings") // belongs to h2c alone
	delete(r.Header, "Upgrade")
	if len(x.offered) > 0 {
		r.Header["Upgrade"] = []string{strings.Join(x.offered, ", ")}
	}
}

// agreed reports whether the answer names protocols, and only such as were offered.
func (x *exchange) agreed(h http.Header) bool {
	named := false
	for protocol := range protocols(h) {
		if !x.wasOffered(protocol) {
			return false
		}
		named = true
	}
	return named
}

func (x *exchange) wasOffered(protocol string) bool {
	for _, one := range x.offered {
		if strings.EqualFold(one, protocol) {
			return true
		}
	}
	return false
}
