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
	if len(nets[0].rows) == 0 && len(nets[1].rows) == 0 {
		return nil, nil
	}
	return j.settle(nets)
}

// net is what structural changes of a half come to: rows by the key that they had
// when the transaction's changes had been let through, and the one that they have.
type net struct {
	rows map[passage]Change
	list []passage // those of rows, in order
}

// passage is from one key to another; empty: the row is not there.
type passage struct{ from, to string }

func newNet(changes []*structural) *net {
	now := map[string]int{} // by present key, where in rows
	var rows []structural
	for _, s := range changes {
		at, known := now[s.from]
		if s.from == "" || !known {
			at, rows = len(rows), append(rows, structural{from: s.from})
		}
		row := &rows[at]
		delete(now, s.from)
		if s.to != "" {
			now[s.to] = at
		}
		c := s.change
		switch {
		case row.change.Values != nil && c.Values != nil:
			c.Values = over(row.change.Values, c.Values)
			c.Kind, c.Key = row.change.Kind, row.change.Key
		case row.change.Key != nil:
			c.Key = row.change.Key
		}
		row.to, row.change = s.to, c
	}
	n := &net{rows: map[passage]Change{}}
	for _, row := range rows {
		if row.from == "" && row.to == "" {
			continue // it came and went
		}
		c := row.change
		switch {
		case row.from == "":
			c.Kind, c.Key = ChangeInsert, nil
		case row.to == "":
			c.Kind, c.Values = ChangeDelete, nil
		default:
			c.Kind = ChangeUpdate
		}
		c.Moved = c.Kind == ChangeUpdate && row.from != row.to
		p := passage{row.from, row.to}
		n.rows[p], n.list = c, append(n.list, p)
	}
	return n
}

// take takes a row out.
func (n *net) take(from, to string) (Change, bool) {
	p := passage{from, to}
	c, ok := n.rows[p]
	delete(n.rows, p)
	return c, ok
}

// has says whether a row has made the passage.
func (n *net) has(from, to string) bool {
	_, ok := n.rows[passage{from, to}]
	return ok
}

// settle holds the halves against one another.
func (j *joint) settle(nets [2]*net) ([]Change, error) {
	var deletes, inserts, updates []Change
	var moves []moving
	add := func(p passage, a, b Change) {
		switch c := j.both(a, b); {
		case p.from == "":
			inserts = append(inserts, c)
		case p.to == "":
			deletes = append(deletes, c)
		case p.from == p.to:
			c.Moved = false
			updates = append(updates, c)
		default:
			moves = append(moves, moving{p, c})
		}
	}
	for _, p := range nets[0].list {
		if nets[1].has(p.from, p.to) {
			a, _ := nets[0].take(p.from, p.to)
			b, _ := nets[1].take(p.from, p.to)
			add(p, a, b)
		}
	}
	for half, n := range nets {
		for _, p := range n.list {
			switch {
			case p.from != "" && p.from == p.to: // away and back
				if c, ok := n.take(p.from, p.to); ok {
					updates = append(updates, j.update(half, c))
				}
			case p.to == "" && n.has(p.from, "") && n.has("", p.from): // deleted and inserted again
				gone, _ := n.take(p.from, "")
				c, _ := n.take("", p.from)
				c.Kind, c.Key = ChangeUpdate, gone.Key
				updates = append(updates, j.update(half, c))
			}
		}
	}
	// What has got another key in one half, and was deleted and inserted in the other.
	for half, n := range nets {
		other := nets[1-half]
		for _, p := range n.list {
			if p.from == "" || p.to == "" || !n.has(p.from, p.to) || !other.has(p.from, "") || !other.has("", p.to) {
				continue
			}
			pair := [2]Change{}
			pair[half], _ = n.take(p.from, p.to)
			gone, _ := other.take(p.from, "")
			pair[1-half], _ = other.take("", p.to)
			pair[1-half].Kind, pair[1-half].Key = ChangeUpdate, gone.Key
			add(p, pair[0], pair[1])
		}
	}
	for half, n := range nets {
		for _, p := range n.list {
			if c, ok := n.rows[p]; ok {
				return nil, j.lone(half, c)
			}
		}
	}
	ordered, err := j.inOrder(moves)
	return slices.Concat(deletes, ordered, inserts, updates), err
}

// moving is a row that gets another key.
type moving struct {
	passage
	change Change
}

// inOrder lays moves out so that each finds its new key free.
func (j *joint) inOrder(moves []moving) (changes []Change, err error) {
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
		if len(rest) == len(moves) {
			err := j.conflict(rest[0].change.Key)
			err.Detail = fmt.Sprintf("trades its key with another row, by way of other keys in %s than in %s", j.maps[0].From.Relation, j.maps[1].From.Relation)
			err.Mend = "let rows trade keys by way of the same ones in both tables; mend what differs with: strangler data repair"
			return nil, err
		}
		moves = rest
	}
	return changes, nil
}

// lone is the conflict of a half that stands alone.
func (j *joint) lone(half int, c Change) error {
	switch c.Kind {
	case ChangeInsert:
		return j.alone(half, j.becomes(half, c), "was inserted", "insert")
	case ChangeDelete:
		return j.alone(half, j.key(half, c.Key), "was deleted", "delete")
	}
	return j.alone(half, j.key(half, c.Key), "has got another key", "change")
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
