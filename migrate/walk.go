package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"strangler/capability"
)

// place is how far a comparison of one direction has come: everything before the
// table, and in it everything up to the key, is compared. What was written there
// since is among the changed rows.
type place struct {
	table int
	after []string // nil: the table's beginning
}

// rewritesMost is how often in turn snapshots are taken again because a table was
// truncated or rewritten before it was read.
const rewritesMost = 20

// group compares tables of one direction from where v stands, in stretches of one
// position each.
func (v *verification) group(ctx context.Context, from capability.Side, pairs []Pair) error {
	d, ok := v.following.directions[from]
	if !ok {
		return ErrNotFollowing
	}
	all := mappings(pairs, from)
	if v.repair {
		all = wholes(all)
	}
	tries := 0
	for at := v.at(from); at.table < len(all); {
		before := *at
		err := v.stretch(ctx, d, all, at)
		if at.table > before.table {
			tries = 0
		}
		switch {
		case errors.Is(err, ErrRewritten) && tries < rewritesMost && ctx.Err() == nil:
			tries++ // a snapshot from before a truncation shows an empty table
		case v.yields(ctx, err):
		case err != nil && ctx.Err() != nil && (at.table > 0 || at.after != nil):
			return err // to be gone on with
		case err != nil:
			v.unknown()
			return err
		}
	}
	return nil
}

// yields waits for a moment where a reading has given way to somebody, and says so. It
// is begun again from where it stood, at another position.
func (v *verification) yields(ctx context.Context, err error) bool {
	var yielded *YieldedError
	if !errors.As(err, &yielded) {
		return false
	}
	v.mover.log.Info("a comparison gives way", "table", yielded.Relation.String(), "to", yielded.To)
	defer v.waits(yielded.Error())()
	return wait(ctx, nil, time.Now().Add(yieldPause)) == nil
}

// Making a snapshot at a known position waits for whoever writes, with the stream
// held. A repair has nothing else.
const (
	snapshotWait       = 10 * time.Second
	snapshotWaitRepair = 30 * time.Second
)

// stretch compares at one position, until the snapshots are too old or the tables
// are at their end. It moves at.
func (v *verification) stretch(ctx context.Context, d *direction, all []Mapping, at *place) (err error) {
	source, target, release, err := v.readers(ctx, d, at.table == 0 && at.after == nil)
	if err != nil {
		return err
	}
	defer release()
	defer func() { err = errors.Join(err, source.Close(), target.Close()) }()
	old := time.Now().Add(cmp.Or(v.mover.SnapshotAge, snapshotAge))
	for at.table < len(all) {
		m := all[at.table]
		extra, skipped := m.generated(v.mover.Document)
		skipped = append(skipped, m.lost()...)
		c := newComparison(m, d.from, extra)
		c.after = at.after
		last, err := v.pair(ctx, d, source, target, c, old)
		if err != nil {
			return err
		}
		if at.after == nil {
			for _, name := range skipped { // once, of a table that is divided
				if !slices.Contains(v.status.Skipped, name) {
					v.status.Skipped = append(v.status.Skipped, name)
				}
			}
		}
		if last != nil {
			at.after = last
			return context.Cause(ctx) // nil: the snapshots are too old
		}
		at.table, at.after = at.table+1, nil
	}
	return nil
}

// readers opens both sides, at the same position where the source has a snapshot for
// that, and else apart: a repair never does. What is to be released when they are
// closed keeps the stream where a repair has found it. With fresh set it is forgotten
// which rows have changed before.
func (v *verification) readers(ctx context.Context, d *direction, fresh bool) (source, target Reader, release func(), err error) {
	if v.apart == nil {
		hold, err := d.stream.Hold()
		if err != nil {
			return nil, nil, nil, err
		}
		source, target, err = v.snapshots(ctx, d, hold, fresh)
		switch {
		case err == nil && v.repair: // what is repaired is repaired at this position
			return source, target, hold.Release, nil
		case err == nil:
			hold.Release()
			v.status.Method = cmp.Or(v.status.Method, capability.BySnapshots)
			return source, target, func() {}, nil
		}
		hold.Release()
		if v.repair || !errors.Is(err, ErrNoSnapshot) || ctx.Err() != nil {
			return nil, nil, nil, err
		}
		v.apart = err
		v.status.Method, v.status.Reason = capability.ByRecheck, err.Error()
		v.mover.show(v.following, v.status)
	}
	source, target, err = v.snapshotsApart(ctx, d, fresh)
	return source, target, func() {}, err
}

