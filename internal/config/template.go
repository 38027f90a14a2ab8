package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gorilla/mux"
)

func (v value) template() (string, bool) {
	path, ok := v.text()
	if !ok {
		return "", false
	}
	if message := templateProblem(path); message != "" {
		v.problem(message, "write a gorilla/mux template, as in /api/orders/{id:[0-9]+}, or /api/orders/** for a subtree")
		return "", false
	}
	return path, true
}

// templateProblem says why a path is no template, or nothing. What the
// templates mean is gorilla/mux's business, so it is asked.
func templateProblem(path string) string {
	if !strings.HasPrefix(path, "/") {
		return "does not begin with a slash"
	}
	base, subtree := strings.CutSuffix(path, "/**")
	if !subtree {
		base = path
	}
	literal := literals(base)
	switch {
	case strings.ContainsAny(literal, "*"):
		return "has a * in it; only /** at the end claims a subtree"
	case strings.ContainsAny(literal, "?#"):
		return "has a query or a fragment in it; routes are paths"
	case strings.Contains(literal, "//"), slices.ContainsFunc(strings.Split(literal, "/"), func(part string) bool { return part == "." || part == ".." }):
		return "has an empty or a dot segment in it, which no request has once it is cleaned"
	}
	if err := compile(base); err != nil {
		return "is no template: " + err.Error()
	}
	return ""
}

var variable = regexp.MustCompile(`\{[^{}]*(\{[^{}]*\}[^{}]*)*\}`)

// literals is the path with each variable as one letter.
func literals(path string) string { return variable.ReplaceAllString(path, "x") }

// compile asks gorilla/mux, which panics on capturing groups.
func compile(template string) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	if template == "" { // of "/**"
		template = "/"
	}
	return mux.NewRouter().NewRoute().Path(template).GetError()
}
