package postgres

import (
	"slices"

	"strangler/migrate"
)

// parted tells the first parts of tables from second ones, of tables that are divided
// between two.
func parted(definitions []migrate.Definition) (first, second []migrate.Definition) {
	seen := map[migrate.Relation]bool{}
	for _, d := range definitions {
		if seen[d.From.Relation] {
			second = append(second, d)
		} else {
			first = append(first, d)
		}
		seen[d.From.Relation] = true
	}
	return first, second
}

// make turns to the tables of some definitions that are not there yet.
func (f *definer) make(definitions []migrate.Definition, second bool) {
	f.relations, f.wanted, f.second = nil, map[migrate.Relation]migrate.Definition{}, second
	for _, d := range definitions {
		if !d.Exists {
			f.relations = append(f.relations, d.From.Relation)
			f.wanted[d.From.Relation] = d
		}
	}
}

// numbered is a column as a table is made with it. The keys of second parts draw no
// numbers: they are those of the first.
func (f *definer) numbered(d migrate.Definition, c migrate.Column) migrate.Column {
	if f.second && slices.Contains(d.From.Key, c.Name) {
		c.Identity, c.Default = "", ""
	}
	return c
}

// drawn are the sequences that the tables draw from.
func (f *definer) drawn(sequences []migrate.Sequence) []migrate.Sequence {
	if !f.second {
		return sequences
	}
	return slices.DeleteFunc(sequences, func(s migrate.Sequence) bool { return slices.Contains(f.wanted[s.Table].From.Key, s.Column) })
}
