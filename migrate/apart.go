package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"strangler/capability"
)

// Without a snapshot at a known position, the sides are read at two moments: the
// source first, and the target when the stream has passed what was read. What is
// equal then is as it should be, as of the first moment. What differs is a row that
// was written in between, or a fault: it is read again, by its key, until one of the
// two is known.

// doubtsMost is how many rows of a table may be in doubt, which are kept in memory.
const doubtsMost = 500_000

// doubt is a row that was not the same at two moments.
type doubt struct {
	key      []string
	first    time.Time // when it was read again first; zero: not yet
	versions [2]string // that it had on either side when it was read last, while nothing was on its way
	since    time.Time // since when it has had those
}

// restless is for how many suspicions' time rows are read again that change all the
// time, and notCompared how many of them are named.
const (
	restless    = 3
	notCompared = 20
)

// snapshotsApart opens the source, and the target when it has everything that is seen
// there. The stream is not held.
func (v *verification) snapshotsApart(ctx context.Context, d *direction, fresh bool) (source, target Reader, err error) {
	if fresh {
		v.forget(d) // before the source is looked at: what comes from now on counts as changed
	}
	if source, err = d.source.OpenRows(ctx, ""); err != nil {
		return nil, nil, err
	}
	position, err := d.capture.Position(ctx)
	if err == nil {
		v.status.Position = position
		err = v.passed(ctx, d, position)
	}
	if err == nil {
		target, err = d.target.OpenRows(ctx, "")
	}
	if err != nil {
		return nil, nil, errors.Join(err, source.Close())
	}
	return source, target, nil
}

// passed waits for the stream, and says so.
func (v *verification) passed(ctx context.Context, d *direction, position capability.Position) error {
	defer v.waits(fmt.Sprintf("the stream has to pass %s first", position))()
	return d.recheck.passed(ctx, position)
}

// waits shows why the comparison does not go on, until the returned function is
// called.
func (v *verification) waits(reason string) (goesOn func()) {
	show := func(reason string) {
		v.status.Throttled = reason
		v.mover.show(v.following, v.status)
	}
	show(reason)
	return func() { show("") }
}

// verdict is what has become of doubts.
type verdict struct {
	differ []unequal
	hot    [][]string // keys of rows that never keep still
}

// tableApart is table between two moments: it compares what differs until all of it
// is decided. What it has found counts when that is so: one that is stopped before is
// gone on with at the beginning of this piece.
func (v *verification) tableApart(ctx context.Context, d *direction, source, target Reader, c comparison, until time.Time) (last []string, err error) {
	var doubts []doubt
	var found verdict
	rows := v.status.Rows
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	c.doubt = func(key []string) {
		if doubts = append(doubts, doubt{key: key}); len(doubts) > doubtsMost {
			giveUp(fmt.Errorf("more than %d rows of %s differ, or were written while they were read; a comparison at one position is not possible: %w", doubtsMost, c.mapping.From.Relation, v.apart))
		}
	}
	last, err = v.table(ctx, source, target, c, until)
	if err == nil && len(doubts) > doubtsMost {
		err = context.Cause(ctx)
	}
	for err == nil && len(doubts) > 0 {
		if doubts, err = v.decide(ctx, d, c, doubts, &found); err != nil || len(doubts) == 0 {
			break
		}
		goesOn := v.waits(fmt.Sprintf("%d rows of %s differed, and are read again", len(doubts), c.mapping.From.Relation))
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-time.After(recheckEvery):
		}
		goesOn()
	}
	if err == nil {
		err = v.conclude(d, c, found)
	}
	if err != nil {
		v.status.Rows = rows
		return nil, err
	}
	return last, nil
}

// conclude notes what has become of doubts.
func (v *verification) conclude(d *direction, c comparison, found verdict) error {
	for _, m := range found.differ {
		v.found(m)
	}
	for _, key := range found.hot {
		if err := v.postpone(d, c, key); err != nil {
			return err
		}
	}
	return nil
}

// decide reads rows again. It returns those about which nothing can be said yet. A
// row of the source that has the same version before and after the target was read,
// when the stream had passed it, must be there as it is. That its change is on its
// way all the same is possible where the log is ahead of what is visible: so nobody
// may have marked it to be changed, or both sides have to stay as they are for long.
func (v *verification) decide(ctx context.Context, d *direction, c comparison, doubts []doubt, found *verdict) (open []doubt, err error) {
	here, there := c.key, keyColumns(c.mapping.ToKey, c.mapping.To)
	for len(doubts) > 0 {
		batch := doubts[:min(len(doubts), recheckBatch)]
		doubts = doubts[len(batch):]
		before, err := d.source.ByKey(ctx, c.from, here, keysOf(batch))
		if err != nil {
			return nil, err
		}
		position, err := d.capture.Position(ctx)
		if err != nil {
			return nil, err
		}
		if err := v.passed(ctx, d, position); err != nil {
			return nil, err
		}
		target, err := d.target.ByKey(ctx, c.to, there, keysOf(batch))
		if err != nil {
			return nil, err
		}
		after, err := d.source.ByKey(ctx, c.from, here, keysOf(batch))
		if err != nil {
			return nil, err
		}
		now, suspicion := time.Now(), cmp.Or(v.mover.SuspectAge, suspectFor)
		for i, one := range batch {
			if one.first.IsZero() {
				one.first = now
			}
			same, versions := before[i].Version == after[i].Version, [2]string{before[i].Version, target[i].Version}
			switch {
			case equal(before[i], target[i]):
				continue
			case same && (after[i].Settled || one.versions == versions && !one.since.IsZero() && now.Sub(one.since) >= suspicion):
				found.differ = append(found.differ, unequal{mismatch(c.mapping, d.from, c.names, one.key, before[i], target[i]), c.mapping, one.key})
				continue
			case now.Sub(one.first) >= restless*suspicion:
				found.hot = append(found.hot, one.key)
				continue
			case !same:
				one.since = time.Time{}
			case one.since.IsZero() || one.versions != versions:
				one.versions, one.since = versions, now
			}
			open = append(open, one)
		}
	}
	return open, nil
}

// postpone leaves a row that never keeps still to those that have changed since the
// verification, and says so: a switch compares it when nobody writes.
func (v *verification) postpone(d *direction, c comparison, key []string) error {
	m := c.mapping
	table := slices.IndexFunc(d.mappings, func(o Mapping) bool {
		return o.From.Relation == m.From.Relation && o.To.Relation == m.To.Relation && o.Halves == nil
	})
	if table < 0 {
		return fmt.Errorf("no stream from %s has table %s", d.from, m.From.Relation)
	}
	d.stream.Changed().Return([]Key{{Table: table, Values: key}})
	v.postponed++
	const why = "written faster than it can be compared; left for the changed rows"
	if v.postponed <= notCompared {
		v.status.Skipped = append(v.status.Skipped, fmt.Sprintf("%s %s: %s", m.Pair.Legacy.Relation, keyText(c.key, key), why))
	} else if v.postponed == notCompared+1 {
		v.status.Skipped = append(v.status.Skipped, "more rows: "+why)
	}
	return nil
}

func keysOf(doubts []doubt) [][]string {
	keys := make([][]string, len(doubts))
	for i, one := range doubts {
		keys[i] = one.key
	}
	return keys
}
