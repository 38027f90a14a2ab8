package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/migrate"
)

// eventOverhead is the memory of an event besides its text, roughly.
const eventOverhead = 100

// batch is one transaction of the stream while its events are read. They come as
// they are asked for: of a large batch little is in memory.
type batch struct {
	to   tick
	sent time.Time
	rows pgx.Rows
	// truncated are relations that a run of events has emptied in one transaction,
	// and are to be emptied together: foreign keys may join them.
	truncated []uint32
	by        string // xid of that transaction
}

// batchSQL reads what tick $2 shows and tick $1 does not. What was in progress at
// $1 is looked for by number; everything else that is new began after it.
func batchSQL(name string) string {
	var parts []string
	for i := range 3 {
		for _, which := range []string{`xid >= pg_snapshot_xmax($1::text::pg_snapshot) AND xid < pg_snapshot_xmax($2::text::pg_snapshot)`,
			`xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot)))`} {
			parts = append(parts, `SELECT seq, xid, relation, op, before, after FROM `+events(i, name)+` WHERE `+which+` AND pg_visible_in_snapshot(xid, $2::text::pg_snapshot)`)
		}
	}
	return `SELECT op, relation, xid, before, after FROM (` + strings.Join(parts, " UNION ALL ") + `) e ORDER BY seq`
}

// begin opens the batch up to a tick. Its first event may take its time: it comes
// when all of them are sorted.
func (f *feed) begin(ctx context.Context, to tick, now time.Time) error {
	described := f.ready // which comes behind Begin
	f.ready = nil
	rows, err := f.conn.Query(ctx, batchSQL(f.box.name), pgx.QueryResultFormats{pgx.TextFormatCode}, f.at.snapshot, to.snapshot)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	f.batch = &batch{to: to, sent: now, rows: rows}
	// The events are of the time since there was nothing, the last look or the last
	// tick: what is older than that is no lag.
	f.give(migrate.Begin{Commit: to.position - 1, Time: f.quiet}, now, 0)
	f.ready = append(f.ready, described...)
	return nil
}

// readOn makes the next events of the batch ready, or its end.
func (f *feed) readOn() error {
	b := f.batch
	for len(f.ready) == 0 {
		if !b.rows.Next() {
			return f.finish()
		}
		raw := b.rows.RawValues() // valid until the next row
		if len(raw) != 5 || len(raw[0]) != 1 {
			return errors.New("an event is not as it should be")
		}
		if err := f.event(raw[0][0], raw); err != nil {
			return err
		}
	}
	return nil
}

func (f *feed) finish() error {
	b := f.batch
	f.batch = nil
	if err := b.rows.Err(); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	f.flushTruncated(b)
	f.give(migrate.Commit{Commit: b.to.position - 1, End: b.to.position}, b.sent, 0)
	f.at, f.quiet = b.to, b.to.made
	return nil
}

// event turns one row of a table of events into events of the stream.
func (f *feed) event(op byte, raw [][]byte) error {
	b := f.batch
	if op == 'M' {
		f.flushTruncated(b)
		f.give(migrate.Message{Prefix: "strangler", Content: string(raw[4])}, b.sent, len(raw[4]))
		return nil
	}
	number, err := strconv.ParseUint(string(raw[1]), 10, 32)
	if err != nil {
		return fmt.Errorf("read events: relation %q", raw[1])
	}
	relation := uint32(number)
	shape, known := f.shapes[relation]
	if !known {
		return f.halt(fmt.Sprintf("has a change of a table that is not there any more (%d)", relation))
	}
	if op == 'T' {
		return f.truncate(relation, shape, string(raw[2]))
	}
	f.flushTruncated(b)
	row := migrate.Row{Kind: migrate.RowKind(op), Relation: relation}
	if row.Old, row.Width, err = f.values(shape, raw[3]); err == nil && raw[4] != nil {
		row.New, row.Width, err = f.values(shape, raw[4])
	}
	f.give(row, b.sent, len(raw[3])+len(raw[4])+eventOverhead)
	return err
}

// values reads one image of a row, and how wide the table was when it was written,
// dropped columns included. Nil is none. Whoever gets it knows what such rows of a
// numbered shape were like; of others it must be as the catalog is.
func (f *feed) values(shape migrate.Shape, text []byte) ([]migrate.Value, int16, error) {
	if text == nil {
		return nil, 0, nil
	}
	begin := max(bytes.IndexByte(text, '('), 0)
	var width int64
	var err error
	if begin > 0 { // an earlier version has not written it
		width, err = strconv.ParseInt(string(text[:begin]), 10, 16)
	}
	var values []migrate.Value
	if err == nil {
		values, err = parseRecord(slices.Clone(text[begin:]))
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read a row of %s: %w", shape.Relation, err)
	}
	if !shape.Numbered && len(values) != len(shape.Columns) {
		return nil, 0, f.altered(shape.Relation)
	}
	return values, int16(width), nil
}

