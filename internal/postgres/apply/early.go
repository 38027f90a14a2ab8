package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
	"strangler/migrate"
)

// ApplyEarly makes changes true for their keys, whatever rows are there, and
// returns those that lack values for a row that is missing, in terms of the
// target. They go one by one:
// each statement says what it has found.
func (s *Session) ApplyEarly(ctx context.Context, changes []migrate.Change) (missing []migrate.Change, err error) {
	if changes, err = s.translate(ctx, changes); err != nil {
		return nil, err
	}
	err = s.guarded(ctx, func() error {
		missing = nil
		if err := s.forget(ctx); err != nil {
			return err
		}
		var steps []step
		for _, c := range changes {
			made, err := s.earlySteps(ctx, c, func(c migrate.Change) { missing = append(missing, c) })
			if err != nil {
				return err
			}
			steps = append(steps, made...)
		}
		return s.pipe(ctx, s.opened(steps))
	})
	return missing, err
}

// Fill inserts whole rows of the target where none has their key, and raises the horizon.
func (s *Session) Fill(ctx context.Context, rows []migrate.Change, horizon capability.Position) error {
	return s.guarded(ctx, func() error {
		var steps []step
		for _, c := range rows {
			sql, params := s.writers[c.Table].insert(c)
			made, err := s.rowStep(ctx, c, sql+s.writers[c.Table].onConflict(nil), params, nil)
			if err != nil {
				return err
			}
			steps = append(steps, made)
		}
		steps = append(steps, step{
			sql:    `UPDATE strangler.move SET horizon = greatest(horizon, $1::text::pg_lsn) WHERE capability = $2::text`,
			params: [][]byte{[]byte(horizon.String()), []byte(s.progress.Capability)},
			judge:  s.plain,
		})
		return s.pipe(ctx, s.opened(steps))
	})
}

// earlySteps are the statements that make one change true. A statement that may
// miss its row tells what is missing.
func (s *Session) earlySteps(ctx context.Context, c migrate.Change, missing func(migrate.Change)) (steps []step, err error) {
	add := func(sql string, params [][]byte, found func(int64)) {
		if err == nil {
			var made step
			made, err = s.rowStep(ctx, c, sql, params, found)
			steps = append(steps, made)
		}
	}
	if c.Kind == migrate.ChangeTruncate {
		return s.truncate(c), nil
	}
	w := s.writers[c.Table]
	if c.Kind == migrate.ChangeDelete || c.Moved {
		add("DELETE FROM "+w.table+w.whereKey(1), c.Key, nil)
	}
	if c.Kind == migrate.ChangeDelete {
		return steps, err
	}
	c = w.keyed(c)
	if slices.ContainsFunc(c.Values, func(v migrate.Value) bool { return v.Unchanged }) {
		sql, params := w.update(c)
		add(sql, params, func(affected int64) {
			if affected == 0 {
				missing(c)
			}
		})
		return steps, err
	}
	if w.rewrites { // no UPDATE may name all of its columns
		add("DELETE FROM "+w.table+w.whereKey(1), c.Key, nil)
	}
	sql, params := w.insert(c)
	add(sql+w.onConflict(w.settable()), params, nil)
	return steps, err
}

// keyed is a change as one of the row with its new key, which it sends whole.
func (w *Writer) keyed(c migrate.Change) migrate.Change {
	key := make([][]byte, len(w.keyAt))
	values := slices.Clone(c.Values)
	for i, at := range w.keyAt {
		if values[at].Unchanged { // then the old key was sent
			values[at] = migrate.Value{Text: c.Key[i]}
		}
		key[i] = values[at].Text
	}
	c.Key, c.Values, c.Moved = key, values, false
	return c
}

// settable are the columns outside of the key that an UPDATE may name.
func (w *Writer) settable() []string {
	var columns []string
	for i, name := range w.columns {
		if !w.fixed[i] && !slices.Contains(w.keyAt, i) {
			columns = append(columns, name)
		}
	}
	return columns
}

// onConflict ends an INSERT for which a row with the key may be there: the row
// takes the new values of the columns, or stays as it is where there are none.
func (w *Writer) onConflict(columns []string) string {
	key, set := make([]string, len(w.keyAt)), make([]string, len(columns))
	for i, at := range w.keyAt {
		key[i] = w.columns[at]
	}
	for i, name := range columns {
		set[i] = name + " = excluded." + name
	}
	if len(columns) == 0 {
		return " ON CONFLICT (" + strings.Join(key, ", ") + ") DO NOTHING"
	}
	return fmt.Sprintf(" ON CONFLICT (%s) DO UPDATE SET %s", strings.Join(key, ", "), strings.Join(set, ", "))
}

// rowStep is a statement about one row that need not find it.
func (s *Session) rowStep(ctx context.Context, c migrate.Change, sql string, params [][]byte, found func(int64)) (step, error) {
	name, err := s.prepare(ctx, sql)
	if err != nil {
		return step{}, s.explain(c, err)
	}
	return step{prepared: name, params: params, judge: func(affected int64, err error) error {
		if err != nil {
			return s.explain(c, err)
		}
		if found != nil {
			found(affected)
		}
		return nil
	}}, nil
}

// Merge is the statement that takes over rows of another table with the mapping's
// columns: rows that are there take their values.
func Merge(m migrate.Mapping, from string) string {
	w := newWriter(m, nil, false)
	columns := strings.Join(w.columns, ", ")
	return "INSERT INTO " + w.table + " (" + columns + ")" + w.overriding() + " SELECT " + columns + " FROM " + from + w.onConflict(w.settable())
}
