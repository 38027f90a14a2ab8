package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"strangler/capability"
)

// A table that is divided between two comes back from both, and two tables that
// become one go there together. Each row of it is made
// of two halves, which are known by their key, and it is there when both are there.
// So what a transaction of the source does to the existence of a half (an insert, a
// delete, another key, a truncation) waits for the same of the other half, and then
// is one change of the whole row. What leaves the existence alone, an update, goes on
// at once, as an update that leaves the other half's columns alone.
//
// Why the whole table passes from one correct state to the next. A structural change
// is let through when the other half has an equal one, and neither half has an earlier
// one waiting that is about the same keys. So for each key the whole table sees the
// changes in the order in which both halves have seen them, and a key that is to be
// taken has become free in both. What is left at the end of the transaction is
// reduced to what it comes to: a half that was deleted and inserted again is an
// update. If then a half stands alone, the stream ends there.

// joints are the tables of a stream that rows of two others are joined in.
type joints struct {
	from capability.Side
	list []*joint
	of   map[int]*joint // by the mapping of a half
}

// joint is one of them, with what one transaction has left incomplete.
type joint struct {
	side   capability.Side // of the source
	whole  int             // index of the joined mapping
	halves [2]int          // indexes of the mappings of the halves
	maps   [2]Mapping
	// order are, for each half, the places of the whole table's key columns in its key.
	order [2][]int

	// waiting are the structural changes of a half that the other one has not had, by
	// the keys that they are about, in order.
	waiting [2]map[string][]*structural
	emptied [2]bool // it was truncated, and the other half not yet
	count   int
}

// structural is a change of a half's existence: from the one key to the other, of
// which one is empty for an insert or a delete.
type structural struct {
	number   int // in order of a transaction
	from, to string
	change   Change
}

// Joined returns the mappings of a stream with those that its session needs besides:
// for every table that two of the mappings write, the one of its whole rows.
func Joined(mappings []Mapping) []Mapping {
	all := slices.Clone(mappings)
	for _, halves := range pairsOfHalves(mappings) {
		all = append(all, join(mappings[halves[0]], mappings[halves[1]]))
	}
	return all
}

// pairsOfHalves finds mappings that write one table.
func pairsOfHalves(mappings []Mapping) [][2]int {
	var list [][2]int
	for i, m := range mappings {
		for j := range i {
			if mappings[j].To.Relation == m.To.Relation {
				list = append(list, [2]int{j, i})
			}
		}
	}
	return list
}

// join is the mapping of whole rows: it has the columns of both, the key once, and
// nothing to be computed, because that is computed of the halves.
func join(a, b Mapping) Mapping {
	m := Mapping{Pair: a.Pair, Side: a.Side, From: a.From, To: a.To, FromColumns: a.FromColumns, FromKey: a.FromKey, ToKey: a.ToKey, Guard: a.Guard, Halves: []Mapping{a, b}}
	m.ToColumns = slices.Clone(a.ToColumns)
	for _, name := range b.ToColumns {
		if !slices.Contains(b.ToKey, name) {
			m.ToColumns = append(m.ToColumns, name)
		}
	}
	return m
}

// joined selects whole rows of the source as the target is to have them.
func (m Mapping) joined() Selection {
	a, b := m.Halves[0], m.Halves[1]
	s, with := a.Source(), b.Source()
	other := with
	other.Terms = nil
	for i, term := range with.Terms {
		if !slices.Contains(b.ToKey, b.ToColumns[i]) {
			other.Terms = append(other.Terms, term)
		}
	}
	s.With = &other
	here, there := keyColumns(a.FromKey, a.From), keyColumns(b.FromKey, b.From)
	for i, name := range a.ToKey {
		s.On = append(s.On, [2]KeyColumn{here[i], there[slices.Index(b.ToKey, name)]})
	}
	return s
}

