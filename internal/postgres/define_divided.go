package postgres

import (
	"slices"

	"strangler/migrate"
)

// parted tells the first parts of tables from second ones, of tables that are divided
// between two, and from those that become one with a table before them.
func parted(definitions []migrate.Definition) (first, second, joining []migrate.Definition) {
	seen, made := map[migrate.Relation]bool{}, map[migrate.Relation]bool{}
	for _, d := range definitions {
		switch {
		case made[d.To]:
			joining = append(joining, d)
		case seen[d.From.Relation]:
			second = append(second, d)
		default:
			first = append(first, d)
		}
		seen[d.From.Relation], made[d.To] = true, true
	}
	return first, second, joining
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
	return slices.DeleteFunc(sequences, func(s migrate.Sequence) bool {
		d := f.wanted[s.Table]
		if first, joins := f.joined(d); joins {
			return shares(d, first)[d.Name(s.Column)] == s.Column
		}
		return slices.Contains(d.From.Key, s.Column)
	})
}
