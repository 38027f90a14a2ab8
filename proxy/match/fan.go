package match

import "slices"

// fan spreads values by a text that what they match must begin or end with, so
// that of thousands only those are tried that may match. The cost is one lookup for
// each different length of such texts.
type fan[T any] struct {
	lengths []int // the different lengths
	by      map[string][]T
}

func (f *fan[T]) add(text string, value T) {
	if f.by == nil {
		f.by = map[string][]T{}
	}
	if !slices.Contains(f.lengths, len(text)) {
		f.lengths = append(f.lengths, len(text))
	}
	f.by[text] = append(f.by[text], value)
}
