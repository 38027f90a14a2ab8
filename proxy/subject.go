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

// subjectOf finds the subject of a request. Who lacks the named cookie, header or
// claim is routed by client address; who lacks our own cookie gets one.
func subjectOf(want capability.Subject, r *http.Request, address string) subject {
	value := ""
	switch want.Kind {
	case capability.SubjectCookie:
		value = cookie(r.Header, want.Name)
	case capability.SubjectHeader:
		value = r.Header.Get(want.Name)
	case capability.SubjectClaim:
		value = claim(r.Header, want.Name)
	case capability.SubjectAddress:
	default:
		if v := cookie(r.Header, mintedCookie); isToken(v, 64) {
			return subject{value: v, source: capability.SubjectMinted}
		}
		return subject{value: rand.Text(), source: capability.SubjectMinted, minted: true}
	}
	if value == "" {
		return subject{value: address, source: capability.SubjectAddress}
	}
	return subject{value: value, source: want.Kind}
}

// cookieFor makes the Set-Cookie of a minted subject. It is for TLS only where the
// client came by TLS, to the proxy or to one in front that is trusted to say so.
func (s subject) cookieFor(secure bool) string {
	const year = 365 * 24 * 60 * 60
	c := http.Cookie{Name: mintedCookie, Value: s.value, Path: "/", MaxAge: year,
		HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode}
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

// isToken accepts 1 to longest characters that are safe in headers and logs.
func isToken(s string, longest int) bool {
	if s == "" || len(s) > longest {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alphanumeric && strings.IndexByte("-._~=+:", c) < 0 {
			return false
		}
	}
	return true
}
