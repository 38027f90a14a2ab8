package match

import (
	"errors"
	"net/http"
	"strings"

	"strangler/capability"
)

// checkHeader explains why no request can meet a condition on a header.
func checkHeader(c capability.Condition) error {
	const separators = "()<>@,;:\\\"/[]?={} \t"
	switch {
	case c.Name == "" || strings.ContainsAny(c.Name, separators) || !printable(c.Name):
		return errors.New("no header has this name")
	case http.CanonicalHeaderKey(c.Name) == "Host":
		return errors.New("the host is no header here")
	case strings.TrimSpace(c.Value) != c.Value || strings.ContainsAny(c.Value, "\r\n\x00"):
		return errors.New("no header has this value: it begins or ends with a space, or holds a line break")
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// meetsHeader reports whether one of the header's lines equals the value. A line
// is not split at commas: which headers are lists is the application's business.
func meetsHeader(h http.Header, c capability.Condition) bool {
	lines := h[c.Name]
	if c.Value == "" {
		return len(lines) > 0
	}
	for _, line := range lines {
		if line == c.Value {
			return true
		}
	}
	return false
}

// meetsQuery reports whether one of the query's pairs meets the condition. Pairs
// are cut at "&" alone, as applications did before semicolons were banned: theirs
// are part of the value. A pair that does not decode meets nothing.
func meetsQuery(raw string, c capability.Condition) bool {
	for raw != "" {
		pair, rest, _ := strings.Cut(raw, "&")
		raw = rest
		name, value, _ := strings.Cut(pair, "=")
		if decodesTo(name, c.Name, false) && decodesTo(value, c.Value, c.Value == "") {
			return true
		}
	}
	return false
}

// decodesTo compares part of a query with what it stands for, without writing
// that down. With anything it only asks whether the part decodes.
func decodesTo(encoded, want string, anything bool) bool {
	equal, n := true, 0
	for i := 0; i < len(encoded); i++ {
		c := encoded[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if !isEscape(encoded[i:]) {
				return false
			}
			c = unescape(encoded[i:])
			i += 2
		}
		equal = equal && n < len(want) && want[n] == c
		n++
	}
	return anything || equal && n == len(want)
}