// wholes are mappings with those of halves replaced by the one of whole rows, for who
// writes rows by comparing: half a row cannot be written.
func wholes(mappings []Mapping) []Mapping {
	all := slices.Clone(mappings)
	second := map[int]bool{}
	for _, halves := range pairsOfHalves(mappings) {
		all[halves[0]] = join(mappings[halves[0]], mappings[halves[1]])
		second[halves[1]] = true
	}
	var list []Mapping
	for i, m := range all {
		if !second[i] {
			list = append(list, m)
		}
	}
	return list
}

// unpaired refuses rows that have no other half.
func unpaired(ctx context.Context, source Reader, m Mapping) error {
	n, err := source.Unpaired(ctx, m.Source())
	if err != nil || !n.any() {
		return err
	}
	return fmt.Errorf("%s; %s", n.of(m), n.mend(m))
}

func newJoints(from capability.Side, mappings []Mapping) *joints {
	j := &joints{from: from, of: map[int]*joint{}}
	for n, halves := range pairsOfHalves(mappings) {
		one := &joint{side: from, whole: len(mappings) + n, halves: halves}
		for i, at := range halves {
			m := mappings[at]
			one.maps[i] = m
			for _, name := range mappings[halves[0]].ToKey {
				one.order[i] = append(one.order[i], slices.Index(m.ToKey, name))
			}
			j.of[at] = one
		}
		one.forget()
		j.list = append(j.list, one)
	}
	return j
}

// forget is for a transaction that begins.
func (j *joint) forget() {
	for i := range j.waiting {
		j.waiting[i], j.emptied[i] = map[string][]*structural{}, false
	}
}

// begin forgets what a transaction has left that did not end.
func (js *joints) begin() {
	for _, j := range js.list {
		j.forget()
	}
}

// take returns what a change of the source comes to by now: itself, where its table
// is no half of another.
func (js *joints) take(c Change) ([]Change, error) {
	if len(js.list) == 0 {
		return []Change{c}, nil
	}
	if c.Kind == ChangeTruncate {
		return js.truncate(c), nil
	}
	j, ok := js.of[c.Table]
	if !ok {
		return []Change{c}, nil
	}
	return j.take(slices.Index(j.halves[:], c.Table), c)
}

// end returns what is left of a transaction. It is a ConflictError where a half is.
func (js *joints) end() (changes []Change, err error) {
	for _, j := range js.list {
		left, err := j.end()
		if err != nil {
			return nil, err
		}
		changes = append(changes, left...)
	}
	return changes, nil
}

// truncate empties a whole table when both halves are empty.
func (js *joints) truncate(c Change) []Change {
	var tables []int
	var again []*joint
	for _, table := range c.Tables {
		j, ok := js.of[table]
		if !ok {
			tables = append(tables, table)
			continue
		}
		half := slices.Index(j.halves[:], table)
		j.waiting[half], j.emptied[half] = map[string][]*structural{}, true
		if j.emptied[0] && j.emptied[1] {
			j.emptied = [2]bool{}
			tables, again = append(tables, j.whole), append(again, j)
		}
	}
	var out []Change
	if len(tables) > 0 {
		out = append(out, Change{Kind: ChangeTruncate, Tables: tables})
	}
	for _, j := range again { // what has come since the half was emptied that was first
		for _, half := range [2]int{0, 1} {
			for _, s := range j.left(half) {
				out = append(out, j.match(half, s)...)
			}
		}
	}
	return out
}

// key is that of the whole row.
func (j *joint) key(half int, key [][]byte) [][]byte {
	list := make([][]byte, len(key))
	for i, at := range j.order[half] {
		list[i] = key[at]
	}
	return list
}

// becomes is the key that a row has after a change.
func (j *joint) becomes(half int, c Change) [][]byte {
	m := j.maps[half]
	key := make([][]byte, len(m.FromKey))
	for i, name := range m.FromKey {
		v := c.Values[slices.Index(m.FromColumns, name)]
		if key[i] = v.Text; v.Unchanged {
			key[i] = c.Key[i]
		}
	}
	return j.key(half, key)
}

