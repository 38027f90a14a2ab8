package match

import (
	"fmt"
	"strings"
)

// checkLiterals refuses text outside braces that no path in normal form holds,
// because the same is spelled differently there.
func checkLiterals(text string) error {
	depth := 0
	for i := 0; i < len(text); i++ {
		c, rest := text[i], text[i:]
		var have, want string
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth--
		case depth > 0:
		case isEscape(rest):
			have = rest[:3]
			switch c := unescape(rest); {
			case unreserved(c) || !kept(c):
				want = string([]byte{c})
			case have != strings.ToUpper(have):
				want = strings.ToUpper(have)
			}
			i += 2
		case c == '%', c == '\\', c == 0:
			var b strings.Builder
			writeEscape(&b, c)
			have, want = rest[:1], b.String()
		}
		if want != "" {
			return fmt.Errorf("no request has this path: %q is written %q in a template", have, want)
		}
	}
	return nil
}
