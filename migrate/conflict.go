package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"strangler/capability"
)

// Refused is the change of a ConflictError. It has values of rows, which may be
// secret: it goes to whoever asks for it by name, and into no message.
type Refused struct {
	Mapping Mapping
	Kind    ChangeKind // 0: it is about a row, and not known which of its changes
	Key     [][]byte   // in the order of the mapping's ToKey
	Values  []Value    // of the mapping's columns, then perhaps others; nil: a delete, or not known
	Said    string     // what the target's server has added to its refusal
}

// Conflict is the change at which a stream has ended, with the row as both sides have
// it now. It is false where no stream has.
func (m *Mover) Conflict(ctx context.Context) (capability.Conflict, bool, error) {
	m.mu.Lock()
	e := m.conflict
	m.mu.Unlock()
	if e == nil || e.Row == nil {
		return capability.Conflict{}, false, nil
	}
	r := e.Row
	from := r.Mapping.Side
	rows, err := m.both(ctx, *r)
	if err != nil {
		return capability.Conflict{}, false, fmt.Errorf("read the row of a conflict: %w", err)
	}
	found := capability.Conflict{From: from, Table: e.Table.String(), Change: r.verb(), Detail: e.Detail, Said: r.Said, Values: r.named(), Rows: rows}
	return found, true, nil
}

// both reads the row of a change, as both sides have it now, of the source first.
func (m *Mover) both(ctx context.Context, r Refused) ([]capability.Row, error) {
	from := r.Mapping.Side
	var rows []capability.Row
	was, becomes := r.Key, r.becomes()
	for _, side := range []capability.Side{from, from.Other()} {
		for _, at := range r.places(side) {
			for i, key := range [][][]byte{was, becomes} {
				if i > 0 && slices.EqualFunc(was, becomes, slices.Equal[[]byte]) {
					continue
				}
				row, err := m.shown(ctx, side, at, key)
				if err != nil {
					return nil, err
				}
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

// unequal is a row that a comparison has found to differ, with what it takes to read
// it again. Its key may be secret.
type unequal struct {
	told    capability.Mismatch
	mapping Mapping
	key     []string // as the mapping's FromKey
}

// Differences are the rows that the last comparison has told of, with their values as
// both sides have them now: a repair may have been at them, or a writer.
func (m *Mover) Differences(ctx context.Context) ([]capability.Difference, error) {
	m.mu.Lock()
	rows := m.unequal
	m.mu.Unlock()
	found := make([]capability.Difference, len(rows))
	for i, row := range rows {
		key := make([][]byte, len(row.key))
		for at, v := range row.key {
			key[at] = []byte(v)
		}
		both, err := m.both(ctx, Refused{Mapping: row.mapping, Key: key})
		if err != nil {
			return nil, fmt.Errorf("read a row that differed: %w", err)
		}
		found[i] = capability.Difference{Mismatch: row.told, Rows: both}
	}
	return found, nil
}

// clashed keeps the conflict that an error is, if it is one, for whoever asks for its
// rows.
func (m *Mover) clashed(err error) {
	var conflict *ConflictError
	errors.As(err, &conflict)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conflict = conflict
}

func (r *Refused) verb() string {
	switch r.Kind {
	case ChangeInsert:
		return "insert"
	case ChangeDelete:
		return "delete"
	case ChangeUpdate:
		return "update"
	}
	return "change"
}

// columns is how many of the values are certain to be the mapping's columns, in
// whichever form the change was refused: those that are computed may not be yet.
func (r *Refused) columns() int {
	if r.Mapping.Halves != nil {
		return min(len(r.Values), len(r.Mapping.ToColumns))
	}
	return min(len(r.Values), len(r.Mapping.FromColumns))
}

// named are the values that the change brings, under the target's names.
func (r *Refused) named() []capability.Field {
	var fields []capability.Field
	for i, v := range r.Values[:r.columns()] {
		if !v.Unchanged {
			fields = append(fields, field(r.Mapping.ToColumns[i], v.Text))
		}
	}
	return fields
}

// becomes is the key that the row has behind the change.
func (r *Refused) becomes() [][]byte {
	key := slices.Clone(r.Key)
	for i, name := range r.Mapping.ToKey {
		if at := slices.Index(r.Mapping.ToColumns, name); at >= 0 && at < r.columns() && !r.Values[at].Unchanged {
			key[i] = r.Values[at].Text
		}
	}
	return key
}

// keyed is a table in which a row is looked for: by its key columns, which are those
// of the mapping's key at these positions.
type keyed struct {
	table Table
	key   []string
	at    []int
}

// places are the tables of a side that have the row: two where its halves are there.
func (r *Refused) places(side capability.Side) []keyed {
	m := r.Mapping
	one := func(half Mapping) keyed {
		k := keyed{table: half.From, key: half.FromKey}
		for _, name := range half.ToKey {
			k.at = append(k.at, slices.Index(m.ToKey, name))
		}
		return k
	}
	switch {
	case side != m.Side:
		all := keyed{table: m.To, key: m.ToKey}
		for i := range m.ToKey {
			all.at = append(all.at, i)
		}
		return []keyed{all}
	case m.Halves != nil:
		return []keyed{one(m.Halves[0]), one(m.Halves[1])}
	}
	return []keyed{one(m)}
}

// shown reads a row with all its columns.
func (m *Mover) shown(ctx context.Context, side capability.Side, k keyed, key [][]byte) (capability.Row, error) {
	row := capability.Row{Side: side, Table: k.table.Relation.String()}
	values := make([]string, len(k.at))
	for i, at := range k.at {
		values[i] = string(key[at])
		row.Key = append(row.Key, field(k.key[i], key[at]))
	}
	var names []string
	for _, c := range k.table.Columns {
		names = append(names, c.Name)
	}
	found, err := m.databases[side].ByKey(ctx, Columns(k.table.Relation, names...), keyColumns(k.key, k.table), [][]string{values})
	if err != nil {
		return row, err
	}
	if row.There = found[0].Version != ""; row.There {
		for i, v := range found[0].Values {
			row.Values = append(row.Values, field(names[i], v))
		}
	}
	return row, nil
}

func field(name string, value []byte) capability.Field {
	f := capability.Field{Column: name}
	if value != nil {
		text := string(value)
		f.Value = &text
	}
	return f
}
