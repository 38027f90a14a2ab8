package edge

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

var (
	errHost       = errors.New("malformed host")
	errTarget     = errors.New("a target in absolute form that is no address of HTTP")
	errBodyLength = errors.New("Content-Length is not that of the body")
)

// wellFormed refuses what net/http has taken, and two servers could read
// differently: of both protocols a host that is none, and of HTTP/2, which no guard
// has seen, whatever a guard would refuse.
func wellFormed(r *http.Request) error {
	switch {
	case r.Method == "PRI": // the preface of HTTP/2 is no request
		return errRequestLine
	case r.Host == "":
		return errNoHost
	case !validHost(r.Host):
		return errHost
	case !validTarget(r.URL):
		return errTarget
	case r.ProtoMajor < 2:
		return nil
	case !token([]byte(r.Method)), strings.ContainsAny(r.RequestURI, " \t#"),
		r.Method != http.MethodConnect && r.RequestURI != "*" && !strings.HasPrefix(r.RequestURI, "/"):
		return errRequestLine
	}
	for _, host := range r.Header["Host"] {
		if !strings.EqualFold(host, r.Host) {
			return errTwoHosts
		}
	}
	for name := range r.Trailer {
		if name != "" && !token([]byte(name)) {
			return errTrailerName
		}
	}
	delete(r.Trailer, "") // of an empty element of the list
	return lengthHTTP2(r)
}

// lengthHTTP2 wants one length at most, which is that of the body if there is none.
// What comes later net/http counts.
func lengthHTTP2(r *http.Request) error {
	var h head
	for _, value := range r.Header["Content-Length"] {
		if err := h.contentLength([]byte(value)); err != nil {
			return err
		}
	}
	if h.sized && int64(h.length) != r.ContentLength { //nolint:gosec // 18 digits
		return errBodyLength
	}
	return nil
}

// validTarget wants a target in absolute form to be ours to answer (RFC 9110, section
// 7.4): of HTTP, with a host, and with nobody before it, who would be meant to deceive
// (section 4.2.4).
func validTarget(u *url.URL) bool {
	switch u.Scheme {
	case "":
		return true
	case "http", "https":
		return u.Host != "" && u.User == nil
	}
	return false
}

// validHost is as strict as a name or address with a port needs; it goes into
// routes, lists, URLs and redirects of whoever reads it.
func validHost(host string) bool {
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && host[len(host)-1] != ']' {
		name, port = host[:i], host[i+1:]
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return ok && err == nil && a.Is6() && a.Zone() == "" && validPort(port)
	}
	return name != "" && len(name) <= 253 && validPort(port) && only(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_")
}

// validPort takes none as well, which a host may end with (RFC 3986, section 3.2.3).
func validPort(port string) bool {
	n := 0
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
		if n = 10*n + int(port[i]-'0'); n > 65535 {
			return false
		}
	}
	return true
}

// only reports whether text is made of digits and of others.
func only(text, others string) bool {
	for i := range len(text) {
		if b := text[i]; (b < '0' || b > '9') && strings.IndexByte(others, b) < 0 {
			return false
		}
	}
	return true
}

// ownHost is where a client has reached us: the host of an HTTP/1.0 request that
// names none (RFC 9112, section 3.3).
func ownHost(r *http.Request) string {
	at, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	tcp, ok := at.(*net.TCPAddr)
	if !ok {
		return "localhost" // a Unix socket
	}
	address := netip.AddrPortFrom(tcp.AddrPort().Addr().Unmap().WithZone(""), tcp.AddrPort().Port()).String()
	usual := ":80"
	if r.TLS != nil {
		usual = ":443"
	}
	return strings.TrimSuffix(address, usual)
}