// snapshots opens both sides at the same position.
func (v *verification) snapshots(ctx context.Context, d *direction, hold *Hold, fresh bool) (source, target Reader, err error) {
	wait := snapshotWait
	if v.repair {
		wait = snapshotWaitRepair
	}
	bounded, cancel := context.WithTimeout(ctx, wait)
	snapshot, err := d.capture.TemporarySnapshot(bounded)
	cancel()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }() // imported by then
	if source, err = d.source.OpenRows(ctx, snapshot.Name); err != nil {
		return nil, nil, err
	}
	if err = hold.At(ctx, snapshot.Position); err == nil {
		target, err = d.target.OpenRows(ctx, "")
	}
	if err != nil {
		return nil, nil, errors.Join(err, source.Close())
	}
	v.status.Position = snapshot.Position
	if fresh {
		v.forget(d)
	}
	return source, target, nil
}

// forget forgets which rows have changed.
func (v *verification) forget(d *direction) {
	for side, other := range v.following.directions {
		// The other direction has nothing of its own while its source is sealed. But
		// that of the owner has gone on when the copies are compared after it.
		if side == d.from || d.from == v.owner {
			other.stream.Changed().Reset()
		}
	}
}

// unknown gives up on counting single rows until the next verification.
func (v *verification) unknown() {
	for _, d := range v.following.directions {
		d.stream.Changed().Overflow()
	}
}

// pair compares one table, and repairs it where that is asked for.
func (v *verification) pair(ctx context.Context, d *direction, source, target Reader, c comparison, until time.Time) (last []string, err error) {
	if !v.repair && v.apart == nil {
		return v.table(ctx, source, target, c, until)
	}
	if !v.repair {
		return v.tableApart(ctx, d, source, target, c, until)
	}
	if c.mapping.Halves != nil {
		if err := unpaired(ctx, source, c.mapping); err != nil {
			return nil, err
		}
	}
	if c.repair, err = d.target.OpenRepair(ctx, v.mover.Document.Name, d.from, c.mapping); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.repair.Close()) }()
	c.read = new([2]int64)
	if last, err = v.table(ctx, source, target, c, time.Time{}); err == nil && last != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = errors.Join(shownWhole(ctx, source, c.from, c.source, c.read[0]), shownWhole(ctx, target, c.to, c.other, c.read[1]))
	}
	if err != nil {
		return nil, err
	}
	return nil, c.repair.Commit(ctx)
}

// shownWhole refuses to repair by a table of which not all rows were shown, in the order
// of its key, because an index is damaged: what the source has and does not show would
// be deleted from the target, and what the target does not show written twice.
func shownWhole(ctx context.Context, r Reader, of Selection, side capability.Side, shown int64) error {
	has, err := r.Count(ctx, of)
	if err != nil || has == shown {
		return err
	}
	tables, reindex := of.Relation.String(), "REINDEX TABLE "+of.Relation.SQL()
	if of.With != nil {
		tables, reindex = tables+" and "+of.With.Relation.String(), reindex+"; REINDEX TABLE "+of.With.Relation.SQL()
	}
	return fmt.Errorf("%s of the %s database: %d rows are there and %d are found by the index of the key, which is damaged; nothing is repaired by it: %s; then repair again", tables, side, has, shown, reindex)
}

