package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// translate turns changes as the source has sent them into changes of the
// target's columns. Of tables whose rows are the same on both sides they are that
// already. For the others the target is asked, many rows at once, what the source's
// values come to, and which rows are there for it: a row that an update brings
// into the mapping is inserted, one that leaves it is deleted, and what happens
// outside of it does not happen.
func (s *Session) translate(ctx context.Context, changes []migrate.Change) ([]migrate.Change, error) {
	if !slices.ContainsFunc(changes, func(c migrate.Change) bool { return s.translates(c) }) {
		return changes, nil
	}
	images := map[int]*images{}
	for i, c := range changes {
		for _, c := range ofSource(c) {
			if !s.reshapes(c) {
				continue
			}
			if images[c.Table] == nil {
				images[c.Table] = newImages(s.writers[c.Table].mapping)
			}
			images[c.Table].add(i, c)
		}
	}
	for table, w := range s.writers { // in order: an error is the same one every time
		if images[table] == nil {
			continue
		}
		if err := images[table].ask(ctx, s); err != nil {
			return nil, s.blame(ctx, w, images[table], changes, err)
		}
	}
	out := make([]migrate.Change, 0, len(changes))
	for i, c := range changes {
		switch {
		case c.Halves != nil:
			out = append(out, s.joined(i, c, images))
		case !s.translates(c):
			out = append(out, c)
		default:
			if c, ok := images[c.Table].change(i, c); ok {
				out = append(out, c)
			}
		}
	}
	return out, nil
}

// translates says whether a change is about a row that is another one here.
func (s *Session) translates(c migrate.Change) bool {
	return c.Halves != nil || s.reshapes(c)
}

// reshapes says whether the mapping of a change's table is to be asked.
func (s *Session) reshapes(c migrate.Change) bool {
	return c.Kind != migrate.ChangeTruncate && !s.writers[c.Table].mapping.Plain()
}

// images are the rows of one table before and after changes, as the source has
// them, and what they come to. They are known by the numbers of the changes.
type images struct {
	mapping migrate.Mapping
	taken   []string
	inputs  []int   // of the taken columns, those that are looked at
	of      [][]int // by computed column, those that it is computed from
	olds    []image
	news    map[string][]image // by what is computed of them
	forms   []string           // of news, in the order of their first image
	was     map[int]bool       // was there for the target before the change
	becomes map[int][][]byte   // is there after it, with what is computed, in order
}

type image struct {
	change int
	values []migrate.Value
}

func newImages(m migrate.Mapping) *images {
	im := &images{mapping: m, taken: m.Taken(), news: map[string][]image{}, was: map[int]bool{}, becomes: map[int][][]byte{}}
	im.of = make([][]int, len(m.Computed))
	for at, name := range im.taken {
		looked := m.Where != nil && slices.Contains(m.Where.Inputs, name)
		for i, c := range m.Computed {
			if slices.Contains(c.Inputs, name) {
				im.of[i], looked = append(im.of[i], at), true
			}
		}
		if looked {
			im.inputs = append(im.inputs, at)
		}
	}
	return im
}

func (im *images) add(change int, c migrate.Change) {
	if c.Old != nil {
		im.olds = append(im.olds, image{change, c.Old})
	}
	if c.Values == nil {
		return
	}
	form := im.form(c)
	if im.news[form] == nil {
		im.forms = append(im.forms, form)
	}
	im.news[form] = append(im.news[form], image{change, c.Values})
}

// form says of each column that is computed whether the change sets it: '0' where
// its inputs did not change and were not sent.
func (im *images) form(c migrate.Change) string {
	form := make([]byte, len(im.of))
	for i, inputs := range im.of {
		form[i] = '1'
		if slices.ContainsFunc(inputs, func(at int) bool { return c.Values[at].Unchanged }) { // then all of them are
			form[i] = '0'
		}
	}
	return string(form)
}

// ask has the target look at all images.
func (im *images) ask(ctx context.Context, s *Session) error {
	if im.mapping.Where != nil {
		err := im.query(ctx, s, im.olds, "", func(n int, _ [][]byte) { im.was[n] = true })
		if err != nil {
			return err
		}
	}
	for _, form := range im.forms {
		if err := im.query(ctx, s, im.news[form], form, func(n int, values [][]byte) { im.becomes[n] = values }); err != nil {
			return err
		}
	}
	return nil
}

