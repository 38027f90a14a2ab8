package apply

import (
	"encoding/binary"

	"strangler/migrate"
)

// bulkLeast is from how many rows on one statement over arrays costs less than
// one statement for each row.
const bulkLeast = 4

// arrangeLeast is from how many changes on it is worth to look for rows that are
// written together.
const arrangeLeast = 8

// stroke is one statement of a batch: a truncation, one change, or changes of one
// table, one kind and one form that are written together.
type stroke struct {
	kind    migrate.ChangeKind
	table   int
	changes []migrate.Change // one, but for a bulk
}

func (s stroke) bulk() bool { return len(s.changes) > 1 }

// arrange lays changes out in as few statements as are certain to end in the same
// rows as one by one, or to fail. Nothing but its own rows decides what a
// statement of the mover does to a table (no ordinary trigger and no foreign key
// fires), so that tables do not wait for one another, and changes of one key are
// written as what they come to. A failure says nothing yet: whoever gets it tries
// them one by one, which names the change or succeeds.
func arrange(writers []*Writer, changes []migrate.Change) []stroke {
	a := arrangement{writers: writers, phases: map[int]*phase{}}
	for _, c := range changes {
		if c.Kind == migrate.ChangeTruncate {
			a.closeAll()
			a.strokes = append(a.strokes, stroke{kind: c.Kind, changes: []migrate.Change{c}})
			continue
		}
		a.add(c)
	}
	a.closeAll()
	return a.strokes
}

type arrangement struct {
	writers []*Writer
	phases  map[int]*phase // by table
	order   []int          // tables with a phase, in the order of their first change
	strokes []stroke
}

// phase is changes of one table that may be written in the order deletes,
// updates, inserts: no two of them are about one key, but a delete and the insert
// behind it.
type phase struct {
	kind    migrate.ChangeKind // the only one that may be in it; 0: any
	found   map[string]int     // by key, where in outcomes
	changes []outcome
}

// outcome is what the changes of one key come to.
type outcome struct {
	change   migrate.Change
	replaces bool // an insert behind a delete of the same key
}

func (a *arrangement) add(c migrate.Change) {
	w := a.writers[c.Table]
	if c.Moved || c.Kind == migrate.ChangeUpdate && w.rewrites {
		// Two keys are in it, or a form of its own: by itself, between two phases.
		a.close(c.Table)
		a.strokes = append(a.strokes, stroke{kind: c.Kind, table: c.Table, changes: []migrate.Change{c}})
		return
	}
	p := a.phases[c.Table]
	if p != nil && !p.take(w, c) {
		a.close(c.Table)
		p = nil
	}
	if p == nil {
		p = &phase{found: map[string]int{}}
		if w.ordered {
			p.kind = c.Kind
		}
		p.take(w, c)
		a.phases[c.Table] = p
		a.order = append(a.order, c.Table)
	}
}

// take adds a change to the phase; false where it does not fit in.
func (p *phase) take(w *Writer, c migrate.Change) bool {
	if p.kind != 0 && p.kind != c.Kind {
		return false
	}
	key := w.keyOf(c)
	at, known := p.found[key]
	if !known {
		p.found[key] = len(p.changes)
		p.changes = append(p.changes, outcome{change: c})
		return true
	}
	o := &p.changes[at]
	before := o.change.Kind
	switch {
	case before == migrate.ChangeDelete && c.Kind == migrate.ChangeInsert:
		c.Key = o.change.Key
		o.change, o.replaces = c, true
	case before == migrate.ChangeUpdate && c.Kind == migrate.ChangeDelete, o.replaces && c.Kind == migrate.ChangeDelete:
		c.Key = o.change.Key
		o.change, o.replaces = c, false
	case before != migrate.ChangeDelete && c.Kind == migrate.ChangeUpdate:
		o.change.Values = merged(o.change.Values, c.Values)
	default:
		// A row that is inserted and deleted again must be seen to fit in between;
		// all else does not happen.
		return false
	}
	return true
}

// merged is a row's values after a second update, which may leave some out.
func merged(before, after []migrate.Value) []migrate.Value {
	values := make([]migrate.Value, len(after))
	for i, v := range after {
		if v.Unchanged {
			v = before[i]
		}
		values[i] = v
	}
	return values
}

// keyOf packs the key that finds a change's row, or that its new row has.
func (w *Writer) keyOf(c migrate.Change) string {
	var packed []byte
	add := func(v []byte) {
		packed = binary.AppendUvarint(packed, uint64(len(v)))
		packed = append(packed, v...)
	}
	for i, at := range w.keyAt {
		if c.Key != nil {
			add(c.Key[i])
		} else {
			add(c.Values[at].Text)
		}
	}
	return string(packed)
}

func (a *arrangement) closeAll() {
	for _, table := range a.order {
		a.close(table)
	}
	a.order = a.order[:0]
}

// close lays a table's phase out: deletes, then updates by what they set, then
// inserts.
func (a *arrangement) close(table int) {
	p := a.phases[table]
	if p == nil {
		return
	}
	delete(a.phases, table)
	var deletes, inserts []migrate.Change
	updates := map[string][]migrate.Change{}
	var forms []string
	for _, o := range p.changes {
		switch c := o.change; c.Kind {
		case migrate.ChangeDelete:
			deletes = append(deletes, c)
		case migrate.ChangeUpdate:
			form := a.writers[table].form(c)
			if updates[form] == nil {
				forms = append(forms, form)
			}
			updates[form] = append(updates[form], c)
		default:
			if o.replaces {
				deletes = append(deletes, migrate.Change{Kind: migrate.ChangeDelete, Table: table, Key: c.Key})
				c.Key = nil
			}
			inserts = append(inserts, c)
		}
	}
	a.write(table, migrate.ChangeDelete, deletes, true)
	for _, form := range forms {
		a.write(table, migrate.ChangeUpdate, updates[form], form != "")
	}
	a.write(table, migrate.ChangeInsert, inserts, true)
}

// write appends changes of one form, together where that may be and pays.
func (a *arrangement) write(table int, kind migrate.ChangeKind, changes []migrate.Change, together bool) {
	if together && len(changes) >= bulkLeast {
		a.strokes = append(a.strokes, stroke{kind: kind, table: table, changes: changes})
		return
	}
	for _, c := range changes {
		a.strokes = append(a.strokes, stroke{kind: kind, table: table, changes: []migrate.Change{c}})
	}
}
