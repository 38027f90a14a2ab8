package proxy

import (
	"crypto/rand"
	"net/http"
	"strings"

	"strangler/capability"
)

// mintedCookie is the cookie that the proxy gives to clients whose capability
// names no subject of its own.
const mintedCookie = "strangler_subject"

// subject is who is being routed, and from where that was read.
type subject struct {
	value  string
	source capability.SubjectKind
	minted bool // new in this request: the answer sets the cookie
}

// subjectOf finds the subject of a request. Who lacks the named cookie or header
// is routed by client address; who lacks our own cookie gets one.
func subjectOf(want capability.Subject, r *http.Request) subject {
	switch want.Kind {
	case capability.SubjectCookie:
		if v := cookie(r.Header, want.Name); v != "" {
			return subject{value: v, source: capability.SubjectCookie}
		}
		return subject{value: clientAddress(r), source: capability.SubjectAddress}
	case capability.SubjectHeader:
		if v := r.Header.Get(want.Name); v != "" {
			return subject{value: v, source: capability.SubjectHeader}
		}
		return subject{value: clientAddress(r), source: capability.SubjectAddress}
	case capability.SubjectAddress:
		return subject{value: clientAddress(r), source: capability.SubjectAddress}
	}
	if v := cookie(r.Header, mintedCookie); isToken(v, 64) {
		return subject{value: v, source: capability.SubjectMinted}
	}
	return subject{value: rand.Text(), source: capability.SubjectMinted, minted: true}
}

// cookieFor makes the Set-Cookie of a minted subject.
func (s subject) cookieFor(r *http.Request) string {
	const year = 365 * 24 * 60 * 60
	c := http.Cookie{Name: mintedCookie, Value: s.value, Path: "/", MaxAge: year,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode}
	return c.String()
}

// cookie returns the first cookie of that name, without parsing the others.
func cookie(h http.Header, name string) string {
	for _, line := range h["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			key, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
			if ok && key == name {
				return strings.Trim(value, `"`)
			}
		}
	}
	return ""
}

// clientAddress is the peer's address without the port. Forwarded headers are
// not consulted: a client can write them.
func clientAddress(r *http.Request) string {
	address := r.RemoteAddr
	if i := strings.LastIndexByte(address, ':'); i >= 0 {
		address = address[:i]
	}
	return strings.Trim(address, "[]")
}

// isToken accepts 1 to longest characters that are safe in headers and logs.
func isToken(s string, longest int) bool {
	if s == "" || len(s) > longest {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !unreserved(c) && c != '=' && c != '+' && c != ':' {
			return false
		}
	}
	return true
}
