package migrate

import (
	"fmt"
	"slices"

	"strangler/capability"
)

// shapes turns the rows of one connection into changes of the target. It holds
// each relation as the source described it against the mapping that the stream
// was made with, and halts the stream where the two have parted.
type shapes struct {
	from     capability.Side
	mappings []Mapping
	known    map[uint32]*fitted
	// strange are relations without a mapping. They are described and then never
	// seen again where they are partitions, whose rows come as the root's.
	strange map[uint32]Relation
}

// fitted is a relation that fits its mapping.
type fitted struct {
	shape   Shape
	table   int
	columns []int // of the columns that the mapping takes, where in the shape
	key     []int // of the mapping's key columns, where in the shape
	keyAt   []int // of the mapping's key columns, where among the mapping's columns
	// inputs are, for each column that is computed, where what it is computed from
	// is among the columns that the mapping takes.
	inputs [][]int
}

func newShapes(from capability.Side, mappings []Mapping) *shapes {
	return &shapes{from: from, mappings: mappings, known: map[uint32]*fitted{}, strange: map[uint32]Relation{}}
}

// learn takes a relation's description, at its first row or after a change.
func (s *shapes) learn(shape Shape) error {
	table := slices.IndexFunc(s.mappings, func(m Mapping) bool { return m.From.Relation == shape.Relation })
	if table < 0 {
		s.strange[shape.ID] = shape.Relation
		delete(s.known, shape.ID)
		return nil
	}
	f := &fitted{shape: shape, table: table}
	if err := s.fitColumns(f); err != nil {
		return err
	}
	if err := s.fitIdentity(f); err != nil {
		return err
	}
	s.known[shape.ID] = f
	return nil
}

// fitColumns finds the mapping's columns in the shape. A column that was added
// or dropped since the move began would be lost or end as NULL.
func (s *shapes) fitColumns(f *fitted) error {
	m := s.mappings[f.table]
	for _, c := range f.shape.Columns {
		if _, ok := m.From.Column(c.Name); !ok {
			return s.halt(m.From.Relation, fmt.Sprintf("column %q was added or renamed on the %s side", c.Name, s.from),
				"add it on the other side as well and start over with `strangler data reset`, or drop it again")
		}
	}
	for _, name := range m.Taken() {
		at := slices.IndexFunc(f.shape.Columns, func(c ShapeColumn) bool { return c.Name == name })
		if at < 0 {
			return s.halt(m.From.Relation, fmt.Sprintf("column %q was dropped or renamed on the %s side", name, s.from),
				"drop it on the other side as well and start over with `strangler data reset`")
		}
		f.columns = append(f.columns, at)
	}
	for _, c := range m.Computed {
		f.inputs = append(f.inputs, m.positions(c.Inputs))
	}
	for _, old := range s.known {
		if old.table == f.table {
			return s.sameTypes(old, f)
		}
	}
	return nil
}

// sameTypes compares with the description before. A change of type rewrites the
// table, and rewritten rows are in no stream.
func (s *shapes) sameTypes(before, now *fitted) error {
	m := s.mappings[now.table]
	for i, name := range m.Taken() {
		a, b := before.shape.Columns[before.columns[i]], now.shape.Columns[now.columns[i]]
		if a.Type != b.Type || a.Modifier != b.Modifier {
			return s.halt(m.From.Relation, fmt.Sprintf("the type of column %q was changed on the %s side", name, s.from),
				"change it on the other side as well and start over with `strangler data reset`")
		}
	}
	return nil
}

