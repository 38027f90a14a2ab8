package migrate

import (
	"slices"

	"strangler/capability"
)

// between returns From as it was when the last change before a transaction was
// seen, and as it was seen next: what the transaction wrote has one of these forms,
// or one in between. Known says that it has the last one, which is From as it is.
func (m Mapping) between(commit capability.Position) (before, after Table, known bool) {
	for i, past := range m.Past {
		if commit >= past.Until {
			continue
		}
		before, after = past.Table, m.From
		if i+1 < len(m.Past) {
			after = m.Past[i+1].Table
		}
		return before, after, false
	}
	return m.From, m.From, true
}

// numbered says whether the table's columns have numbers.
func (t Table) numbered() bool {
	return !slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Number == 0 })
}

// number is that of the column at a place. Where nobody has asked for numbers it is
// its place.
func (t Table) number(at int) int16 {
	if at >= 0 && t.numbered() {
		return t.Columns[at].Number
	}
	return int16(at + 1)
}

// slot is a column that a row between two forms of a table may have.
type slot struct {
	number        int16
	before, after Column // as it is in the two forms; empty where it is not
	must          bool   // there all the time
}

// slots are in the order in which rows have their columns.
func slots(before, after Table) []slot {
	var list []slot
	for number := int16(1); number <= after.Last; number++ {
		b, was := before.Numbered(number)
		a, is := after.Numbered(number)
		if !was && !is && number <= before.Last {
			continue // it was dropped before, and does not come back
		}
		list = append(list, slot{number: number, before: b, after: a, must: was && is})
	}
	return list
}

// fits says whether a described column may be the slot's: a type that neither form
// has would be one in between, which is not known.
func (s slot) fits(c ShapeColumn) bool {
	same := func(is Column) bool { return is.TypeID == c.Type && is.Modifier == c.Modifier }
	return s.before.Number == 0 && s.after.Number == 0 || s.before.Number != 0 && same(s.before) || s.after.Number != 0 && same(s.after)
}

// named says whether the slot may have had the column's name. What came and went in
// between may have had any.
func (s slot) named(c ShapeColumn) bool {
	return s.before.Number == 0 && s.after.Number == 0 || c.Name == s.before.Name || c.Name == s.after.Name
}

// byOrder finds out which columns a description tells of that was made between
// two forms of the table, by their order, types and names; generated ones are not
// described. A column that was dropped since has the number 0. False: there is no
// reading, or more than one.
func byOrder(columns []ShapeColumn, before, after Table) ([]int16, bool) {
	list := slices.DeleteFunc(slots(before, after), func(s slot) bool { return s.before.Generated || s.after.Generated })
	// most[i][j] is how many names agree at best between columns[i:] and list[j:];
	// below zero: they do not fit.
	most := make([][]int, len(columns)+1)
	for i := len(columns); i >= 0; i-- {
		most[i] = make([]int, len(list)+1)
		for j := len(list); j >= 0; j-- {
			most[i][j] = max(skipped(most, list, columns, i, j), taken(most, list, columns, i, j))
		}
	}
	if most[0][0] < 0 {
		return nil, false
	}
	// All readings lie between the one that takes each column as early as it can and
	// the one that takes it as late.
	early, late := make([]int, len(columns)), make([]int, len(columns))
	for i, j := 0, 0; i < len(columns); j++ {
		if taken(most, list, columns, i, j) == most[i][j] {
			early[i] = j
			i++
		}
	}
	for i, j := 0, 0; i < len(columns); j++ {
		if skipped(most, list, columns, i, j) != most[i][j] {
			late[i] = j
			i++
		}
	}
	numbers := make([]int16, len(columns))
	for i := range columns {
		span := list[early[i] : late[i]+1]
		if len(span) > 1 && slices.ContainsFunc(span, func(s slot) bool { return s.after.Number != 0 }) {
			return nil, false
		}
		numbers[i] = list[early[i]].after.Number
	}
	return numbers, true
}

// none is worse than any number of names.
const none = -1 << 20

func skipped(most [][]int, list []slot, columns []ShapeColumn, i, j int) int {
	switch {
	case j == len(list) && i == len(columns):
		return 0
	case j == len(list) || list[j].must:
		return none
	case list[j].before.Number == 0 && list[j].after.Number != 0 && i < len(columns):
		return none // what was added after it has come with it, because it is still there
	}
	return most[i][j+1]
}

func taken(most [][]int, list []slot, columns []ShapeColumn, i, j int) int {
	if j == len(list) || i == len(columns) || !list[j].fits(columns[i]) {
		return none
	}
	if list[j].named(columns[i]) {
		return most[i+1][j+1] + 1
	}
	return most[i+1][j+1]
}

// byWidth finds out which columns a row has that was written between two forms of
// the table, when it was so many columns wide (0: unknown, otherwise the number that
// the last of them had then), of which so many were not dropped.
func byWidth(width int16, count int, before, after Table) ([]int16, bool) {
	if width == 0 {
		var found []int16
		for w := before.Last; w <= after.Last; w++ {
			numbers, ok := byWidth(w, count, before, after)
			if ok && found != nil && !slices.Equal(found, numbers) {
				return nil, false
			}
			if ok {
				found = numbers
			}
		}
		return found, found != nil
	}
	list := slices.DeleteFunc(slots(before, after), func(s slot) bool { return s.number > width })
	always := 0
	for i, s := range list {
		// What was added since is there for good, or else it is in neither form.
		list[i].must = s.must || s.after.Number != 0
		if list[i].must {
			always++
		}
	}
	switch {
	case width < before.Last || width > after.Last:
		return nil, false
	case count == always:
		list = slices.DeleteFunc(list, func(s slot) bool { return !s.must })
	case count != len(list): // some are dropped and some are not, and nothing says which
		return nil, false
	}
	numbers := make([]int16, len(list))
	for i, s := range list {
		numbers[i] = s.after.Number
	}
	return numbers, true
}
