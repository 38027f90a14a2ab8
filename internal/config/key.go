package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// key is one value below a section, by its path, and how it is read into what
// the section becomes. Sections that both files have are lists of keys, so that
// both read them in the same way.
type key[T any] struct {
	name     string
	fallback string // of config.yaml alone; empty: there is none, or the zero value is it
	read     func(value, *T)
}

// within puts keys below a section of something larger.
func within[T, U any](section string, keys []key[T], part func(*U) *T) []key[U] {
	var all []key[U]
	for _, one := range keys {
		all = append(all, key[U]{name: join(section, one.name), fallback: one.fallback, read: func(v value, whole *U) { one.read(v, part(whole)) }})
	}
	return all
}

// fill reads a section of a document.
func fill[T any](v value, keys []key[T], into *T) {
	s := v.section()
	if s == nil {
		return
	}
	reads := map[string]func(value, *T){}
	for _, one := range keys {
		reads[one.name] = one.read
	}
	s.each(names(keys), func(name string, v value) { reads[name](v, into) })
}

func names[T any](keys []key[T]) []string {
	var all []string
	for _, one := range keys {
		all = append(all, one.name)
	}
	return all
}

// asWord is the last part of a key that stands for a section written as one
// word: `ejection: off`. No section has a key of this name.
const asWord = "off"

// each hands over the values of the given keys, which may lie deeper, and
// reports the keys that are not among them.
func (s *section) each(keys []string, use func(key string, v value)) {
	done := map[string]bool{}
	for _, key := range keys {
		name, _, nested := strings.Cut(key, ".")
		if done[name] {
			continue
		}
		done[name] = true
		v, ok := s.take(name)
		switch {
		case !ok:
		case nested:
			v.each(below(name, keys), func(key string, v value) { use(join(name, key), v) })
		default:
			use(name, v)
		}
	}
	s.close()
}

func (v value) each(keys []string, use func(key string, v value)) {
	var inner []string
	for _, key := range keys {
		if key != asWord {
			inner = append(inner, key)
		} else if v.node.Kind == yaml.ScalarNode {
			use(asWord, v)
			return
		}
	}
	if s := v.section(); s != nil {
		s.each(inner, use)
	}
}

// below lists the keys of an inner section.
func below(section string, keys []string) []string {
	var inner []string
	for _, key := range keys {
		if rest, ok := strings.CutPrefix(key, section+"."); ok {
			inner = append(inner, rest)
		}
	}
	return inner
}
