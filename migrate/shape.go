package migrate

import (
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// shapes turns the rows of one connection into changes of the target. It holds
// each relation as the source described it against the mapping that the stream
// was made with, and ends the stream where the two have parted.
type shapes struct {
	from     capability.Side
	mappings []Mapping
	commit   capability.Position // of the transaction that is being read
	// known are the relations, each as every mapping takes it: a table that is divided
	// between two has two.
	known map[uint32][]*fitted
	// written are the forms of rows of numbered relations.
	written map[form]*fitted
	// strange are relations without a mapping. They are described and then never
	// seen again where they are partitions, whose rows come as the root's.
	strange map[uint32]Relation
	// brief are the partitions whose old rows come with their key alone, whatever the
	// identity of their table is, under which they come; with that table. Its own
	// description comes right before each of theirs, and so is the last one then.
	brief map[uint32]briefly
	last  uint32 // relation with a mapping that was described last
}

// briefly is a partition whose old rows come with their key alone.
type briefly struct {
	root      uint32
	partition Relation
}

// form is how rows of a numbered relation were written: between which two forms of
// the table, how wide, and with how many columns.
type form struct {
	relation uint32
	table    int
	until    capability.Position
	width    int16
	count    int
}

// fitted is a relation that fits its mapping.
type fitted struct {
	shape   Shape
	table   int
	columns []int // of the columns that the mapping takes, where in the shape; below zero: they are younger
	key     []int // of the mapping's key columns, where in the shape
	keyAt   []int // of the mapping's key columns, where among the mapping's columns
	// inputs are, for each column that is computed, where what it is computed from
	// is among the columns that the mapping takes.
	inputs [][]int
	// younger are the values of columns that rows had not got yet, by their place
	// among the columns that the mapping takes.
	younger map[int]Value
}

func newShapes(from capability.Side, mappings []Mapping) *shapes {
	return &shapes{from: from, mappings: mappings, known: map[uint32][]*fitted{}, written: map[form]*fitted{}, strange: map[uint32]Relation{}, brief: map[uint32]briefly{}}
}

// learn takes a relation's description, at its first row or after a change.
func (s *shapes) learn(shape Shape) error {
	tables := s.mapped(shape)
	if len(tables) == 0 {
		s.strange[shape.ID] = shape.Relation
		delete(s.known, shape.ID)
		if delete(s.brief, shape.ID); !shape.whole() {
			s.brief[shape.ID] = briefly{root: s.last, partition: shape.Relation}
		}
		return nil
	}
	s.last = shape.ID
	list := make([]*fitted, len(tables))
	for i, table := range tables {
		f, err := s.learnAs(shape, table)
		if err != nil {
			return err
		}
		list[i] = f
	}
	s.known[shape.ID] = list
	return nil
}

func (s *shapes) learnAs(shape Shape, table int) (*fitted, error) {
	m := s.mappings[table]
	_, _, known := m.between(s.commit)
	if known && shape.Relation != m.From.Relation {
		return nil, s.changed(m, fmt.Sprintf("it is called %s now", shape.Relation))
	}
	numbers, err := s.number(shape, m)
	if err != nil {
		return nil, err
	}
	return s.fit(shape, table, numbers)
}

// mapped finds the mappings of a relation, which may have had another name.
func (s *shapes) mapped(shape Shape) []int {
	tables := s.indexes(func(m Mapping) bool { return m.From.ID != 0 && m.From.ID == shape.ID })
	if len(tables) == 0 {
		tables = s.indexes(func(m Mapping) bool { return m.From.Relation == shape.Relation })
	}
	return tables
}

func (s *shapes) indexes(is func(Mapping) bool) (list []int) {
	for i, m := range s.mappings {
		if is(m) {
			list = append(list, i)
		}
	}
	return list
}

// taken is a relation as one mapping takes it.
func (s *shapes) taken(relation uint32, table int) (*fitted, bool) {
	i := slices.IndexFunc(s.known[relation], func(f *fitted) bool { return f.table == table })
	if i < 0 {
		return nil, false
	}
	return s.known[relation][i], true
}

// number finds which columns of the source's table a description tells of.
func (s *shapes) number(shape Shape, m Mapping) ([]int16, error) {
	now := m.From
	before, after, known := m.between(s.commit)
	switch {
	case !now.numbered(), shape.ID != now.ID: // a partition has numbers of its own
		return s.byName(shape, m)
	case shape.Numbered: // as the catalog has it, whatever is read
		return s.exact(shape, m)
	case known:
		return s.exact(shape, m)
	}
	numbers, ok := byOrder(shape.Columns, before, after)
	if !ok {
		return nil, s.unknown(m)
	}
	return alive(numbers, now), nil
}

// alive takes out what was dropped since.
func alive(numbers []int16, now Table) []int16 {
	for i, n := range numbers {
		if _, ok := now.Numbered(n); !ok {
			numbers[i] = 0
		}
	}
	return numbers
}

func (s *shapes) unknown(m Mapping) error {
	return &HaltError{
		Reason: fmt.Sprintf("table %s was changed more than once on the %s side before its changes were read, so that some of them have columns that nobody can name", m.From.Relation, s.from),
		Mend:   "find and mend what differs with: strangler data repair",
	}
}

// exact numbers the columns of a description that must be the table as it is.
func (s *shapes) exact(shape Shape, m Mapping) ([]int16, error) {
	var numbers []int16
	rest := shape.Columns
	for _, c := range m.From.Columns {
		if c.Generated && (len(rest) == 0 || rest[0].Name != c.Name) {
			continue // it is not described by everybody
		}
		if len(rest) == 0 || rest[0].Name != c.Name || shape.Numbered && rest[0].Number != c.Number {
			_, err := s.byName(shape, m)
			if err == nil {
				err = s.changed(m, fmt.Sprintf("column %q is another one", c.Name))
			}
			return nil, err
		}
		if rest[0].Type != c.TypeID || rest[0].Modifier != c.Modifier {
			return nil, s.changed(m, fmt.Sprintf("the type of column %q is another one", c.Name))
		}
		numbers, rest = append(numbers, c.Number), rest[1:]
	}
	if len(rest) > 0 {
		return nil, s.changed(m, fmt.Sprintf("column %q was added or renamed", rest[0].Name))
	}
	if shape.Numbered && shape.Last != m.From.Last {
		return nil, s.changed(m, "columns were added and dropped")
	}
	return numbers, nil
}

// byName numbers columns of which nobody knows the numbers.
func (s *shapes) byName(shape Shape, m Mapping) ([]int16, error) {
	numbers := make([]int16, len(shape.Columns))
	for i, c := range shape.Columns {
		at := slices.IndexFunc(m.From.Columns, func(column Column) bool { return column.Name == c.Name })
		if at < 0 {
			return nil, s.changed(m, fmt.Sprintf("column %q was added or renamed", c.Name))
		}
		numbers[i] = m.From.number(at)
	}
	for _, name := range m.Taken() {
		if !slices.ContainsFunc(shape.Columns, func(c ShapeColumn) bool { return c.Name == name }) {
			return nil, s.changed(m, fmt.Sprintf("column %q was dropped or renamed", name))
		}
	}
	return numbers, nil
}

func (s *shapes) changed(m Mapping, what string) error {
	return &ChangedError{Table: m.From.Relation, Side: s.from, What: what}
}

// fit finds the mapping's columns among numbered ones.
func (s *shapes) fit(shape Shape, table int, numbers []int16) (*fitted, error) {
	m := s.mappings[table]
	f := &fitted{shape: shape, table: table, younger: map[int]Value{}}
	number := func(name string) int16 {
		return m.From.number(slices.IndexFunc(m.From.Columns, func(c Column) bool { return c.Name == name }))
	}
	for i, name := range m.Taken() {
		at := slices.Index(numbers, number(name))
		if at < 0 { // a column that was added later, with this in the rows that were there
			c, _ := m.From.Column(name)
			f.younger[i] = Value{}
			if c.Missing != nil {
				f.younger[i] = Value{Text: []byte(*c.Missing)}
			}
		}
		f.columns = append(f.columns, at)
	}
	for _, c := range m.Computed {
		f.inputs = append(f.inputs, m.positions(c.Inputs))
	}
	if old, ok := s.taken(shape.ID, table); ok {
		if err := s.sameTypes(old, f); err != nil {
			return nil, err
		}
	}
	return f, s.fitIdentity(f, func(name string) int { return slices.Index(numbers, number(name)) })
}

// sameTypes compares with the description before, where nobody has said what the
// types are.
func (s *shapes) sameTypes(before, now *fitted) error {
	m := s.mappings[now.table]
	if m.From.numbered() && m.From.ID == now.shape.ID {
		return nil
	}
	for i, name := range m.Taken() {
		a, b := before.shape.Columns[before.columns[i]], now.shape.Columns[now.columns[i]]
		if a.Type != b.Type || a.Modifier != b.Modifier {
			return s.changed(m, fmt.Sprintf("the type of column %q is another one", name))
		}
	}
	return nil
}

// as is the form of a relation that a row was written in.
func (s *shapes) as(f *fitted, r Row) (*fitted, error) {
	if !f.shape.Numbered {
		return f, nil
	}
	m := s.mappings[f.table]
	before, after, known := m.between(s.commit)
	is := form{relation: f.shape.ID, table: f.table, width: r.Width, count: max(len(r.Old), len(r.New))}
	if !known {
		is.until = s.until(m)
	}
	if w, ok := s.written[is]; ok {
		return w, nil
	}
	numbers, ok := byWidth(is.width, is.count, before, after)
	if !ok && known {
		return nil, s.changed(m, "a row has other columns")
	}
	if !ok {
		return nil, s.unknown(m)
	}
	shape := f.shape
	shape.Columns = make([]ShapeColumn, len(numbers))
	for i, n := range alive(numbers, m.From) {
		at := slices.IndexFunc(f.shape.Columns, func(c ShapeColumn) bool { return n != 0 && c.Number == n })
		if at >= 0 {
			shape.Columns[i] = f.shape.Columns[at]
		}
	}
	w, err := s.fit(shape, f.table, numbers)
	if err == nil {
		s.written[is] = w
	}
	return w, err
}

// until is the end of the time that the transaction is of.
func (s *shapes) until(m Mapping) capability.Position {
	for _, past := range m.Past {
		if s.commit < past.Until {
			return past.Until
		}
	}
	return 0
}

// fitIdentity makes sure that old rows come with the mapping's whole key.
func (s *shapes) fitIdentity(f *fitted, find func(name string) int) error {
	m := s.mappings[f.table]
	mend := fmt.Sprintf("restore the primary key (%v) and run ALTER TABLE %s REPLICA IDENTITY DEFAULT, then find and mend what was written meanwhile with: strangler data repair", m.FromKey, m.From.SQL())
	if m.From.KeyIndex != "" {
		mend = fmt.Sprintf("run ALTER TABLE %s REPLICA IDENTITY USING INDEX %s, then find and mend what was written meanwhile with: strangler data repair", m.From.SQL(), sqlName(m.From.KeyIndex))
	}
	whole := f.shape.Whole && m.From.KeyIndex != "" // whichever index it is
	for _, name := range m.FromKey {
		at := find(name)
		if at < 0 || !f.shape.Columns[at].Key && !whole {
			return s.halt(m.From.Relation, fmt.Sprintf("key column %q is not part of the replica identity any more", name), mend)
		}
		f.key = append(f.key, at)
		f.keyAt = append(f.keyAt, slices.Index(m.FromColumns, name))
	}
	if m.Where != nil && !f.shape.whole() {
		return s.halt(m.From.Relation, "its old rows do not come whole any more, so that nobody can tell which of them were to move", fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL, then find and mend what was written meanwhile with: strangler data repair", m.From.SQL()))
	}
	if f.shape.Identity == 'f' || whole { // then every column is flagged, and old rows come whole
		return nil
	}
	for i, c := range f.shape.Columns {
		if c.Key && !slices.Contains(f.key, i) {
			return s.halt(m.From.Relation, fmt.Sprintf("column %q has joined the replica identity", c.Name), mend)
		}
	}
	return nil
}

func (s *shapes) halt(relation Relation, why, mend string) error {
	return &HaltError{Reason: fmt.Sprintf("table %s has changed: %s", relation, why), Mend: mend}
}

// find returns the mappings of a relation that something has happened to.
func (s *shapes) find(id uint32) ([]*fitted, error) {
	if list, ok := s.known[id]; ok {
		return list, nil
	}
	if relation, ok := s.strange[id]; ok {
		return nil, s.halt(relation, "it is not among the tables of this move, or was renamed", "rename it back, then find and mend what was written meanwhile with: strangler data repair")
	}
	return nil, fmt.Errorf("read change stream: relation %d was not described", id)
}

// row turns a row into a change of each mapping that takes it.
func (s *shapes) row(r Row) ([]Change, error) {
	list, err := s.find(r.Relation)
	if err != nil {
		return nil, err
	}
	changes := make([]Change, len(list))
	for i, f := range list {
		if changes[i], err = s.change(f, r); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

func (s *shapes) change(f *fitted, r Row) (Change, error) {
	f, err := s.as(f, r)
	if err != nil {
		return Change{}, err
	}
	if err := f.whole(r); err != nil {
		return Change{}, err
	}
	whole := s.wholeOld(f, r)
	c := Change{Kind: ChangeKind(r.Kind), Table: f.table}
	if r.New != nil {
		c.Values = make([]Value, len(f.columns))
		for i, at := range f.columns {
			if at < 0 {
				c.Values[i] = f.younger[i]
				c.Values[i].Unchanged = r.Kind == Update
				continue
			}
			c.Values[i] = r.New[at]
			if c.Values[i].Unchanged && whole {
				c.Values[i] = r.Old[at]
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
		if mend := s.namesWhole(f); !whole && mend == "" {
			return Change{}, fmt.Errorf("read change stream: a row (%c) of %s came without its old values", r.Kind, f.shape.Relation)
		} else if !whole {
			return Change{}, s.halt(s.mappings[f.table].From.Relation, "an old row came without its values, so that nobody can tell whether it was to move",
				mend+", then find and mend what was written meanwhile with: strangler data repair")
		}
		c.Old = make([]Value, len(f.columns))
		for i, at := range f.columns {
			if at < 0 {
				c.Old[i] = f.younger[i]
				continue
			}
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
				s.namesWhole(f)+", then find and mend what differs with: strangler data repair")
		}
	}
	return nil
}

// wholeOld says whether a row has come with all of its old values. Those of a partition
// that tells of no more than keys look as if all others had been NULL.
func (s *shapes) wholeOld(f *fitted, r Row) bool {
	if r.Old == nil || !f.shape.whole() {
		return false
	}
	brief := false
	for _, b := range s.brief {
		brief = brief || b.root == f.shape.ID
	}
	if !brief {
		return true
	}
	for i, v := range r.Old {
		if v.Text != nil && !slices.Contains(f.key, i) {
			return true
		}
	}
	return false
}

// namesWhole are the statements by which old rows of a relation come whole.
func (s *shapes) namesWhole(f *fitted) string {
	var tables []Relation
	if !f.shape.whole() {
		tables = append(tables, s.mappings[f.table].From.Relation)
	}
	for _, b := range s.brief {
		if b.root == f.shape.ID {
			tables = append(tables, b.partition)
		}
	}
	slices.SortFunc(tables, func(a, b Relation) int { return strings.Compare(a.SQL(), b.SQL()) })
	return replicateWhole(tables)
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
	f, _ := s.taken(r.Relation, c.Table) // the change came from there
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
		list, err := s.find(id)
		if err != nil {
			return Change{}, err
		}
		for _, f := range list {
			c.Tables = append(c.Tables, f.table)
		}
	}
	return c, nil
}
