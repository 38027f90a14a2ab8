package proxy

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

// longestToken bounds what is decoded for a claim; header limits are above it.
const longestToken = 16 << 10

// claim returns a claim of the bearer token (RFC 7519), or nothing. The signature
// is not verified: the claim only decides which side answers, and both sides
// verify the token before they show anything. Strings and numbers are subjects;
// anything else is none.
func claim(h http.Header, name string) string {
	scheme, token, ok := strings.Cut(h.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || len(token) > longestToken {
		return ""
	}
	_, rest, _ := strings.Cut(strings.TrimSpace(token), ".")
	payload, _, signed := strings.Cut(rest, ".")
	if !signed {
		return ""
	}
	content, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(payload, "="))
	if err != nil {
		return ""
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(content, &claims) != nil {
		return ""
	}
	var text string
	if json.Unmarshal(claims[name], &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(claims[name], &number) == nil {
		return number.String()
	}
	return ""
}
