package config

import (
	"regexp"
	"slices"
	"strings"

	"strangler/capability"
)

var rewriteKeys = []key[capability.Rewrite]{
	{"prefix", "", func(v value, w *capability.Rewrite) { keep(v, &w.Prefix, value.segments) }},
	{"to", "", func(v value, w *capability.Rewrite) {
		keep(v, &w.To, func(v value) (string, bool) {
			if text, ok := v.text(); !ok || text == "/" {
				return text, ok
			}
			return v.segments()
		})
	}},
	{"host", "", func(v value, w *capability.Rewrite) {
		keep(v, &w.Host, func(v value) (string, bool) { return v.server(true) })
	}},
	{"cookie_domain", "", func(v value, w *capability.Rewrite) { keep(v, &w.CookieDomain, value.cookieDomain) }},
}

// checkRewrite looks at what only shows between the keys.
func (r *reading) checkRewrite(path string, w capability.Rewrite) {
	if prefix, to := r.given(path+".prefix"), r.given(path+".to"); prefix != to {
		has, lacks := "prefix", "to"
		if to {
			has, lacks = lacks, has
		}
		r.add(r.lines[path+"."+has], path, "", "has a "+has+" and no "+lacks, "write both, as in {prefix: /api/orders, to: /v1}")
		return
	}
	if w.Prefix != "" && w.Prefix == w.To {
		r.add(r.lines[path+".to"], path+".to", w.To, "is the prefix itself", "take both out")
	}
}

var segmentForm = regexp.MustCompile(`^[A-Za-z0-9._~!$&'()+,;=:@-]+$`)

// segments reads the beginning of a path, in whole segments.
func (v value) segments() (string, bool) {
	const mend = "write whole segments without escapes, as in /api/orders"
	text, ok := v.text()
	if !ok {
		return "", false
	}
	rest, rooted := strings.CutPrefix(text, "/")
	parts := strings.Split(rest, "/")
	switch {
	case !rooted:
		v.problem("does not begin with a slash", mend)
	case rest == "" || slices.Contains(parts, ""):
		v.problem("has an empty segment", mend)
	case slices.Contains(parts, ".") || slices.Contains(parts, ".."):
		v.problem("has a dot segment", mend)
	case slices.ContainsFunc(parts, func(part string) bool { return !segmentForm.MatchString(part) }):
		v.problem("is no beginning of a path", mend)
	default:
		return text, true
	}
	return "", false
}

// target reads the path, perhaps with a query, that a check asks for.
func (v value) target() (string, bool) {
	text, ok := v.text()
	if !ok {
		return "", false
	}
	if !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' || c == '#' }) {
		v.problem("is no path to ask for", "write it as in /healthz; letters beyond ASCII as %C3%A9")
		return "", false
	}
	return text, true
}

func (v value) cookieDomain() (string, bool) {
	text, ok := v.text()
	if !ok {
		return "", false
	}
	text = strings.ToLower(text)
	if !domain(text) {
		v.problem("is no domain", "write it without a dot in front, as in shop.example.com")
		return "", false
	}
	return text, true
}
