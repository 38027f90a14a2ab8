package migrate

import (
	"fmt"
	"slices"
)

// end makes of what is left of a transaction what it comes to.
func (j *joint) end() ([]Change, error) {
	defer j.forget()
	for half, emptied := range j.emptied {
		if emptied {
			return nil, j.alone(half, nil, "was truncated", "truncate")
		}
	}
	var nets [2]*net
	for half := range nets {
		nets[half] = newNet(j.left(half))
	}
	if len(nets[0].list) == 0 && len(nets[1].list) == 0 {
		return nil, nil
	}
	return j.settle(nets)
}

// net is what structural changes of a half come to.
type net struct {
	list []*passage
	// from and to find a row by the key that it had when the transaction's changes had
	// been let through, and by the one that it has.
	from, to map[string]*passage
}

// passage is a row on its way from one key to another; empty: it is not there.
type passage struct {
	from, to string
	change   Change
}

func newNet(changes []*structural) *net {
	now := map[string]*passage{} // by present key
	var rows []*passage
	for _, s := range changes {
		row, known := now[s.from]
		if s.from == "" || !known {
			row = &passage{from: s.from}
			rows = append(rows, row)
		}
		delete(now, s.from)
		if s.to != "" {
			now[s.to] = row
		}
		c := s.change
		switch {
		case row.change.Values != nil && c.Values != nil:
			c.Values = over(row.change.Values, c.Values)
			c.Key = row.change.Key
		case row.change.Key != nil:
			c.Key = row.change.Key
		}
		row.to, row.change = s.to, c
	}
	n := &net{from: map[string]*passage{}, to: map[string]*passage{}}
	for _, row := range rows {
		if row.from == "" && row.to == "" {
			continue // it came and went
		}
		n.list = append(n.list, row)
		if row.from != "" {
			n.from[row.from] = row
		}
		if row.to != "" {
			n.to[row.to] = row
		}
	}
	return n
}

// bound says that a row of the target is to be made of the one that had its old key:
// it has values that the source has not sent.
func (p *passage) bound() bool {
	return p.from != "" && slices.ContainsFunc(p.change.Values, func(v Value) bool { return v.Unchanged })
}

// settle holds the halves against one another. One half may have got another key
// where the other was deleted and inserted, or several such things one after another,
// when many transactions come as one: what counts is which keys there were and are,
// and of which old row of the target each new one can be made.
func (j *joint) settle(nets [2]*net) ([]Change, error) {
	for half, n := range nets {
		other := nets[1-half]
		for _, p := range n.list {
			if p.from != "" && n.to[p.from] == nil && !other.leaves(p.from) || p.to != "" && n.from[p.to] == nil && !other.takes(p.to) {
				return nil, j.lone(half, p)
			}
		}
	}
	origins, err := j.origins(nets)
	if err != nil {
		return nil, err
	}
	var deletes, inserts, updates []Change
	var moves []moving
	used := map[string]bool{}
	for _, key := range newKeys(nets) {
		from := origins[key]
		used[from] = true
		switch halves, err := j.made(nets, from, key); {
		case err != nil:
			return nil, err
		case from == "":
			inserts = append(inserts, j.both(halves[0], halves[1]))
		case from != key:
			moves = append(moves, moving{from, key, j.both(halves[0], halves[1])})
		case len(halves) == 1:
			updates = append(updates, j.update(slices.IndexFunc(nets[:], func(n *net) bool { return n.to[key] != nil }), halves[0]))
		default:
			c := j.both(halves[0], halves[1])
			c.Moved = false
			updates = append(updates, c)
		}
	}
	for _, p := range nets[0].list {
		if p.from == "" || used[p.from] {
			continue
		}
		deletes = append(deletes, j.gone(p.change.Key))
	}
	ordered, err := j.inOrder(moves)
	return slices.Concat(deletes, ordered, inserts, updates), err
}

// leaves says that no row has a key any more that one had; takes, that one has a key
// now that none had.
func (n *net) leaves(key string) bool { return n.from[key] != nil && n.to[key] == nil }
func (n *net) takes(key string) bool  { return n.to[key] != nil && n.from[key] == nil }

// newKeys are those of the rows that the halves have now, in order.
func newKeys(nets [2]*net) (keys []string) {
	for half, n := range nets {
		for _, p := range n.list {
			if p.to != "" && (half == 0 || nets[0].to[p.to] == nil) {
				keys = append(keys, p.to)
			}
		}
	}
	return keys
}

// origins chooses, for each new key, the old one of the row of the target that it is
// made of; empty: it is inserted. First what cannot be otherwise; then the keys that
// both halves have come from, or one; then its own.
func (j *joint) origins(nets [2]*net) (map[string]string, error) {
	origins, used := map[string]string{}, map[string]bool{}
	keys := newKeys(nets)
	use := func(key, from string) {
		if _, has := origins[key]; !has && from != "" && !used[from] {
			origins[key], used[from] = from, true
		}
	}
	for _, key := range keys {
		for half, n := range nets {
			p := n.to[key]
			from := key // it was left alone, and so the row is there
			switch {
			case p != nil && !p.bound():
				continue
			case p != nil:
				from = p.from
			}
			use(key, from)
			if origins[key] != from {
				if p == nil {
					half, p = 1-half, nets[1-half].to[key]
				}
				err := j.conflict(j.becomes(half, p.change))
				err.Detail = fmt.Sprintf("has got its key by way of other keys in table %s of the %s database than in %s", j.maps[0].From.Relation, j.side, j.maps[1].From.Relation)
				err.Mend = byTheSame
				return nil, err
			}
		}
	}
	came := func(key string, half int) string {
		if p := nets[half].to[key]; p != nil {
			return p.from
		}
		return ""
	}
	for _, key := range keys {
		if from := came(key, 0); from == came(key, 1) {
			use(key, from)
		}
	}
	for _, key := range keys {
		use(key, came(key, 0))
		use(key, came(key, 1))
	}
	for _, key := range keys {
		if nets[0].from[key] != nil || nets[1].from[key] != nil {
			use(key, key)
		}
	}
	return origins, nil
}

