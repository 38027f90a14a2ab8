package migrate

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestRemainingChunksCoverExactlyWhatIsNotDone, in whatever order and sizes the
// finished ones are.
func TestRemainingChunksCoverExactlyWhatIsNotDone(t *testing.T) {
	t.Parallel()
	for range 500 {
		e := Extent{Blocks: rand.Int64N(40), File: 7}
		e.Bytes = e.Blocks * chunkBytes / (1 + rand.Int64N(9))
		var done []Chunk
		for low := int64(0); low < e.Blocks; {
			high := low + 1 + rand.Int64N(9)
			if rand.IntN(2) == 0 {
				done = append(done, Chunk{Low: low, High: high})
			}
			low = high
		}
		if rand.IntN(3) == 0 {
			done = append(done, Chunk{Low: e.Blocks + rand.Int64N(9), High: LastBlock})
		}
		rand.Shuffle(len(done), func(i, j int) { done[i], done[j] = done[j], done[i] })
		rest := remaining(3, e, done, chunkBytes)
		all := slices.Concat(done, rest)
		slices.SortFunc(all, func(a, b Chunk) int { return int(a.Low - b.Low) })
		next := int64(0)
		for _, c := range all {
			if c.Low > next || c.High <= c.Low {
				t.Fatalf("%+v done %+v: %+v", e, done, rest)
			}
			next = max(next, c.High)
		}
		if next != LastBlock {
			t.Fatalf("%+v done %+v: the last chunk ends at %d", e, done, next)
		}
		for _, c := range rest {
			if c.Table != 3 || c.File != 7 || e.within(c) > blocksPerChunk(e, chunkBytes) {
				t.Fatalf("%+v: %+v", e, c)
			}
			for _, d := range done {
				if c.Low < d.High && d.Low < c.High {
					t.Fatalf("%+v is done and copied again as %+v", d, c)
				}
			}
		}
	}
}

// TestChunksHaveABoundedSize, by their bytes, and at least a block.
func TestChunksHaveABoundedSize(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		extent Extent
		want   int64
	}{
		{Extent{}, 1},
		{Extent{Blocks: 100_000, Bytes: 100_000 * 8192}, chunkBytes / 8192},
		{Extent{Blocks: 1000, Bytes: 1000 * chunkBytes / 10}, 10}, // ten blocks with all they have stored apart
		{Extent{Blocks: 10, Bytes: 1 << 40}, 1},
	} {
		if got := blocksPerChunk(test.extent, chunkBytes); got != test.want {
			t.Errorf("%+v: %d blocks, want %d", test.extent, got, test.want)
		}
	}
}

// TestWorkersSpreadOverTables: the largest first, and not all at one. A chunk
// that gave way comes again, later.
func TestWorkersSpreadOverTables(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPendings()
		for i, blocks := range []int64{10, 30, 20} {
			e := Extent{Leaf: Relation{"public", string(rune('a' + i))}, Blocks: blocks, Bytes: blocks * chunkBytes / 10}
			p.add(i, remaining(i, e, nil, chunkBytes), e)
		}
		take := func() Chunk {
			c, ok, err := p.take(t.Context())
			if err != nil || !ok {
				t.Fatalf("no chunk: %v", err)
			}
			return c
		}
		first, second := take(), take()
		if first.Table != 1 || second.Table != 2 {
			t.Errorf("tables %d and %d first", first.Table, second.Table)
		}
		p.finished(first)
		p.giveBack(second, time.Now().Add(time.Second))
		began := time.Now()
		for range 3 { // two of table 1, one of table 0
			if c := take(); c.Table == 2 {
				t.Error("a table that gave way is not left alone")
			} else {
				p.finished(c)
			}
		}
		again := take()
		if again.Table != 2 || time.Since(began) != time.Second {
			t.Errorf("%+v after %s", again, time.Since(began))
		}
		last := take()
		p.finished(again)
		done := make(chan bool)
		go func() {
			_, ok, _ := p.take(t.Context())
			done <- ok
		}()
		synctest.Wait() // it waits, because the last one may yet come back
		p.finished(last)
		if <-done {
			t.Error("a chunk too many")
		}
		p.stop(errOld)
		if _, ok, _ := p.take(t.Context()); ok || !errors.Is(p.why(), errOld) {
			t.Error("handed out after the stop")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		q := newPendings()
		q.add(0, []Chunk{{}}, Extent{})
		q.giveBack(Chunk{}, time.Now().Add(time.Hour))
		q.tables[0].after = time.Now().Add(time.Hour)
		if _, _, err := q.take(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("deaf to cancel: %v", err)
		}
	})
}
