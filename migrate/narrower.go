package migrate

import (
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// generated compares what both tables compute. Such columns are never copied.
func (t *trial) generated() {
	for _, a := range t.Legacy.Columns {
		b, ok := t.Extracted.Column(t.names[a.Name])
		if !ok {
			continue
		}
		alter := "ALTER TABLE " + t.Extracted.SQL() + " "
		t.refuse(a.Generated && !b.Generated, fmt.Sprintf("%sDROP %s, ADD %s %s GENERATED ALWAYS AS (%s) STORED", alter, sqlName(b.Name), sqlName(b.Name), b.Type, a.Default),
			"column %s is generated on the legacy side and plain on the extracted one: nothing would fill it", a.Name)
		t.refuse(b.Generated && !a.Generated, fmt.Sprintf("%sALTER %s DROP EXPRESSION", alter, sqlName(b.Name)),
			"column %s is plain on the legacy side and generated on the extracted one: its values would be lost", a.Name)
		t.note(a.Generated && b.Generated && !sameText(a.Default, b.Default, t.names), "", "column %s is computed differently: %s on the legacy side, %s on the extracted one", a.Name, a.Default, b.Default)
	}
}

// narrower finds what one table refuses and the other does not: a conflict that
// waits for its row. One that waits on the way there is refused where a key is
// broken by rows that are each in order; on the way back it is told.
func (t *trial) narrower() {
	back := map[string]string{}
	for legacy, extracted := range t.names {
		back[extracted] = legacy
	}
	for _, u := range t.strict() {
		if t.beside.covers(u) || t.elsewhereAlone(u) {
			continue
		}
		if t.overComputed(u) {
			t.note(true, "", "%s (%s) is over columns that are computed: two rows that the legacy table allows, and that come to the same, would stop the stream", u.Name, u.Definition)
		} else if !covered(u, t.Legacy, t.here.Uniques, t.names) && !t.null(u) {
			t.refuse(true, t.widen(u, back), "%s exists only on the extracted side (%s): two rows that the legacy table allows would stop the stream", u.Name, u.Definition)
		}
	}
	for _, u := range t.here.Uniques {
		t.note(t.Mode == capability.Move && !covered(u, t.Extracted, t.there.Uniques, back), "",
			"%s exists only on the legacy side (%s): two rows that the extracted table allows would stop the stream back", u.Name, u.Definition)
		i := slices.IndexFunc(t.there.Uniques, func(other Unique) bool { return alike(u, other, t.names) })
		t.refuse(i >= 0 && u.Deferrable && !t.there.Uniques[i].Deferrable, t.deferred(u, i),
			"%s of the legacy table may be broken within a transaction (DEFERRABLE), and the extracted table's may not: two values that change places would stop the stream", u.Name)
		t.note(i >= 0 && !u.Deferrable && t.there.Uniques[i].Deferrable, "", "%s is DEFERRABLE only on the extracted side, and so is not checked for rows that the mover writes", u.Name)
	}
	t.checks(capability.Extracted, slices.DeleteFunc(slices.Clone(t.there.Checks), t.beside.has), t.here.Checks, t.names)
	t.checks(capability.Legacy, t.here.Checks, t.there.Checks, back)
	for _, pair := range t.Columns {
		a, _ := t.Legacy.Column(pair.Legacy)
		b, _ := t.Extracted.Column(pair.Extracted)
		t.notNull(capability.Extracted, b, a)
		t.notNull(capability.Legacy, a, b)
	}
}

// strict is what the extracted table refuses rows by, besides the key that both
// have: its primary key as well, where that is another one and is filled by us.
func (t *trial) strict() []Unique {
	key := t.there.Primary
	if key == nil || t.Extracted.KeyIndex == "" || slices.ContainsFunc(key.Columns, func(name string) bool {
		return !slices.ContainsFunc(t.Columns, func(p ColumnPair) bool { return p.Extracted == name })
	}) {
		return t.there.Uniques
	}
	return append(slices.Clone(t.there.Uniques), *key)
}

// stops says which way a row is stopped that one side refuses.
func stops(by capability.Side) string {
	if by == capability.Legacy {
		return "the stream back"
	}
	return "the stream"
}

func (t *trial) checks(side capability.Side, strict, loose []Check, names map[string]string) {
	for _, c := range strict {
		has := slices.ContainsFunc(loose, func(l Check) bool { return sameText(l.Definition, c.Definition, names) })
		t.note(!has && (side == capability.Extracted || t.Mode == capability.Move), fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", t.On(side).SQL(), sqlName(c.Name)),
			"constraint %s exists only on the %s side: %s; a row that breaks it stops %s", c.Name, side, c.Definition, stops(side))
	}
}

func (t *trial) notNull(side capability.Side, strict, loose Column) {
	t.note(strict.NotNull && !loose.NotNull && (side == capability.Extracted || t.Mode == capability.Move), fmt.Sprintf("ALTER TABLE %s ALTER %s DROP NOT NULL", t.On(side).SQL(), sqlName(strict.Name)),
		"column %s is NOT NULL only on the %s side: a NULL on the other one stops %s", strict.Name, side, stops(side))
}

// null says whether a constraint is over a column that stays NULL in all that
// the mover writes: no two rows break it.
func (t *trial) null(u Unique) bool {
	return !u.NullsEqual && slices.ContainsFunc(u.Columns, func(name string) bool {
		c, _ := t.Extracted.Column(name)
		return !t.fills(name) && !slices.Contains(t.Beside, name) && !c.NotNull && c.Default == "" && c.Identity == "" && !c.Generated
	})
}

// widen is how the two tables come to refuse the same rows.
func (t *trial) widen(u Unique, back map[string]string) string {
	drop := fmt.Sprintf("DROP INDEX %s.%s; -- until retire", sqlName(t.Extracted.Schema), sqlName(u.Name))
	if u.Constraint {
		drop = fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s; -- until retire", t.Extracted.SQL(), sqlName(u.Name))
	}
	if len(u.Columns) == 0 || !u.Whole || u.Exclusion {
		return drop
	}
	columns := make([]string, len(u.Columns))
	for i, c := range u.Columns {
		if columns[i] = back[c]; columns[i] == "" {
			return drop
		}
	}
	return fmt.Sprintf("CREATE UNIQUE INDEX CONCURRENTLY ON %s (%s); -- or, in the extracted database: %s", t.Legacy.SQL(), sqlNames(columns), drop)
}

// deferred is how the i-th constraint of the extracted table comes to be checked at
// the end, as the legacy table's.
func (t *trial) deferred(u Unique, i int) string {
	if i < 0 || len(u.Columns) == 0 || u.Exclusion {
		return "drop the extracted table's constraint and add it again DEFERRABLE"
	}
	other := t.there.Uniques[i]
	return fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s, ADD CONSTRAINT %s UNIQUE (%s) DEFERRABLE", t.Extracted.SQL(), sqlName(other.Name), sqlName(other.Name), sqlNames(other.Columns))
}

// covered says whether rows that a table allows, by its key and its constraints,
// can never break a constraint of the other one. Names are the table's columns
// on the other side.
func covered(strict Unique, by Table, loose []Unique, names map[string]string) bool {
	keys := []Unique{{Columns: by.Key, Whole: true, NullsEqual: true}}
	for _, c := range by.Candidates {
		keys = append(keys, Unique{Columns: c.Columns, Whole: true, NullsEqual: true})
	}
	return slices.ContainsFunc(append(keys, loose...), func(l Unique) bool { return alike(l, strict, names) || implies(l, strict, names) })
}

// alike says whether two constraints are the same under the new names.
func alike(loose, strict Unique, names map[string]string) bool {
	return loose.Definition != "" && loose.Exclusion == strict.Exclusion && sameText(undeferred(loose.Definition), undeferred(strict.Definition), names)
}

// undeferred takes the words about the time of checking from a definition.
func undeferred(definition string) string {
	before, _, _ := strings.Cut(definition, " DEFERRABLE")
	return before
}

// implies says whether no two rows that the one allows can break the other: no
// more columns, all rows, and NULLs at least as strict.
func implies(loose, strict Unique, names map[string]string) bool {
	if loose.Exclusion || strict.Exclusion || !loose.Whole || len(loose.Columns) == 0 || len(strict.Columns) == 0 || strict.NullsEqual && !loose.NullsEqual {
		return false
	}
	return !slices.ContainsFunc(loose.Columns, func(c string) bool { return !slices.Contains(strict.Columns, names[c]) })
}
