package migrate

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"strangler/capability"
)

// Workers is how many chunks are copied at a time: each keeps one core of either
// database busy, and has a replication origin of its own.
const Workers = 2

const (
	// snapshotAge is how old a snapshot becomes: no vacuum of the source's database
	// removes a row version that it could see.
	snapshotAge = 30 * time.Minute
	pingEvery   = 5 * time.Second // the session that holds the snapshot
	yieldPause  = time.Second     // before a chunk that gave way is tried again
	reopenTime  = time.Minute     // for a source that starts anew
)

// errOld ends the use of a snapshot.
var errOld = errors.New("the backfill's snapshot is old")

// filling is one run of a backfill, under one snapshot after the other.
type filling struct {
	mover   *Mover
	pairs   []Pair
	tables  []Mapping
	move    Move
	writers []Writer
	tally   *tally
	pace    *pace
	age     time.Duration // of a snapshot, at most
	bytes   int64         // of a chunk, about
}

// first begins a move: it returns the snapshot of its new stream, and where the
// move stands then. The writer is for clearing the tables.
type first func(ctx context.Context, w Writer) (Anchor, Move, error)

// backfill copies every chunk that is not finished yet, from the stream's snapshot
// if it is the first run, and otherwise, or when that is lost, from new ones: as
// long as the stream is there, nothing of what is finished is copied again. It
// returns where the move stands.
func (m *Mover) backfill(ctx context.Context, l layout, move Move, begin first) (_ Move, err error) {
	f := &filling{mover: m, pairs: l.pairs, tables: wholes(mappings(l.pairs, capability.Legacy)), move: move, age: cmp.Or(m.SnapshotAge, snapshotAge), bytes: cmp.Or(m.ChunkBytes, chunkBytes),
		tally: &tally{started: time.Now(), limited: m.Document.Data.Rate > 0}, pace: &pace{rate: m.Document.Data.Rate, start: time.Now()}}
	var anchor Anchor
	defer func() { err = errors.Join(err, f.close(anchor)) }()
	// When the writing sessions are there, those of a mover that was killed are not.
	for worker := range Workers {
		w, err := m.Extracted.OpenWriter(ctx, m.Document.Name, capability.Legacy, worker)
		if err != nil {
			return f.move, err
		}
		f.writers = append(f.writers, w)
	}
	for lost := false; ; lost = true {
		var todo *pendings
		measure := func() (err error) { todo, err = f.measure(ctx, begin != nil); return err }
		if err := f.patiently(ctx, lost, measure); err != nil {
			return f.move, err
		}
		m.mu.Lock()
		m.progress = f.tally
		m.mu.Unlock()
		// The snapshot comes after the measuring: so a table that is rewritten in
		// between is noticed.
		first := begin != nil
		switch {
		case first:
			anchor, f.move, err = begin(ctx, f.writers[0])
			begin = nil
		case !todo.empty():
			err = f.patiently(ctx, lost, func() (err error) { anchor, err = f.reopen(ctx); return err })
		default: // the last snapshot became old with the last chunk
			err = nil
		}
		if err != nil {
			return f.move, err
		}
		m.enter(capability.PhaseBackfill)
		if anchor != nil {
			if err = f.known(ctx, anchor, todo, first); err == nil {
				err = f.paired(ctx, anchor)
			}
			if err == nil {
				err = f.under(ctx, anchor, todo)
			}
		}
		if err == nil {
			err = f.whole(ctx)
		}
		switch {
		case err == nil:
			f.tally.finish()
			return f.move, nil
		case ctx.Err() != nil, !errors.Is(err, ErrSnapshotLost) && !errors.Is(err, ErrRewritten) && !errors.Is(err, errOld):
			return f.move, err
		}
		m.log.Info("the backfill goes on with a new snapshot", "why", err)
		if anchor != nil {
			if err := anchor.Close(); err != nil {
				m.log.Debug("closing the old snapshot failed", "error", err)
			}
		}
		anchor = nil
	}
}

func (f *filling) close(anchor Anchor) (err error) {
	for _, w := range f.writers {
		err = errors.Join(err, w.Close())
	}
	if anchor != nil {
		err = errors.Join(err, anchor.Close())
	}
	return err
}

// measure returns what is to be copied. Anew, what an earlier attempt has finished
// does not count: its rows are about to be cleared away.
func (f *filling) measure(ctx context.Context, anew bool) (*pendings, error) {
	m := f.mover
	var done map[Relation][]Chunk
	if !anew {
		var err error
		if done, err = m.Extracted.Chunks(ctx, m.Document.Name); err != nil {
			return nil, err
		}
	}
	todo := newPendings()
	var counts []*tallied
	for i, mapping := range f.tables {
		leaves, err := m.Legacy.Extents(ctx, mapping.From.Relation)
		if err != nil {
			return nil, err
		}
		count := &tallied{name: mapping.From.Relation.String(), estimate: mapping.From.Rows}
		for _, leaf := range leaves {
			finished, rest, err := f.unfinished(ctx, i, leaf, done[mapping.To.Relation])
			if err != nil {
				return nil, err
			}
			count.add(leaf, finished)
			todo.add(i, rest, leaf)
		}
		counts = append(counts, count)
	}
	f.tally.measure(counts)
	return todo, nil
}

