package config

import "strangler/capability"

// joins says whether a table may be listed beside others that become the same table
// of the extracted side: two may, each with columns of its own and the same rows.
// From and to are the tables before it, by the names on either side.
func (v value) joins(table capability.Table, from, to map[string][]capability.Table) bool {
	joined := func(t capability.Table) bool { return len(to[qualified(t.As)]) > 1 }
	others := to[qualified(table.As)]
	if len(others) == 0 {
		for _, part := range from[qualified(table.Table)] {
			if joined(part) {
				v.problem("divides "+table.Table+", which becomes one with another table as "+part.As, "take one out: a table is divided between two, or becomes one with another")
				return false
			}
		}
		return true
	}
	first := others[0]
	switch {
	case qualified(first.Table) == qualified(table.Table):
		v.problem("maps a second table to "+table.As, "give it another name by `as`")
	case len(others) > 1:
		v.problem("maps a third table to "+table.As, "take one out: two tables become one at most")
	case len(from[qualified(table.Table)]) > 0 || len(from[qualified(first.Table)]) > 1:
		v.problem("maps a table that is divided, or a second one beside it, to "+table.As, "give it another name by `as`: a table is divided between two, or becomes one with another")
	case table.Mode != first.Mode:
		v.problem("maps a second table to "+table.As+" with another mode than "+first.Table, "give both tables the same mode: they change their owner together, or never")
	case table.Where != "" || first.Where != "":
		v.problem("maps a second table to "+table.As+", and a `where` bounds the rows of one of them", "take `where` out: of tables that become one all rows move, because a row is whole only with both halves")
	default:
		return true
	}
	return false
}
