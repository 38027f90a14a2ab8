package match

import (
	"errors"
	"net/netip"
	"strings"
)

// hostKind orders what a route may ask of a host by how specific it is.
type hostKind int

const (
	anyHost hostKind = iota
	wildHost
	exactHost
)

// hostPattern is a route's host.
type hostPattern struct {
	kind hostKind
	name string // of exactHost the host, of wildHost what follows "*."
}

func compileHost(text string) (hostPattern, error) {
	if text == "" {
		return hostPattern{}, nil
	}
	p := hostPattern{kind: exactHost, name: strings.ToLower(strings.TrimSuffix(text, "."))}
	if name, wild := strings.CutPrefix(p.name, "*."); wild {
		p = hostPattern{kind: wildHost, name: name}
	}
	switch {
	case len(p.name) > maxHost:
		return p, errors.New("a host has 253 characters at most")
	case p.kind == exactHost && strings.HasPrefix(p.name, "["):
		if a, err := netip.ParseAddr(strings.Trim(p.name, "[]")); err != nil || "["+a.String()+"]" != p.name {
			return p, errors.New("not an IPv6 address in its shortest form")
		}
		return p, nil
	}
	for label := range strings.SplitSeq(p.name, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return p, errors.New("a host is made of letters, digits and dashes, without a port")
		}
	}
	return p, nil
}

// String writes the pattern as a route has it.
func (p hostPattern) String() string {
	if p.kind == wildHost {
		return "*." + p.name
	}
	return p.name
}

// example returns a host that the pattern takes.
func (p hostPattern) example() string {
	if p.kind == wildHost {
		return "www." + p.name
	}
	return p.name
}

// maxHost is the longest name that DNS knows.
const maxHost = 253

// hostBuffer holds a request's host.
type hostBuffer [maxHost]byte

// hostname writes a request's host into buf in the form of patterns: without
// port and final dot, in lower case. It returns nothing for what is too long to be
// anybody's.
func hostname(buf *hostBuffer, host string) []byte {
	end := len(host)
	if strings.HasPrefix(host, "[") {
		end = strings.IndexByte(host, ']') + 1
	} else if colon := strings.IndexByte(host, ':'); colon >= 0 {
		end = colon
	}
	host = strings.TrimSuffix(host[:end], ".")
	if len(host) > maxHost {
		return nil
	}
	n := copy(buf[:], host)
	for i, c := range buf[:n] {
		if 'A' <= c && c <= 'Z' {
			buf[i] = c + 'a' - 'A'
		}
	}
	return buf[:n]
}
