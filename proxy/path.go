package proxy

import (
	"net/url"
	"strings"
)

// pathError says why a path has no normal form that both sides would read alike.
type pathError string

func (e pathError) Error() string { return "refused path: " + string(e) }

const (
	errPathForm      pathError = "it does not begin with a slash"
	errPathEscape    pathError = "a percent sign without two hexadecimal digits"
	errPathSeparator pathError = "an encoded slash, a backslash or a zero byte"
	errPathDots      pathError = "a dot segment"
)

// normalise returns the one form of a path that is matched and forwarded: path
// is decoded, for matching, and raw encodes exactly that, for the wire. What one
// side could read differently from the other is refused rather than repaired:
// a request routed by one reading and served by another is how authorisation
// is bypassed.
//
// Normal means: repeated slashes merged, unreserved characters decoded, all
// other escapes in upper case, everything that may not stand in a path encoded.
// Dot segments are refused in any encoding, also in one that only shows
// when an upstream decodes twice or cuts ";parameters" off.
func normalise(escaped string) (path, raw string, err error) {
	if escaped == "" || escaped[0] != '/' {
		return "", "", errPathForm
	}
	if isNormal(escaped) {
		return escaped, escaped, nil
	}
	raw, err = rewritePath(escaped)
	if err != nil {
		return "", "", err
	}
	path, err = url.PathUnescape(raw)
	if err != nil {
		return "", "", errPathEscape
	}
	if hidesDots(path) {
		return "", "", errPathDots
	}
	return path, raw, nil
}

// isNormal recognises the paths that nearly all requests have, without
// allocating: plain characters, no empty segment and none that begins with a
// dot.
func isNormal(escaped string) bool {
	previous := byte(0)
	for i := range len(escaped) {
		c := escaped[i]
		if !plain[c] || previous == '/' && (c == '/' || c == '.') {
			return false
		}
		previous = c
	}
	return true
}

func rewritePath(escaped string) (string, error) {
	var b strings.Builder
	b.Grow(len(escaped) + 8)
	previous := byte(0)
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		encoded := c == '%'
		if encoded {
			if i+2 >= len(escaped) || !isHex(escaped[i+1]) || !isHex(escaped[i+2]) {
				return "", errPathEscape
			}
			c = unhex(escaped[i+1])<<4 | unhex(escaped[i+2])
			i += 2
		}
		switch {
		case c == 0, c == '\\', c == '/' && encoded:
			return "", errPathSeparator
		case c == '/' && previous == '/':
			continue
		case unreserved(c), !encoded && (plain[c] || strings.IndexByte(";[]", c) >= 0):
			b.WriteByte(c)
		default:
			const digits = "0123456789ABCDEF"
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
		previous = c
		if encoded {
			previous = 0
		}
	}
	return b.String(), nil
}

// hidesDots reports a dot segment in the path, or in what decoding it again
// would give. Each decoding is shorter than the one before, so this ends.
func hidesDots(path string) bool {
	for {
		if hasDotSegment(path) {
			return true
		}
		if strings.IndexByte(path, '%') < 0 {
			return false
		}
		next := decodeLoosely(path)
		if next == path {
			return false
		}
		path = next
	}
}

func hasDotSegment(path string) bool {
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		segment, _, _ = strings.Cut(segment, ";")
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// decodeLoosely decodes what is a valid escape and leaves the rest, as the
// decoder of a careless upstream would.
func decodeLoosely(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// plain holds the characters that stand for themselves in a path and mean
// nothing special to anybody: RFC 3986's pchar and the slash, without the
// percent sign and the semicolon.
var plain = func() (set [256]bool) {
	for c := range set {
		set[c] = unreserved(byte(c)) || strings.IndexByte("/!$&'()*+,=:@", byte(c)) >= 0
	}
	return set
}()

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
