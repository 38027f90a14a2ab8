package config

import "slices"

// distinct reads a list whose items differ from each other.
func distinct[T comparable](v value, read func(value) (T, bool)) ([]T, bool) {
	items, ok := v.list()
	if !ok {
		return nil, false
	}
	var all []T
	for _, item := range items {
		one, ok := read(item)
		switch {
		case !ok:
		case slices.Contains(all, one):
			item.problem("is given twice", "take one out")
		default:
			all = append(all, one)
		}
	}
	return all, true
}

// words reads one of a few words.
func words[T ~string](all ...T) func(value) (T, bool) {
	var texts []string
	for _, one := range all {
		texts = append(texts, string(one))
	}
	return func(v value) (T, bool) {
		word, ok := v.oneOf(texts...)
		return T(word), ok
	}
}

// orNone reads what may be turned off by "".
func orNone(read func(value) (string, bool)) func(value) (string, bool) {
	return func(v value) (string, bool) {
		if v.node.Tag == "!!str" && v.node.Value == "" {
			return "", true
		}
		return read(v)
	}
}
