package config

import (
	"fmt"
	"strings"
)

const expansionMend = "set the variable where strangler is started, or write the value out"

// expand replaces every ${NAME} by the variable of that name; $${ stands for a
// literal ${. A dollar without a brace means itself, since passwords have them.
// It runs on parsed values, so a variable cannot add keys.
func expand(s string, lookup func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		at := strings.Index(s, "${")
		if at < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		if at > 0 && s[at-1] == '$' {
			b.WriteString(s[:at-1] + "${")
			s = s[at+2:]
			continue
		}
		name, rest, closed := strings.Cut(s[at+2:], "}")
		if !closed || !variableName(name) {
			return "", fmt.Errorf("has a ${ that is not the start of ${NAME}")
		}
		text, ok := lookup(name)
		if !ok {
			return "", fmt.Errorf("names the variable %s, which is not set", name)
		}
		b.WriteString(s[:at] + text)
		s = rest
	}
}

func variableName(name string) bool {
	const letters = "_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return name != "" && strings.Trim(name[:1], letters) == "" && strings.Trim(name, letters+"0123456789") == ""
}
