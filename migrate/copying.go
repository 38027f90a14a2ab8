package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// copying is the workers' part of a backfill under one snapshot.
type copying struct {
	from     Copied
	snapshot string
	tables   []Mapping
	tally    *tally
	pace     *pace
	throttle *throttle
	todo     *pendings
	merge    bool // rows may be there already, from another snapshot
}

func (c *copying) work(ctx context.Context, w Writer) error {
	for {
		chunk, ok, err := c.todo.take(ctx)
		if err != nil || !ok {
			return err
		}
		if err = c.throttle.wait(ctx, func(reason string) { c.tally.yield(reason, time.Now()) }); err == nil {
			err = c.copy(ctx, w, chunk)
		}
		var yielded *YieldedError
		switch {
		case errors.As(err, &yielded):
			c.tally.yield(yielded.Error(), time.Now())
			c.todo.giveBack(chunk, time.Now().Add(yieldPause))
		case errors.Is(err, ErrRewritten), errors.Is(err, ErrSnapshotLost):
			c.todo.stop(err)
			return nil // the others finish what they are at
		case err != nil:
			err = fmt.Errorf("backfill %s: %w", c.tables[chunk.Table].From.Relation, err)
			c.todo.stop(err)
			return err
		default:
			c.todo.finished(chunk)
		}
	}
}

// copy pipes one chunk from the source into the target. An error at either end
// aborts the other, and then nothing is committed.
func (c *copying) copy(ctx context.Context, w Writer, chunk Chunk) (err error) {
	mapping := c.tables[chunk.Table]
	c.tally.begin(chunk.Table)
	reader, writer := io.Pipe()
	var read sync.WaitGroup
	var cause error
	var once sync.Once
	// The first error is the cause: it is noted before the other end can see it.
	note := func(err error) error {
		if err != nil {
			once.Do(func() { cause = err })
		}
		return err
	}
	out := &counted{Writer: writer, ctx: ctx, table: chunk.Table, tally: c.tally, pace: c.pace}
	read.Go(func() {
		rows := mapping.Source()
		rows.Relation = chunk.Leaf
		_, err := c.from.ReadChunk(ctx, out, c.snapshot, rows, chunk)
		writer.CloseWithError(note(err)) // nil ends the target's COPY
	})
	_, err = w.WriteChunk(ctx, reader, mapping, chunk, c.merge)
	reader.CloseWithError(note(err))
	read.Wait()
	c.tally.end(chunk, out.rows, cause == nil)
	return cause
}

// counted counts the lines that pass and keeps them to the pace.
type counted struct {
	io.Writer
	ctx   context.Context //nolint:containedctx // a Writer takes none per call
	table int
	rows  int64
	tally *tally
	pace  *pace
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	rows := lines(p[:n])
	c.rows += int64(rows)
	c.tally.add(c.table, rows, n)
	if err != nil {
		return n, err
	}
	return n, c.pace.wait(c.ctx, rows)
}

// lines counts rows in the text form of COPY, in which a newline inside of a
// value is escaped.
func lines(p []byte) int { return bytes.Count(p, []byte{'\n'}) }

// pace holds all workers together to a number of rows a second.
type pace struct {
	rate  int // 0: no limit
	mu    sync.Mutex
	start time.Time
	rows  int // guarded by mu
}

func (p *pace) wait(ctx context.Context, rows int) error {
	if p.rate <= 0 {
		return nil
	}
	p.mu.Lock()
	p.rows += rows
	due := p.start.Add(time.Duration(float64(p.rows) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	ahead := time.Until(due)
	if ahead < time.Millisecond {
		return nil
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
