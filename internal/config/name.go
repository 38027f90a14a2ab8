package config

import (
	"net"
	"net/netip"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
)

var tokenForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // RFC 9110

// token says whether a cookie or a header can have this name.
func token(name string) bool { return tokenForm.MatchString(name) }

// unseen are headers, in canonical form, that mean something to a connection or
// to the length of a message. They end at the proxy, so nothing can be decided by
// them.
var unseen = []string{
	"Connection", "Content-Length", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// headerName returns the canonical form, or why nothing can be decided by it.
func headerName(name string) (canonical, message string) {
	canonical = textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case !token(name):
		return canonical, "is no name of a header"
	case canonical == hostHeader:
		return canonical, "is no header here"
	case slices.Contains(unseen, canonical):
		return canonical, "is a header that ends at the proxy"
	}
	return canonical, ""
}

// hostHeader is kept apart from the others by every HTTP server.
const hostHeader = "Host"

// header reads the name of one.
func (v value) header() (string, bool) {
	text, ok := v.text()
	if !ok {
		return "", false
	}
	name, message := headerName(text)
	if message != "" {
		v.problem(message, "name one of its own, as in X-Strangler-Side")
		return "", false
	}
	return name, true
}

var labelForm = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)

// domain says whether the text is a name in DNS, in lower case, or an IPv4
// address.
func domain(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if !labelForm.MatchString(label) {
			return false
		}
	}
	return len(text) <= 253
}

// literal says whether the text is an IPv6 address in brackets, in its shortest
// form.
func literal(text string) bool {
	address, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return err == nil && address.Is6() && address.Zone() == "" && "["+address.String()+"]" == text
}

const domainMend = "write a name as in shop.example.com; letters beyond ASCII as in xn--bcher-kva.example"

// host reads the host that a request is for: lower-cased, without a port,
// perhaps with * as its first label.
func (v value) host() (string, bool) {
	text, ok := v.text()
	if !ok {
		return "", false
	}
	text = strings.ToLower(text)
	name, _ := strings.CutPrefix(text, "*.")
	switch _, _, err := net.SplitHostPort(text); {
	case err == nil:
		v.problem("has a port", "write the host alone: its port is not looked at")
	case strings.Contains(name, "*"):
		v.problem("has a * that is not its whole first label", "write it as in *.example.com")
	case !domain(name) && !literal(text):
		v.problem("is no host", domainMend)
	default:
		return text, true
	}
	return "", false
}

// server reads a host that is sent or verified: no *, a port if it may have one.
func (v value) server(port bool) (string, bool) {
	text, ok := v.text()
	if !ok {
		return "", false
	}
	text = strings.ToLower(text)
	name := text
	if host, _, err := net.SplitHostPort(text); err == nil && port && hostPort(text) {
		if name = host; strings.Contains(host, ":") {
			name = "[" + host + "]"
		}
	}
	if !domain(name) && !literal(name) {
		v.problem("is no host", domainMend)
		return "", false
	}
	return text, true
}
