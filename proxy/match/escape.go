package match

import "strings"

// bare holds the characters that may stand for themselves in a path: RFC 3986's
// pchar, the slash, and the brackets that net/url lets pass as well.
var bare = func() (set [256]bool) {
	for c := range set {
		set[c] = unreserved(byte(c)) || strings.IndexByte("/!$&'()*+,;=:@[]", byte(c)) >= 0
	}
	return set
}()

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// kept says which escapes stay escapes in what is matched: those that could be
// mistaken for the bare character, for the beginning of an escape, or for a
// separator.
func kept(c byte) bool { return bare[c] || c == '%' || c == '\\' || c == 0 }

// isEscape reports whether s begins with an escape.
func isEscape(s string) bool {
	return len(s) > 2 && s[0] == '%' && isHex(s[1]) && isHex(s[2])
}

// unescape returns the byte of the escape that s begins with.
func unescape(s string) byte { return unhex(s[1])<<4 | unhex(s[2]) }

func writeEscape(b *strings.Builder, c byte) {
	const digits = "0123456789ABCDEF"
	b.WriteByte('%')
	b.WriteByte(digits[c>>4])
	b.WriteByte(digits[c&15])
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
