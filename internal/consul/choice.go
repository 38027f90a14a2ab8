package consul

import (
	"bytes"
	"maps"
	"slices"

	"strangler/capability"
)

// choice picks, of documents that have changed, what can be served together.
type choice struct {
	good  map[string][]byte // the last good version of each
	check func(contents map[string][]byte) []capability.Problem
}

// check is what is wrong with documents that are served together.
func (s *Store) check(contents map[string][]byte) []capability.Problem {
	_, problems := s.decode(s.key(routes), contents)
	return problems
}

// of returns the contents to serve: all that is new where that is without a
// problem, else what is new in the files that have none, else as many of the
// changes as go together with the last good versions of the others.
func (c choice) of(current, kept map[string][]byte, bad map[string]bool) map[string][]byte {
	served := maps.Clone(kept)
	for file, content := range current {
		if !bad[file] {
			served[file] = content
		} else if good, ok := c.good[file]; ok {
			served[file] = good
		}
	}
	if len(c.check(served)) == 0 {
		return served
	}
	served = maps.Clone(kept)
	for file := range current {
		if good, ok := c.good[file]; ok {
			served[file] = good
		}
	}
	waiting := slices.Sorted(maps.Keys(current))
	for taken := true; taken; {
		taken = false
		waiting = slices.DeleteFunc(waiting, func(file string) bool {
			ok := c.fits(served, file, current[file])
			taken = taken || ok
			return ok
		})
	}
	return served
}

// fits puts the content in place of what is served for the file, if that adds
// no problem anywhere.
func (c choice) fits(served map[string][]byte, file string, content []byte) bool {
	if old, ok := served[file]; ok && bytes.Equal(old, content) {
		return true
	}
	tried := maps.Clone(served)
	tried[file] = content
	before, after := c.check(served), c.check(tried)
	if len(after) > len(before) || filesOf(after)[file] {
		return false
	}
	served[file] = content
	return true
}