// fitIdentity makes sure that old rows come with the mapping's whole key.
func (s *shapes) fitIdentity(f *fitted) error {
	m := s.mappings[f.table]
	mend := fmt.Sprintf("restore the primary key (%v) and run ALTER TABLE %s REPLICA IDENTITY DEFAULT, then start over with `strangler data reset`", m.FromKey, m.From.Relation)
	if m.From.KeyIndex != "" {
		mend = fmt.Sprintf("run ALTER TABLE %s REPLICA IDENTITY USING INDEX %s, then start over with `strangler data reset`", m.From.Relation, m.From.KeyIndex)
	}
	whole := f.shape.Whole && m.From.KeyIndex != "" // whichever index it is
	for _, name := range m.FromKey {
		at := slices.IndexFunc(f.shape.Columns, func(c ShapeColumn) bool { return c.Name == name })
		if at < 0 || !f.shape.Columns[at].Key && !whole {
			return s.halt(m.From.Relation, fmt.Sprintf("key column %q is not part of the replica identity any more", name), mend)
		}
		f.key = append(f.key, at)
		f.keyAt = append(f.keyAt, slices.Index(m.FromColumns, name))
	}
	if m.Where != nil && !f.shape.whole() {
		return s.halt(m.From.Relation, "its old rows do not come whole any more, so that nobody can tell which of them were to move", fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL, then start over with `strangler data reset`", m.From.SQL()))
	}
	if f.shape.Identity == 'f' || whole { // then every column is flagged, and old rows come whole
		return nil
	}
	for _, c := range f.shape.Columns {
		if c.Key && !slices.Contains(m.FromKey, c.Name) {
			return s.halt(m.From.Relation, fmt.Sprintf("column %q has joined the replica identity", c.Name), mend)
		}
	}
	return nil
}

func (s *shapes) halt(relation Relation, why, mend string) error {
	return &HaltError{Reason: fmt.Sprintf("table %s has changed: %s", relation, why), Mend: mend}
}

// find returns the mapping of a relation that something has happened to.
func (s *shapes) find(id uint32) (*fitted, error) {
	if f, ok := s.known[id]; ok {
		return f, nil
	}
	if relation, ok := s.strange[id]; ok {
		return nil, s.halt(relation, "it is not among the tables of this move, or was renamed", "rename it back, or take the changed tables up with `strangler data reset`")
	}
	return nil, fmt.Errorf("read change stream: relation %d was not described", id)
}

// row turns a row into a change.
func (s *shapes) row(r Row) (Change, error) {
	f, err := s.find(r.Relation)
	if err != nil {
		return Change{}, err
	}
	if err := f.whole(r); err != nil {
		return Change{}, err
	}
	c := Change{Kind: ChangeKind(r.Kind), Table: f.table}
	if r.New != nil {
		c.Values = make([]Value, len(f.columns))
		for i, at := range f.columns {
			c.Values[i] = r.New[at]
			if c.Values[i].Unchanged && f.shape.whole() && r.Old != nil {
				c.Values[i] = r.Old[at] // the old row came whole
			}
		}
	}
	if err := f.complete(c, s); err != nil {
		return Change{}, err
	}
	if r.Kind != Insert {
		identity := r.Old
		if identity == nil {
			identity = r.New // the update left the key alone
		}
		if c.Key, err = f.keyOf(identity); err != nil {
			return Change{}, err
		}
	}
	if r.Kind == Update {
		c.Moved = f.moved(c)
	}
	if s.mappings[f.table].Where != nil && r.Kind != Insert {
		if r.Old == nil {
			return Change{}, fmt.Errorf("read change stream: a row (%c) of %s came without its old values", r.Kind, f.shape.Relation)
		}
		c.Old = make([]Value, len(f.columns))
		for i, at := range f.columns {
			c.Old[i] = r.Old[at]
		}
	}
	return c, nil
}

// complete makes sure that what is computed of an update is computed of all of its
// inputs, or left alone with all of them.
func (f *fitted) complete(c Change, s *shapes) error {
	m := s.mappings[f.table]
	for i, inputs := range f.inputs {
		unchanged := 0
		for _, at := range inputs {
			if c.Values != nil && c.Values[at].Unchanged {
				unchanged++
			}
		}
		if unchanged > 0 && unchanged < len(inputs) {
			return s.halt(m.From.Relation, fmt.Sprintf("an update came without large values that %q is computed from (%v)", m.Computed[i].Column, m.Computed[i].Inputs),
				fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL, then start over with `strangler data reset`", m.From.SQL()))
		}
	}
	return nil
}

// whole makes sure that the row came with the tuples of its kind, and these with
// all columns.
func (f *fitted) whole(r Row) error {
	fits := func(tuple []Value, may bool) bool { return may && tuple == nil || len(tuple) == len(f.shape.Columns) }
	if !fits(r.New, r.Kind == Delete) || !fits(r.Old, r.Kind != Delete) {
		return fmt.Errorf("read change stream: a row (%c) of %s came with %d old and %d new values for %d columns", r.Kind, f.shape.Relation, len(r.Old), len(r.New), len(f.shape.Columns))
	}
	if r.Kind == Insert && slices.ContainsFunc(r.New, func(v Value) bool { return v.Unchanged }) {
		return fmt.Errorf("read change stream: a new row of %s came without one of its values", f.shape.Relation)
	}
	return nil
}

func (f *fitted) keyOf(tuple []Value) ([][]byte, error) {
	key := make([][]byte, len(f.key))
	for i, at := range f.key {
		if tuple[at].Text == nil {
			return nil, fmt.Errorf("read change stream: a row of %s came without its key column %q", f.shape.Relation, f.shape.Columns[at].Name)
		}
		key[i] = tuple[at].Text
	}
	return key, nil
}

// moved says whether the new row has another key than the old one.
func (f *fitted) moved(c Change) bool {
	for i, at := range f.keyAt {
		if v := c.Values[at]; !v.Unchanged && string(v.Text) != string(c.Key[i]) {
			return true
		}
	}
	return false
}

// keys are the rows that a change touches, packed for Changed: the row as it was
// and, where the key moves, as it becomes.
func (s *shapes) keys(c Change, r Row) []string {
	f := s.known[r.Relation]
	if c.Kind == ChangeDelete || c.Kind == ChangeUpdate && !c.Moved {
		return []string{packKey(c.Table, c.Key)}
	}
	becomes := make([][]byte, len(f.keyAt))
	for i, at := range f.keyAt {
		if v := c.Values[at]; v.Unchanged && c.Key != nil {
			becomes[i] = c.Key[i]
		} else {
			becomes[i] = v.Text
		}
	}
	if c.Kind == ChangeInsert {
		return []string{packKey(c.Table, becomes)}
	}
	return []string{packKey(c.Table, c.Key), packKey(c.Table, becomes)}
}

// truncate turns a truncation into a change of all its tables.
func (s *shapes) truncate(t Truncate) (Change, error) {
	c := Change{Kind: ChangeTruncate}
	for _, id := range t.Relations {
		f, err := s.find(id)
		if err != nil {
			return Change{}, err
		}
		c.Tables = append(c.Tables, f.table)
	}
	return c, nil
}