func (j *joint) take(half int, c Change) ([]Change, error) {
	s := &structural{change: c}
	if c.Kind != ChangeInsert {
		s.from = packKey(j.whole, j.key(half, c.Key))
	}
	if c.Kind != ChangeDelete {
		s.to = packKey(j.whole, j.becomes(half, c))
	}
	if s.from == s.to { // an update that leaves the key alone
		list := j.waiting[half][s.from]
		if len(list) == 0 {
			return []Change{j.update(half, c)}, nil
		}
		last := list[len(list)-1]
		if last.to != s.to {
			return nil, fmt.Errorf("read change stream: a row of %s was updated that was not there", j.maps[half].From.Relation)
		}
		last.change.Values = over(last.change.Values, c.Values)
		return nil, nil
	}
	j.count++
	s.number = j.count
	for _, key := range s.keys() {
		j.waiting[half][key] = append(j.waiting[half][key], s)
	}
	return j.match(half, s), nil
}

// keys are those that a change is about.
func (s *structural) keys() []string {
	return slices.DeleteFunc([]string{s.from, s.to}, func(key string) bool { return key == "" })
}

// over are values with those of a later update.
func over(before, after []Value) []Value {
	values := slices.Clone(after)
	for i, v := range values {
		if v.Unchanged {
			values[i] = before[i]
		}
	}
	return values
}

// update is a change of one half's columns.
func (j *joint) update(half int, c Change) Change {
	return Change{Kind: ChangeUpdate, Table: j.whole, Key: j.key(half, c.Key), Halves: []Change{c}}
}

// both is the change of a whole row, of equal changes of its halves.
func (j *joint) both(a, b Change) Change {
	c := Change{Kind: a.Kind, Table: j.whole}
	if a.Kind != ChangeInsert {
		c.Key = j.key(0, a.Key)
	}
	if a.Kind != ChangeDelete {
		c.Halves = []Change{a, b}
	}
	c.Moved = a.Kind == ChangeUpdate
	return c
}

// match lets a structural change through that the other half has as well, and then
// whatever has waited for that.
func (j *joint) match(half int, s *structural) (out []Change) {
	if j.emptied[0] || j.emptied[1] {
		return nil
	}
	for candidates := []*structural{s}; len(candidates) > 0; candidates = candidates[1:] {
		mine := candidates[0]
		other := j.first(1-half, mine.keys()[0])
		if other == nil || other.from != mine.from || other.to != mine.to || !j.free(half, mine) || !j.free(1-half, other) {
			continue
		}
		halves := [2]*structural{mine, other}
		if half == 1 {
			halves = [2]*structural{other, mine}
		}
		out = append(out, j.both(halves[0].change, halves[1].change))
		for i, done := range halves {
			j.done(i, done)
		}
		for _, key := range mine.keys() {
			if next := j.first(half, key); next != nil {
				candidates = append(candidates, next)
			}
		}
	}
	return out
}

func (j *joint) first(half int, key string) *structural {
	if list := j.waiting[half][key]; len(list) > 0 {
		return list[0]
	}
	return nil
}

// free says that no earlier change that is about its keys is waiting.
func (j *joint) free(half int, s *structural) bool {
	return !slices.ContainsFunc(s.keys(), func(key string) bool { return j.first(half, key) != s })
}

// done takes a change off that is free.
func (j *joint) done(half int, s *structural) {
	for _, key := range s.keys() {
		if rest := j.waiting[half][key][1:]; len(rest) > 0 {
			j.waiting[half][key] = rest
		} else {
			delete(j.waiting[half], key)
		}
	}
}

// left are the changes of a half that wait, in their order.
func (j *joint) left(half int) []*structural {
	found := map[*structural]bool{}
	for _, list := range j.waiting[half] {
		for _, s := range list {
			found[s] = true
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b *structural) int { return a.number - b.number })
}
