package match

import (
	"slices"
	"strings"

	"strangler/capability"
)

// Odd is a set of capability.Oddity.
//
// A path holds an oddity if decoding it once shows it, or decoding it again and
// again: "%252F" is an encoded slash like "%2F", because a server that decodes once
// more makes it a separator, and which servers do is not visible from here. A name
// with "%2F" in its text, rightly sent as "%252F", thereby needs a route that
// allows encoded slashes. UTF-8 in more bytes than needed ("%C0%AF"), also with a
// continuation that is none ("%C0%2F"), counts as what lax decoders make of it, and
// dots among blanks ("..%20") as what servers make of it that trim names.
type Odd uint8

const (
	encodedSlash Odd = 1 << iota
	encodedBackslash
	encodedZero
	dotSegments
)

// oddity names one member of the set.
type oddity struct {
	bit   Odd
	name  capability.Oddity
	words string
}

func oddNames() [4]oddity {
	return [4]oddity{
		{encodedSlash, capability.EncodedSlash, "an encoded slash"},
		{encodedBackslash, capability.EncodedBackslash, "a backslash"},
		{encodedZero, capability.EncodedZero, "a zero byte"},
		{dotSegments, capability.DotSegments, "a dot segment"},
	}
}

// OddOf returns the set of a route's list. Unknown names, which Check reports,
// are left out.
func OddOf(allowed []capability.Oddity) Odd {
	var o Odd
	for _, known := range oddNames() {
		if slices.Contains(allowed, known.name) {
			o |= known.bit
		}
	}
	return o
}

// Within reports whether all of o is allowed.
func (o Odd) Within(allowed Odd) bool { return o&^allowed == 0 }

// Without returns what of o is not allowed.
func (o Odd) Without(allowed Odd) Odd { return o &^ allowed }

// Names returns the members as a route lists them, in the order of
// capability.Oddities.
func (o Odd) Names() []capability.Oddity {
	var out []capability.Oddity
	for _, known := range oddNames() {
		if o&known.bit != 0 {
			out = append(out, known.name)
		}
	}
	return out
}

// String is for messages: "an encoded slash, a dot segment".
func (o Odd) String() string {
	var out []string
	for _, known := range oddNames() {
		if o&known.bit != 0 {
			out = append(out, known.words)
		}
	}
	return strings.Join(out, ", ")
}

// oddities finds what is odd in a rewritten path, in one pass whatever the depth
// of the encoding: what was decoded is looked at again together with what stands
// before it. Escapes do not overlap, so the order of decoding changes nothing,
// and neither a separator nor a dot is part of one, so none is lost on the way.
func oddities(raw string) Odd {
	var odd Odd
	var short [128]byte
	out := short[:0]
	for i := range len(raw) {
		out = append(out, raw[i])
		for {
			c, n := lastDecoded(out)
			if n == 0 {
				break
			}
			out = append(out[:len(out)-n], c)
			switch c {
			case '/':
				odd |= encodedSlash
			case '\\':
				odd |= encodedBackslash
			case 0:
				odd |= encodedZero
			}
		}
	}
	return odd | dotted(out)
}

// lastDecoded returns what the last n bytes decode to, 0 for nothing: an escape,
// or an ASCII character in two to seven bytes of UTF-8. Of continuations only what
// they hold is looked at, as lax decoders do; what cuts segments, and a percent sign, with
// which an escape may begin, is none. No valid UTF-8 is among them.
func lastDecoded(s []byte) (c byte, n int) {
	if len(s) < 2 {
		return 0, 0
	}
	last, before := s[len(s)-1], s[len(s)-2]
	switch {
	case len(s) > 2 && s[len(s)-3] == '%' && isHex(before) && isHex(last):
		return unhex(before)<<4 | unhex(last), 3
	case strings.IndexByte(cuts+"%", last) >= 0, before == 0:
		return 0, 0
	case before&0xFE == 0xC0:
		return (before&1)<<6 | last&0x3F, 2
	case before&0x3E != 0:
		return 0, 0
	}
	for n, first := range [...]byte{3: 0xE0, 4: 0xF0, 5: 0xF8, 6: 0xFC, 7: 0xFE} {
		switch {
		case n < 3:
		case n > len(s):
			return 0, 0
		case s[len(s)-n] == first:
			return (before&1)<<6 | last&0x3F, n
		case s[len(s)-n]&0x3F != 0, s[len(s)-n] == 0:
			return 0, 0
		}
	}
	return 0, 0
}

// cuts are the bytes at which some server ends a segment.
const cuts = "/\\\x00;?#"

// dotted finds a segment that is "." or "..", also for a server that cuts
// ";parameters" off, or what looks like a query, or stops at a zero byte; or dots and
// blanks alone, of which servers trim the latter.
func dotted(path []byte) Odd {
	dots, blank, other := 0, false, false
	for i := range len(path) + 1 {
		c := byte('/')
		if i < len(path) {
			c = path[i]
		}
		switch {
		case strings.IndexByte(cuts, c) >= 0:
			if !other && (dots == 1 || dots == 2 || dots > 0 && blank) {
				return dotSegments
			}
			// What follows a cut is no segment of its own.
			dots, blank, other = 0, false, c == ';' || c == '?' || c == '#'
		case c == '.':
			dots++
		case c <= ' ':
			blank = true
		default:
			other = true
		}
	}
	return 0
}
