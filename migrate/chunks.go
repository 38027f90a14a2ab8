package migrate

import (
	"context"
	"slices"
	"sync"
	"time"
)

// chunkBytes is about the size of a chunk, large values that are stored apart
// included: it is repeated after a crash, or when it gives way to a change of the
// table, and takes a second or so.
const chunkBytes = 48 << 20

// Chunks are ranges of blocks, whatever the key: a range is read by its place
// (a TID range scan), so that no statement reads more of a table than it copies,
// no index is needed, and no order of keys has to mean the same to two servers. A
// range is at least one block, which is at most some 200 rows, however large the
// values are that they have stored apart: ranges of keys would not cut that
// finer. A partitioned table has no blocks of its own: its partitions are copied
// leaf by leaf.

// blocksPerChunk is how many blocks of a table make a chunk.
func blocksPerChunk(e Extent, bytes int64) int64 {
	return max(1, bytes*e.Blocks/max(e.Bytes, 1))
}

// remaining divides what no finished chunk has of a table. The last chunk has no
// end: the table may have grown since it was measured.
func remaining(table int, e Extent, done []Chunk, bytes int64) []Chunk {
	done = slices.SortedFunc(slices.Values(done), func(a, b Chunk) int { return int(a.Low - b.Low) })
	var list []Chunk
	size, low := blocksPerChunk(e, bytes), int64(0)
	gap := func(end int64) {
		for ; low < end; low = list[len(list)-1].High {
			high := low + size
			if high >= min(end, e.Blocks) {
				high = end
			}
			list = append(list, Chunk{Table: table, Leaf: e.Leaf, Low: low, High: high, File: e.File})
		}
	}
	for _, c := range done {
		gap(c.Low)
		low = max(low, c.High)
	}
	gap(LastBlock)
	return list
}

// within is how many blocks of the measured table a chunk has.
func (e Extent) within(c Chunk) int64 { return max(0, min(c.High, e.Blocks)-min(c.Low, e.Blocks)) }

// pendings hands chunks out to the workers: of the leaf that the fewest workers
// are at, and among those of the one with the most left.
type pendings struct {
	mu      sync.Mutex
	tables  []*pendingTable // guarded by mu, and so is what they point to
	stopped error           // why no more are handed out; guarded by mu
	changed chan struct{}   // closed and replaced at every change; guarded by mu
}

type pendingTable struct {
	table  int
	chunks []Chunk
	extent Extent
	blocks int64     // not finished
	active int       // workers
	after  time.Time // no chunk is handed out before
}

func newPendings() *pendings { return &pendings{changed: make(chan struct{})} }

// add takes a leaf's chunks up, before any is taken.
func (p *pendings) add(table int, chunks []Chunk, e Extent) {
	t := &pendingTable{table: table, chunks: chunks, extent: e}
	for _, c := range chunks {
		t.blocks += e.within(c)
	}
	p.tables = append(p.tables, t)
}

// of finds what a chunk belongs to. The caller has the lock.
func (p *pendings) of(c Chunk) *pendingTable {
	i := slices.IndexFunc(p.tables, func(t *pendingTable) bool { return t.table == c.Table && t.extent.Leaf == c.Leaf })
	return p.tables[i] // chunks are taken from there
}

// leaves are all that were taken up.
func (p *pendings) leaves() []Relation {
	list := make([]Relation, len(p.tables))
	for i, t := range p.tables {
		list[i] = t.extent.Leaf
	}
	return list
}

// empty says that there is nothing to copy.
func (p *pendings) empty() bool {
	return !slices.ContainsFunc(p.tables, func(t *pendingTable) bool { return len(t.chunks) > 0 })
}

// change runs f under the lock and wakes those who wait.
func (p *pendings) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// take blocks until there is a chunk, and returns false when there will be none:
// all are finished, or it was stopped.
func (p *pendings) take(ctx context.Context) (Chunk, bool, error) {
	for {
		p.mu.Lock()
		best, soon, busy := -1, time.Time{}, false
		for i, t := range p.tables {
			busy = busy || t.active > 0
			switch {
			case len(t.chunks) == 0:
			case time.Now().Before(t.after):
				if soon.IsZero() || t.after.Before(soon) {
					soon = t.after
				}
			case best < 0 || t.before(p.tables[best]):
				best = i
			}
		}
		changed, stopped := p.changed, p.stopped
		if stopped == nil && best >= 0 {
			t := p.tables[best]
			chunk := t.chunks[0]
			t.chunks, t.active = t.chunks[1:], t.active+1
			p.mu.Unlock()
			return chunk, true, nil
		}
		p.mu.Unlock()
		if stopped != nil || soon.IsZero() && !busy {
			return Chunk{}, false, nil
		}
		if err := wait(ctx, changed, soon); err != nil {
			return Chunk{}, false, err
		}
	}
}

// wait returns at a change, at a time (unless it is zero), or when ctx ends.
func wait(ctx context.Context, changed <-chan struct{}, at time.Time) error {
	var due <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-changed:
	case <-due:
	}
	return nil
}

// before says which of two tables a worker should go to.
func (t *pendingTable) before(other *pendingTable) bool {
	if t.active != other.active {
		return t.active < other.active
	}
	return t.left() > other.left()
}

// left is the bytes that are not copied.
func (t *pendingTable) left() int64 { return t.blocks * (t.extent.Bytes / max(t.extent.Blocks, 1)) }

// finished takes a chunk off its table.
func (p *pendings) finished(c Chunk) {
	p.change(func() {
		t := p.of(c)
		t.active--
		t.blocks -= t.extent.within(c)
	})
}

// giveBack returns a chunk that is to be tried again, not before a time.
func (p *pendings) giveBack(c Chunk, after time.Time) {
	p.change(func() {
		t := p.of(c)
		t.active--
		t.chunks = append(t.chunks, c)
		t.after = after
	})
}

// stop lets the workers end when they have finished what they are at.
func (p *pendings) stop(why error) {
	p.change(func() {
		if p.stopped == nil {
			p.stopped = why
		}
	})
}

// why returns what it was stopped for.
func (p *pendings) why() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped
}
