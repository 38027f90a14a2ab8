package match

import (
	"net/url"
	"strings"
)

// Path is a request's path in its one normal form. What is matched and what is
// forwarded are two spellings of the same thing: each follows from the other,
// so a request is never routed as one path and served as another.
type Path struct {
	// Match is what templates are held against. Characters that can only travel
	// as an escape stand here as themselves, as in "/a b/café". What could also
	// travel bare stays as it came, in upper case if it is an escape: "/a%2Fb" has
	// two segments less than three, "/a%2Bb" is not "/a+b" (RFC 3986, section 2.2),
	// and a percent sign is always "%25". So every "%" begins an escape.
	Match string
	// Raw is what is forwarded.
	Raw string
	// Odd names what the path holds that two servers may read differently. Whoever
	// forwards it refuses it unless the route that claims it allows all of that.
	Odd Odd
}

// pathError says why a path has no normal form at all.
type pathError string

func (e pathError) Error() string { return "refused path: " + string(e) }

const (
	errPathForm   pathError = "it does not begin with a slash"
	errPathEscape pathError = "a percent sign without two hexadecimal digits"
)

// Normalise returns the normal form of a path as it came, escapes and all. It
// fails for what no route can allow: a path without its first slash, and a
// percent sign that begins no escape. It does not allocate for a path that is
// normal and holds no escape and no segment that begins with a dot.
//
// Normal means: repeated slashes merged, unreserved characters decoded, all
// other escapes in upper case, everything that may not stand in a path encoded,
// a backslash and a zero byte too. Nothing is resolved: dot segments stay where
// they are, and once there is one, dots that came encoded stay encoded.
func Normalise(escaped string) (Path, error) {
	if escaped == "" || escaped[0] != '/' {
		return Path{}, errPathForm
	}
	if isNormal(escaped) {
		return Path{Match: escaped, Raw: escaped}, nil
	}
	p, err := rewrite(escaped, false)
	if err != nil {
		return Path{}, err
	}
	odd := oddities(p.Raw)
	if odd&dotSegments != 0 {
		if p, err = rewrite(escaped, true); err != nil {
			return Path{}, err
		}
	}
	p.Odd = odd
	return p, nil
}

// Decoded returns the path with every escape decoded: what belongs beside Raw, as
// RawPath, in the Path of a url.URL. It allocates if there is an escape.
func (p Path) Decoded() string {
	decoded, err := url.PathUnescape(p.Raw)
	if err != nil { // not in normal form: the caller made it up
		return p.Raw
	}
	return decoded
}

// isNormal recognises the paths that nearly all requests have: characters that
// may stand bare, no empty segment and none that begins with a dot. A dot segment
// cannot begin otherwise while nothing is encoded.
func isNormal(escaped string) bool {
	previous := byte(0)
	for i := range len(escaped) {
		c := escaped[i]
		if !bare[c] || previous == '/' && (c == '/' || c == '.') {
			return false
		}
		previous = c
	}
	return true
}

// rewrite leaves Odd to its caller.
func rewrite(escaped string, keepDots bool) (Path, error) {
	var match, raw strings.Builder
	match.Grow(len(escaped) + 8)
	raw.Grow(len(escaped) + 8)
	slash := false // the last byte was a bare slash
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		encoded := c == '%'
		if encoded {
			if !isEscape(escaped[i:]) {
				return Path{}, errPathEscape
			}
			c = unescape(escaped[i:])
			i += 2
		}
		again := slash
		slash = c == '/' && !encoded
		switch {
		case slash && again:
		case bare[c] && !encoded, unreserved(c) && (c != '.' || !keepDots):
			match.WriteByte(c)
			raw.WriteByte(c)
		case kept(c):
			writeEscape(&match, c)
			writeEscape(&raw, c)
		default:
			match.WriteByte(c)
			writeEscape(&raw, c)
		}
	}
	return Path{Match: match.String(), Raw: raw.String()}, nil
}
