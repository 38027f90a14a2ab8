package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"strangler/capability"
)

// Workers is how many chunks are copied at a time: each keeps one core of either
// database busy, and has a replication origin of its own.
const Workers = 2

// chunkBlocks is the size of a chunk: 32 MB of table. A chunk that is repeated
// after a crash, or that a change of the table waits for, takes a second or so.
const chunkBlocks = 4096

// ErrSnapshotLost is returned by ReadChunk when the exported snapshot is gone.
var ErrSnapshotLost = errors.New("the backfill's snapshot is lost")

// backfill copies every chunk that is not finished yet.
func (m *Mover) backfill(ctx context.Context, l layout, snapshot Snapshot) error {
	name := m.Document.Name
	done, err := m.Extracted.Chunks(ctx, name)
	if err != nil {
		return err
	}
	tables := mappings(l.pairs, capability.Legacy)
	t := &tally{started: time.Now(), throttled: m.Document.Data.Rate > 0}
	var todo []Chunk
	for i, mapping := range tables {
		t.total += mapping.From.Rows
		blocks, err := m.Legacy.Blocks(ctx, mapping.From.Relation)
		if err != nil {
			return err
		}
		for _, chunk := range chunks(i, blocks) {
			if !slices.ContainsFunc(done[mapping.To.Relation], func(c Chunk) bool { return c.Low == chunk.Low }) {
				todo = append(todo, chunk)
			}
		}
	}
	m.mu.Lock()
	m.progress = t
	m.mu.Unlock()
	work := copying{from: m.Legacy, to: m.Extracted, capability: name, snapshot: snapshot.Name, tables: tables, tally: t,
		pace: &pace{rate: m.Document.Data.Rate, start: time.Now()}}
	if err := work.run(ctx, todo); err != nil {
		if errors.Is(err, ErrSnapshotLost) {
			return errors.Join(err, m.Close())
		}
		return err
	}
	t.finish()
	return nil
}

// chunks divides a table. The last chunk has no end: the table may have grown
// since it was measured.
func chunks(table int, blocks int64) []Chunk {
	var list []Chunk
	for low := int64(0); low == 0 || low < blocks; low += chunkBlocks {
		list = append(list, Chunk{Table: table, Low: low, High: low + chunkBlocks})
	}
	list[len(list)-1].High = LastBlock
	return list
}

// copying is one run of the workers over a list of chunks.
type copying struct {
	from       Copied
	to         Filled
	capability string
	snapshot   string
	tables     []Mapping
	tally      *tally
	pace       *pace
}

// run copies the chunks and returns when all workers are gone.
func (c *copying) run(ctx context.Context, todo []Chunk) error {
	queue := make(chan Chunk, len(todo))
	for _, chunk := range todo {
		queue <- chunk
	}
	close(queue)
	group, ctx := errgroup.WithContext(ctx)
	for worker := range min(Workers, len(todo)) {
		group.Go(func() error { return c.work(ctx, worker, queue) })
	}
	return group.Wait()
}

func (c *copying) work(ctx context.Context, worker int, queue <-chan Chunk) (err error) {
	w, err := c.to.OpenWriter(ctx, c.capability, capability.Legacy, worker)
	if err != nil {
		return err
	}
	defer func() {
		if closed := w.Close(); err == nil {
			err = closed
		}
	}()
	for chunk := range queue {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.copy(ctx, w, chunk); err != nil {
			return fmt.Errorf("backfill %s: %w", c.tables[chunk.Table].From.Relation, err)
		}
	}
	return nil
}

// copy pipes one chunk from the source into the target. An error at either end
// aborts the other, and then nothing is committed.
func (c *copying) copy(ctx context.Context, w Writer, chunk Chunk) error {
	mapping := c.tables[chunk.Table]
	c.tally.begin(mapping.From.Relation.String())
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
	read.Go(func() {
		out := &counted{Writer: writer, ctx: ctx, tally: c.tally, pace: c.pace}
		_, err := c.from.ReadChunk(ctx, out, c.snapshot, mapping.From.Relation, mapping.FromColumns, chunk)
		writer.CloseWithError(note(err)) // nil ends the target's COPY
	})
	_, err := w.WriteChunk(ctx, reader, mapping.To.Relation, mapping.ToColumns, chunk)
	reader.CloseWithError(note(err))
	read.Wait()
	return cause
}

// counted counts the lines that pass and keeps them to the pace.
type counted struct {
	io.Writer
	ctx   context.Context //nolint:containedctx // a Writer takes none per call
	tally *tally
	pace  *pace
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	rows := lines(p[:n])
	c.tally.add(rows, n)
	if err != nil {
		return n, err
	}
	return n, c.pace.wait(c.ctx, rows)
}

// lines counts rows in the text form of COPY, in which a newline inside of a
// value is escaped.
func lines(p []byte) (n int) {
	for _, b := range p {
		if b == '\n' {
			n++
		}
	}
	return n
}

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