// unfinished divides what is to be copied of a leaf. Done are the table's chunks;
// finished are those of them that still count.
func (f *filling) unfinished(ctx context.Context, table int, leaf Extent, done []Chunk) (finished, rest []Chunk, err error) {
	for _, c := range done {
		if c.Leaf == leaf.Leaf || c.Leaf == (Relation{}) { // recorded by a version that knew no leaves
			finished = append(finished, c)
		}
	}
	rest = remaining(table, leaf, finished, f.bytes)
	if len(rest) > 0 && slices.ContainsFunc(finished, func(c Chunk) bool { return c.File != leaf.File }) {
		// What is not copied may be in blocks that are.
		f.mover.log.Info("the table was rewritten and is copied anew", "table", leaf.Leaf.String())
		if err := f.mover.Extracted.ForgetChunks(ctx, f.mover.Document.Name, f.tables[table].To.Relation, leaf.Leaf); err != nil {
			return nil, nil, err
		}
		return nil, remaining(table, leaf, nil, f.bytes), nil
	}
	return finished, rest, nil
}

// paired refuses rows of a snapshot that have no other half: a copy would leave them
// out without a word.
func (f *filling) paired(ctx context.Context, anchor Anchor) (err error) {
	joined := slices.DeleteFunc(slices.Clone(f.tables), func(m Mapping) bool { return m.Halves == nil })
	if len(joined) == 0 {
		return nil
	}
	defer func() {
		if err != nil && ctx.Err() == nil && anchor.Ping(ctx) != nil {
			err = errors.Join(ErrSnapshotLost, err)
		}
	}()
	for _, m := range joined {
		if err := f.pairedAs(ctx, anchor, m); err != nil {
			return err
		}
	}
	return nil
}

// pairedAs counts again, under the same snapshot, when it has given way to somebody.
func (f *filling) pairedAs(ctx context.Context, anchor Anchor, m Mapping) error {
	return untilRead(ctx, func(reason string) { f.tally.yield(reason, time.Now()) }, func() (err error) {
		rows, err := f.mover.Legacy.OpenRows(ctx, anchor.Name())
		if err != nil {
			return err
		}
		defer func() { err = closing(err, rows) }()
		return unpaired(ctx, rows, m)
	})
}

// untilRead reads again what has given way to somebody who changes a table.
func untilRead(ctx context.Context, tell func(reason string), read func() error) error {
	for {
		err := read()
		var yielded *YieldedError
		if !errors.As(err, &yielded) {
			return err
		}
		tell(yielded.Error())
		if paused := wait(ctx, nil, time.Now().Add(yieldPause)); paused != nil {
			return errors.Join(paused, err)
		}
	}
}

// patiently tries something again where a snapshot was just lost: the source may
// be starting anew.
func (f *filling) patiently(ctx context.Context, lost bool, do func() error) error {
	give := time.Now().Add(reopenTime)
	for pause := backoffFirst; ; pause = min(2*pause, time.Second) {
		err := do()
		if err == nil || !lost || time.Now().After(give) {
			return err
		}
		if err := wait(ctx, nil, time.Now().Add(pause)); err != nil {
			return err
		}
	}
}

// reopen takes a new snapshot, and writes down how far it has seen before any of
// it is copied: the horizon.
func (f *filling) reopen(ctx context.Context) (Anchor, error) {
	m := f.mover
	anchor, err := m.Legacy.OpenSnapshot(ctx, "")
	if err != nil {
		return nil, err
	}
	horizon, err := m.captures[capability.Legacy].Heartbeat(ctx) // behind everything that the snapshot sees, and durable
	if err == nil {
		f.move.Horizon = max(f.move.Horizon, horizon)
		err = m.Extracted.SaveMove(ctx, m.Document.Name, f.move)
	}
	if err != nil {
		return nil, errors.Join(err, anchor.Close())
	}
	return anchor, nil
}

// under copies what is to be copied under one snapshot, and returns when all
// workers are idle.
func (f *filling) under(ctx context.Context, anchor Anchor, todo *pendings) error {
	c := &copying{from: f.mover.Legacy, snapshot: anchor.Name(), tables: f.tables, tally: f.tally, pace: f.pace, throttle: f.mover.throttle, todo: todo, merge: f.move.Horizon > 0}
	var group errgroup.Group // one worker's error does not break the others' sessions
	for _, w := range f.writers {
		group.Go(func() error { return c.work(ctx, w) })
	}
	guarding, stop := context.WithCancel(ctx)
	defer stop()
	go f.guard(guarding, anchor, todo)
	err := group.Wait()
	switch {
	case err == nil:
		return todo.why()
	case ctx.Err() == nil && anchor.Ping(ctx) != nil:
		return errors.Join(ErrSnapshotLost, err) // the source is gone, or was
	}
	return err
}

// guard stops the copy when its snapshot is lost or old.
func (f *filling) guard(ctx context.Context, anchor Anchor, todo *pendings) {
	old := time.NewTimer(f.age)
	defer old.Stop()
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-old.C:
			todo.stop(errOld)
			return
		case <-tick.C:
			if err := anchor.Ping(ctx); err != nil && ctx.Err() == nil {
				todo.stop(errors.Join(ErrSnapshotLost, err))
				return
			}
		}
	}
}
