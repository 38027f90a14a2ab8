package apply

import (
	"slices"

	"strangler/migrate"
)

// ofSource are the changes that a change is made of, as the source has them.
func ofSource(c migrate.Change) []migrate.Change {
	if c.Halves != nil {
		return c.Halves
	}
	return []migrate.Change{c}
}

// joined lays the halves of a change side by side: what no half of it has is left
// as it is.
func (s *Session) joined(n int, c migrate.Change, images map[int]*images) migrate.Change {
	names := s.writers[c.Table].mapping.ToColumns
	values := slices.Repeat([]migrate.Value{{Unchanged: true}}, len(names))
	for _, half := range c.Halves {
		if s.reshapes(half) {
			half, _ = images[half.Table].change(n, half) // a half has no condition
		}
		for i, name := range s.writers[half.Table].mapping.ToColumns {
			if v := half.Values[i]; !v.Unchanged {
				values[slices.Index(names, name)] = v
			}
		}
	}
	c.Values, c.Halves = values, nil
	return c
}