// stopTime is how long a comparison that is told to stop waits for its next row,
// to know how far it has come.
const stopTime = time.Second

// table compares one table. It ends early when ctx does, and behind a time that is
// not zero; then it returns the last key that it has compared.
func (v *verification) table(ctx context.Context, source, target Reader, c comparison, until time.Time) (last []string, err error) {
	// Reading goes on for a moment when ctx ends, up to the end of a row.
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var stop atomic.Bool
	defer context.AfterFunc(ctx, func() {
		stop.Store(true)
		time.AfterFunc(stopTime, cancel)
	})()
	name := c.mapping.Pair.Legacy.Relation.String()
	sparing, hurry := context.WithCancel(ctx)
	defer hurry()
	var ask func(to string)
	if !v.repair { // which has nothing of a table before it has all of it
		ask = func(to string) {
			stop.Store(true)
			hurry()
			v.mover.log.Info("a comparison gives way", "table", name, "to", to)
		}
	}
	rows, count, told := v.status.Rows, v.status.Count, len(v.unequal)
	here, stopHere := ordered(reading, source, c.from, keyColumns(c.mapping.FromKey, c.mapping.From), c.after, ask)
	there, stopThere := ordered(reading, target, c.to, keyColumns(c.mapping.ToKey, c.mapping.To), c.after, ask)
	last, err = c.merge(here, there, func() bool {
		v.row(name)
		v.spare(sparing)
		return !stop.Load() && (until.IsZero() || v.status.Rows%128 != 0 || time.Now().Before(until))
	}, v.found)
	err = errors.Join(err, stopHere(), stopThere())
	if err != nil {
		// What is begun again is told again.
		v.status.Rows, v.status.Count, v.status.Mismatches = rows, count, slices.Clip(v.status.Mismatches[:told])
		v.unequal = slices.Clip(v.unequal[:told])
		return nil, fmt.Errorf("compare %s: %w", name, err)
	}
	return last, nil
}

// found notes a row that differs.
func (v *verification) found(row unequal) {
	v.status.Count++
	if len(v.unequal) < mismatchesShown {
		v.status.Mismatches, v.unequal = append(v.status.Mismatches, row.told), append(v.unequal, row)
	}
}

// ordered reads a table in a goroutine of its own. The returned function ends
// it, waits, and returns what went wrong, if the reading was not cut short.
func ordered(ctx context.Context, r Reader, from Selection, key []KeyColumn, after []string, ask func(to string)) (io.Reader, func() error) {
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := r.Ordered(ctx, writer, from, key, after, ask)
		writer.CloseWithError(err)
		done <- err
	}()
	return reader, func() error {
		// After a whole read this changes nothing; after half of one it ends the COPY.
		reader.CloseWithError(io.ErrClosedPipe)
		if err := <-done; err != nil && !errors.Is(err, io.ErrClosedPipe) {
			return err
		}
		return nil
	}
}

// spareRows is how many rows are compared between two looks at the strain of the
// databases.
const spareRows = 4096

// spare waits while a database is under strain. A repair does not: it keeps the
// stream waiting.
func (v *verification) spare(ctx context.Context) {
	if v.repair || v.status.Rows%spareRows != 0 {
		return
	}
	// Whoever ends ctx ends the comparison as well, by other means.
	_ = v.mover.throttle.wait(ctx, func(reason string) {
		v.status.Throttled = reason
		v.mover.show(v.following, v.status)
	})
	if v.status.Throttled != "" {
		v.status.Throttled = ""
		v.mover.show(v.following, v.status)
	}
}

func (v *verification) row(table string) {
	v.status.Rows++
	if v.status.Rows%1024 != 0 || time.Since(v.reported) < reportEvery {
		return
	}
	v.reported = time.Now()
	v.mover.show(v.following, v.status)
	if v.report != nil {
		v.report(capability.Progress{State: "started", Message: "comparing " + table, Done: v.status.Rows, Total: v.status.Total, Took: time.Since(v.began)})
	}
}
