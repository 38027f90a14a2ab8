package config

import "strangler/capability"

// divides says whether a table may be listed beside others that have the same
// legacy table: two may have it, each with columns of its own and the same rows.
func (v value) divides(table capability.Table, others []capability.Table) bool {
	if len(others) == 0 {
		return true
	}
	first := others[0]
	switch {
	case len(others) > 1:
		v.problem("names a table that is listed twice already: "+table.Table, "take one out: a table is divided between two at most")
	case table.Mode != first.Mode:
		v.problem("names "+table.Table+" with another mode than the first time", "give both parts of a table the same mode: they change their owner together, or never")
	case table.Where != first.Where:
		v.problem("divides "+table.Table+" between two tables that do not have the same rows: their `where` differs", "write the same `where` for both parts, or none: a row comes back only whole, so it has to move into both or into none")
	default:
		return true
	}
	return false
}
