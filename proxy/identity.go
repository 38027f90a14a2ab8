package proxy

import (
	cryptorand "crypto/rand"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
)

const (
	headerRequestID   = "X-Request-Id"
	headerTraceparent = "Traceparent"
)

// requestID returns the client's own where it is sane, else a new one.
func requestID(h http.Header) string {
	if id := h.Get(headerRequestID); isToken(id, 128) {
		return id
	}
	return cryptorand.Text()
}

// traceparent returns the client's trace context (W3C Trace Context, level 1)
// where it is well formed, else begins a trace.
func traceparent(h http.Header) string {
	if t := h.Get(headerTraceparent); isTraceparent(t) {
		return t
	}
	const version, flags = "00-", "-01"
	b := make([]byte, 0, len("00-")+32+1+16+len("-01"))
	b = append(b, version...)
	b = appendHex(b, rand.Uint64()|1) // all zero is invalid
	b = appendHex(b, rand.Uint64())
	b = append(b, '-')
	b = appendHex(b, rand.Uint64()|1)
	return string(append(b, flags...))
}

func appendHex(b []byte, v uint64) []byte {
	raw := [8]byte{byte(v >> 56), byte(v >> 48), byte(v >> 40), byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
	return hex.AppendEncode(b, raw[:])
}

func isTraceparent(t string) bool {
	if len(t) < 55 || t[2] != '-' || t[35] != '-' || t[52] != '-' || len(t) > 128 {
		return false
	}
	zeros := func(s string) bool {
		for i := range len(s) {
			if s[i] != '0' {
				return false
			}
		}
		return true
	}
	for _, part := range []string{t[:2], t[3:35], t[36:52], t[53:55]} {
		for i := range len(part) {
			if !isHex(part[i]) || 'A' <= part[i] && part[i] <= 'F' {
				return false
			}
		}
	}
	return t[:2] != "ff" && !zeros(t[3:35]) && !zeros(t[36:52])
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