// query looks at images of one form: found is called for those that the mapping's
// condition is true for, with what is computed of them.
func (im *images) query(ctx context.Context, s *Session, list []image, form string, found func(change int, values [][]byte)) error {
	if len(list) == 0 {
		return nil
	}
	if im.mapping.Where == nil && !strings.Contains(form, "1") {
		for _, i := range list {
			found(i.change, nil)
		}
		return nil
	}
	name, err := s.prepare(ctx, im.sql(form))
	if err != nil {
		return err
	}
	params := [][]byte{textArray(len(list), func(n int) []byte { return strconv.AppendInt(nil, int64(list[n].change), 10) })}
	for _, at := range im.inputs {
		params = append(params, textArray(len(list), func(n int) []byte { return list[n].values[at].Text }))
	}
	result := s.conn.PgConn().ExecPrepared(ctx, name, params, binaries(len(params)), nil).Read()
	if result.Err != nil {
		return result.Err
	}
	for _, row := range result.Rows {
		n, err := strconv.Atoi(string(row[0]))
		if err != nil {
			return fmt.Errorf("translate changes: number %q", row[0])
		}
		found(n, row[1:])
	}
	return nil
}

// sql is the statement for images of one form. The source's values become those
// of its columns' types, under the names of its columns, and nothing else is in
// sight of the expressions.
func (im *images) sql(form string) string {
	m := im.mapping
	arrays, names := []string{"$1::text[]"}, []string{"change"}
	columns, terms := []string{`u.change AS "strangler change"`}, []string{`s."strangler change"`}
	for i, at := range im.inputs {
		column, _ := m.From.Column(im.taken[at])
		typed := fmt.Sprintf("u.v%d::%s", i, column.Type)
		if column.Collation != "" {
			typed += " COLLATE " + column.Collation
		}
		arrays, names = append(arrays, fmt.Sprintf("$%d::text[]", i+2)), append(names, fmt.Sprintf("v%d", i))
		columns = append(columns, typed+" AS "+pgx.Identifier{column.Name}.Sanitize())
	}
	for i, c := range m.Computed {
		if form != "" && form[i] == '1' {
			terms = append(terms, "("+c.SQL+")")
		}
	}
	sql := "SELECT " + strings.Join(terms, ", ") + " FROM (SELECT " + strings.Join(columns, ", ") +
		" FROM unnest(" + strings.Join(arrays, ", ") + ") AS u (" + strings.Join(names, ", ") + ")) AS s"
	if m.Where != nil {
		sql += " WHERE (" + m.Where.SQL + ")"
	}
	return sql
}

// change is what a change comes to in the target; false: nothing.
func (im *images) change(n int, c migrate.Change) (migrate.Change, bool) {
	values, is := im.becomes[n]
	was := im.mapping.Where == nil || im.was[n]
	c.Old = nil
	switch {
	case c.Kind == migrate.ChangeInsert && !is, c.Kind == migrate.ChangeDelete && !was, c.Kind == migrate.ChangeUpdate && !was && !is:
		return c, false
	case c.Kind == migrate.ChangeDelete:
		return c, true
	case !is: // the update takes the row out
		return migrate.Change{Kind: migrate.ChangeDelete, Table: c.Table, Key: c.Key}, true
	}
	form := im.form(c)
	plain := len(im.mapping.FromColumns)
	out := slices.Clone(c.Values[:plain])
	for i := range im.mapping.Computed {
		if form[i] == '0' {
			out = append(out, migrate.Value{Unchanged: true})
			continue
		}
		out, values = append(out, migrate.Value{Text: values[0]}), values[1:]
	}
	c.Values = out
	if c.Kind == migrate.ChangeUpdate && !was { // the update brings the row in
		c.Kind, c.Key, c.Moved = migrate.ChangeInsert, nil, false
	}
	return c, true
}

// blame finds the change whose values an expression cannot be computed of. The
// transaction is lost: there is nothing to go on with.
func (s *Session) blame(ctx context.Context, w *Writer, all *images, changes []migrate.Change, err error) error {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) || refusal.Code[:2] != "22" && refusal.Code[:2] != "23" && refusal.Code[:2] != "42" && refusal.Code[:2] != "P0" {
		return fmt.Errorf("compute columns of %s: %w", w.mapping.To.Relation, sqlstate.Describe(err))
	}
	if err := s.say(ctx, "ROLLBACK"); err != nil {
		return err
	}
	s.open = false
	numbers := map[int]bool{}
	for _, list := range all.news {
		for _, i := range list {
			numbers[i.change] = true
		}
	}
	for _, i := range all.olds {
		numbers[i.change] = true
	}
	for n, c := range changes {
		if !numbers[n] {
			continue
		}
		for _, half := range c.Halves {
			if s.writers[half.Table] == w {
				c = half
			}
		}
		one := newImages(w.mapping)
		one.add(n, c)
		var why *pgconn.PgError
		if err := one.ask(ctx, s); errors.As(err, &why) {
			return s.unmapped(c, "what is computed of it, or where, fails: "+sqlstate.Discreet(why), said(why))
		}
	}
	return fmt.Errorf("compute columns of %s: %w", w.mapping.To.Relation, sqlstate.Describe(err))
}