// made are the changes of the halves that make the row of a key of the one that had
// another. Only a row that keeps its key can lack one.
func (j *joint) made(nets [2]*net, from, key string) (halves []Change, err error) {
	for half, n := range nets {
		p := n.to[key]
		if p == nil {
			continue
		}
		c := p.change
		c.Kind, c.Key, c.Moved = ChangeInsert, nil, false
		if from != "" {
			old := n.from[from]
			if old == nil {
				return nil, j.lone(half, p)
			}
			c.Kind, c.Key, c.Moved = ChangeUpdate, old.change.Key, from != key
		}
		halves = append(halves, c)
	}
	return halves, nil
}

// gone is the deletion of a whole row, by the key of the first half.
func (j *joint) gone(key [][]byte) Change {
	return Change{Kind: ChangeDelete, Table: j.whole, Key: j.key(0, key)}
}

// moving is a row that gets another key.
type moving struct {
	from, to string
	change   Change
}

// byTheSame is what helps where rows cannot be followed.
const byTheSame = "let rows get and trade keys by way of the same ones in both tables; mend what differs with: strangler data repair"

// inOrder lays moves out so that each finds its new key free.
func (j *joint) inOrder(moves []moving) ([]Change, error) {
	var deletes, changes, inserts []Change
	taken := map[string]bool{}
	for _, m := range moves {
		taken[m.from] = true
	}
	for len(moves) > 0 {
		rest := moves[:0:0]
		for _, m := range moves {
			if taken[m.to] {
				rest = append(rest, m)
				continue
			}
			changes = append(changes, m.change)
			delete(taken, m.from)
		}
		if len(rest) == len(moves) { // they trade keys: one has to step aside
			at := slices.IndexFunc(rest, func(m moving) bool { return m.change.whole() })
			if at < 0 {
				err := j.conflict(rest[0].change.Key)
				err.Detail = fmt.Sprintf("trades its key with another row, by way of other keys in %s than in %s", j.maps[0].From.Relation, j.maps[1].From.Relation)
				err.Mend = byTheSame
				return nil, err
			}
			c := rest[at].change
			deletes = append(deletes, Change{Kind: ChangeDelete, Table: j.whole, Key: c.Key})
			inserts = append(inserts, c.inserted())
			delete(taken, rest[at].from)
			rest = slices.Delete(rest, at, at+1)
		}
		moves = rest
	}
	return slices.Concat(deletes, changes, inserts), nil
}

// whole says that a change of a whole row has all its values.
func (c Change) whole() bool {
	return !slices.ContainsFunc(c.Halves, func(half Change) bool {
		return slices.ContainsFunc(half.Values, func(v Value) bool { return v.Unchanged })
	})
}

// inserted is the insert of the row that a change leaves behind.
func (c Change) inserted() Change {
	c.Kind, c.Key, c.Moved = ChangeInsert, nil, false
	c.Halves = slices.Clone(c.Halves)
	for i := range c.Halves {
		half := &c.Halves[i]
		half.Kind, half.Key, half.Moved = ChangeInsert, nil, false
	}
	return c
}

// lone is the conflict of a half that stands alone.
func (j *joint) lone(half int, p *passage) error {
	switch {
	case p.from == "":
		return j.alone(half, j.becomes(half, p.change), "was inserted", "insert")
	case p.to == "":
		return j.alone(half, j.key(half, p.change.Key), "was deleted", "delete")
	}
	return j.alone(half, j.key(half, p.change.Key), "has got another key", "change")
}

func (j *joint) alone(half int, key [][]byte, what, verb string) error {
	one, other := j.maps[half].From.Relation, j.maps[1-half].From.Relation
	err := j.conflict(key)
	err.Detail = fmt.Sprintf("it %s in table %s of the %s database, and not in %s in the same transaction: the two are halves of one table of the %s database", what, one, j.side, other, j.side.Other())
	if key == nil {
		err.Key = "all of them"
		err.Detail = fmt.Sprintf("table %s of the %s database %s, and %s not in the same transaction: the two are halves of one table of the %s database", one, j.side, what, other, j.side.Other())
	}
	err.Mend = fmt.Sprintf("%s rows of %s and %s in one transaction; make both have the same keys now, then go on with: strangler data repair", verb, j.maps[0].From.Relation, j.maps[1].From.Relation)
	return err
}

func (j *joint) conflict(key [][]byte) *ConflictError {
	e := &ConflictError{Table: j.maps[0].To.Relation, Key: KeyHash(key)}
	if key != nil {
		e.Row = &Refused{Mapping: join(j.maps[0], j.maps[1]), Key: key}
	}
	return e
}
