package migrate

import (
	"slices"
	"sync"
	"time"

	"strangler/capability"
)

// tally counts what a backfill copies. Tables are counted in blocks, which the
// source knows exactly, and shown in bytes.
type tally struct {
	started time.Time
	limited bool // by the document's rate

	mu       sync.Mutex
	bytes    int64      // guarded by mu
	tables   []*tallied // guarded by mu
	table    string     // copied last; guarded by mu
	yielded  string     // whom a chunk gave way to; guarded by mu
	until    time.Time  // how long that is worth telling; guarded by mu
	before   int64      // Done of Size when this run began; guarded by mu
	earlier  int64      // rows of earlier runs; guarded by mu
	finished time.Time  // guarded by mu
}

// tallied is one table. Rows of chunks that are not finished yet are counted
// apart: they are copied again if the chunk is.
type tallied struct {
	name          string
	extent        Extent   // of all leaves together
	leaves        []Extent // none where a table is one itself
	done          int64    // blocks
	rows, pending int64
	estimate      int64 // rows, by statistics: while nothing is copied
}

// yieldShown is how long a status tells that a chunk gave way.
const yieldShown = 10 * time.Second

// measure takes over what there is to copy and what of it is done.
func (t *tally) measure(tables []*tallied) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.tables == nil
	t.tables = tables
	if first {
		t.before, t.earlier = 0, 0
		for _, table := range tables {
			t.before += table.bytesDone()
			t.earlier += table.rows
		}
	}
}

func (t *tally) begin(table int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.table = t.tables[table].name
}

func (t *tally) add(table, rows, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tables[table].pending += int64(rows)
	t.bytes += int64(bytes)
}

// end counts a chunk that is committed, or takes back one that is not.
func (t *tally) end(c Chunk, rows int64, committed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := t.tables[c.Table]
	entry.pending -= rows
	if committed {
		entry.rows += rows
		entry.done += entry.within(c)
	}
}

func (t *tally) yield(to string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.yielded, t.until = to, now.Add(yieldShown)
}

func (t *tally) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.finished, t.table = time.Now(), ""
	for _, table := range t.tables {
		table.done = table.extent.Blocks
	}
}

// add takes a leaf up, with what is done of it.
func (t *tallied) add(leaf Extent, finished []Chunk) {
	t.leaves = append(t.leaves, leaf)
	t.extent.Blocks += leaf.Blocks
	t.extent.Bytes += leaf.Bytes
	for _, c := range finished {
		t.rows += c.Rows
		t.done += leaf.within(c)
	}
}

// within is how many blocks a chunk has of its leaf.
func (t *tallied) within(c Chunk) int64 {
	for _, leaf := range t.leaves {
		if leaf.Leaf == c.Leaf {
			return leaf.within(c)
		}
	}
	return t.extent.within(c)
}

func (t *tallied) bytesDone() int64 {
	if t.extent.Blocks == 0 {
		return 0
	}
	return int64(float64(t.extent.Bytes) * float64(t.done) / float64(t.extent.Blocks))
}

func (t *tally) status() capability.BackfillStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	end := t.finished
	if end.IsZero() {
		end = now
	}
	s := capability.BackfillStatus{Bytes: t.bytes, Table: t.table, Elapsed: end.Sub(t.started), FinishedAt: t.finished}
	for _, table := range t.tables {
		entry := capability.TableBackfill{Table: table.name, Rows: table.rows + table.pending, Size: table.extent.Bytes, Done: table.bytesDone()}
		s.Tables = append(s.Tables, entry)
		s.Rows, s.Size, s.Done = s.Rows+entry.Rows, s.Size+entry.Size, s.Done+entry.Done
		s.Total += table.expected()
	}
	slices.SortStableFunc(s.Tables, func(a, b capability.TableBackfill) int { return int(min(max(b.Size-a.Size, -1), 1)) })
	seconds := s.Elapsed.Seconds()
	if seconds > 0 {
		s.PerSecond = float64(s.Rows-t.earlier) / seconds
	}
	if moved := s.Done - t.before; moved > 0 && t.finished.IsZero() {
		s.Left = time.Duration(float64(s.Elapsed) * float64(s.Size-s.Done) / float64(moved)).Round(time.Second)
	}
	switch {
	case t.yielded != "" && now.Before(t.until):
		s.Throttled = t.yielded
	case t.limited:
		s.Throttled = "data.rate limits the rows a second"
	}
	return s
}

// expected is how many rows the table seems to have.
func (t *tallied) expected() int64 {
	switch {
	case t.done >= t.extent.Blocks:
		return t.rows + t.pending
	case t.done == 0:
		return max(t.estimate, t.pending)
	}
	return max(int64(float64(t.rows)*float64(t.extent.Blocks)/float64(t.done)), t.rows+t.pending)
}

// building counts what is made again after a copy.
type building struct {
	total int

	mu    sync.Mutex
	built int    // guarded by mu
	text  string // guarded by mu
}

func (b *building) count() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.built++
}

func (b *building) tell(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = text
}

func (b *building) status() capability.CompletionStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	return capability.CompletionStatus{Built: b.built, Total: b.total, Building: b.text}
}