func (f *feed) altered(relation migrate.Relation) error {
	return &migrate.HaltError{
		Reason: fmt.Sprintf("columns of table %s in the %s database were dropped, added or exchanged while changes of it waited", relation, f.box.host.Side),
		Mend:   "make the tables of both sides the same, then find and mend what differs with: strangler data repair " + f.box.name,
	}
}

// truncate adds to a run of truncations. A partition is emptied with its root, or
// else there is no word for it: the other side has one table.
func (f *feed) truncate(relation uint32, shape migrate.Shape, xid string) error {
	b := f.batch
	if b.by != xid {
		f.flushTruncated(b)
	}
	b.by = xid
	with := func(other uint32) bool { return f.shapes[other].Relation == shape.Relation }
	switch {
	case slices.ContainsFunc(b.truncated, with):
		return nil
	case f.roots[relation] != relation:
		return &migrate.HaltError{
			Reason: fmt.Sprintf("one partition of table %s in the %s database was truncated, which cannot be done to the other side's table", shape.Relation, f.box.host.Side),
			Mend:   "find and mend the rows with: strangler data repair " + f.box.name + "; delete rows instead of truncating a partition",
		}
	}
	b.truncated = append(b.truncated, relation)
	return nil
}

func (f *feed) flushTruncated(b *batch) {
	if len(b.truncated) > 0 {
		f.give(migrate.Truncate{Relations: b.truncated}, b.sent, 0)
	}
	b.truncated, b.by = nil, ""
}

// describe reads the columns of the captured tables and makes ready what is new.
// Batches are read after they were written, so columns that have changed since may
// be those of later events: rows tell how wide they are. The columns of a partition
// have numbers of their own, so that whatever a stream cannot follow halts it.
func (f *feed) describe(ctx context.Context, now time.Time) error {
	rows, err := f.conn.Query(ctx, `
		SELECT c.root, c.relation, n.nspname::text, r.relname::text, r.relnatts, a.attname::text, a.attnum, a.atttypid, a.atttypmod,
		       coalesce(a.attnum = ANY (i.indkey::int2[]), false)
		FROM strangler.captured($1) c JOIN pg_class r ON r.oid = c.root JOIN pg_namespace n ON n.oid = r.relnamespace
		JOIN pg_attribute a ON a.attrelid = c.relation AND a.attnum > 0 AND NOT a.attisdropped
		LEFT JOIN pg_index i ON i.indrelid = c.relation AND i.indisprimary ORDER BY c.relation, a.attnum`, f.box.name)
	if err != nil {
		return fmt.Errorf("describe captured tables: %w", err)
	}
	shapes, roots, numbers := map[uint32]migrate.Shape{}, map[uint32]uint32{}, map[uint32][]int16{}
	var root, id uint32
	var relation migrate.Relation
	var c migrate.ShapeColumn
	var last, number int16
	_, err = pgx.ForEachRow(rows, []any{&root, &id, &relation.Schema, &relation.Name, &last, &c.Name, &number, &c.Type, &c.Modifier, &c.Key}, func() error {
		s := shapes[id]
		s.ID, s.Relation, s.Identity, s.Whole = id, relation, 'd', true
		if s.Numbered = id == root; s.Numbered {
			s.Last, c.Number = last, number
		} else {
			s.Last, c.Number = 0, 0
		}
		s.Columns = append(s.Columns, c)
		shapes[id], roots[id] = s, root
		numbers[id] = append(numbers[id], number)
		return nil
	})
	if err != nil {
		return fmt.Errorf("describe captured tables: %w", err)
	}
	for id, s := range shapes {
		before, known := f.shapes[id]
		if known && before.Relation == s.Relation && before.Last == s.Last && slices.Equal(before.Columns, s.Columns) && slices.Equal(f.numbers[id], numbers[id]) {
			continue
		}
		if known && !s.Numbered && exchanged(before, s, f.numbers[id], numbers[id]) {
			return f.altered(s.Relation)
		}
		f.give(s, now, 0)
	}
	for id, s := range f.shapes {
		if _, still := shapes[id]; !still {
			shapes[id], roots[id], numbers[id] = s, f.roots[id], f.numbers[id] // dropped since: events of it may wait
		}
	}
	f.shapes, f.roots, f.numbers = shapes, roots, numbers
	return nil
}

// exchanged says that a name means another column than before. What a stream is
// told of columns does not show that.
func exchanged(before, now migrate.Shape, was, is []int16) bool {
	for i, c := range now.Columns {
		at := slices.IndexFunc(before.Columns, func(b migrate.ShapeColumn) bool { return b.Name == c.Name })
		if at >= 0 && was[at] != is[i] {
			return true
		}
	}
	return false
}
