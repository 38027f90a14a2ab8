package migrate

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestChunksCoverATable(t *testing.T) {
	t.Parallel()
	for _, blocks := range []int64{0, 1, chunkBlocks, chunkBlocks + 1, 10*chunkBlocks - 1} {
		list := chunks(3, blocks)
		next := int64(0)
		for _, c := range list {
			if c.Low != next || c.High <= c.Low || c.Table != 3 {
				t.Errorf("%d blocks: %+v", blocks, list)
			}
			next = c.High
		}
		if next != LastBlock {
			t.Errorf("%d blocks: the last chunk ends at %d", blocks, next)
		}
	}
}

func TestPaceHoldsAllWorkersTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := &pace{rate: 100, start: start}
		done := make(chan error)
		for range 2 {
			go func() {
				for range 50 {
					if err := p.wait(t.Context(), 10); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("1000 rows at 100 a second took %s", took)
		}
	})
}

func TestPaceHearsCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := &pace{rate: 1, start: time.Now()}
		cancel()
		if err := p.wait(ctx, 1000); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// brittle is a database whose COPY breaks at one end or the other.
type brittle struct {
	Writer
	Copied
	read, written error
	committed     bool
}

func (b *brittle) ReadChunk(_ context.Context, w io.Writer, _ string, _ Relation, _ []string, _ Chunk) (int64, error) {
	if _, err := io.WriteString(w, "a\nb\n"); err != nil {
		return 0, err
	}
	return 2, b.read
}

func (b *brittle) WriteChunk(_ context.Context, r io.Reader, _ Relation, _ []string, _ Chunk) (int64, error) {
	if b.written != nil {
		return 0, b.written
	}
	if _, err := io.ReadAll(r); err != nil {
		return 0, errors.New("COPY from stdin failed: " + err.Error())
	}
	b.committed = true
	return 2, nil
}

// TestABrokenCopyIsNotCommitted and tells the end that broke, not the other.
func TestABrokenCopyIsNotCommitted(t *testing.T) {
	t.Parallel()
	read, written := errors.New("read"), errors.New("written")
	for _, test := range []struct {
		b    brittle
		want error
	}{{brittle{}, nil}, {brittle{read: read}, read}, {brittle{written: written}, written}} {
		c := copying{from: &test.b, tables: []Mapping{{}}, tally: &tally{started: time.Now()}, pace: &pace{}}
		if err := c.copy(t.Context(), &test.b, Chunk{}); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("got %v, want %v", err, test.want)
		}
		if test.b.committed != (test.want == nil) {
			t.Errorf("%v: committed %v", test.want, test.b.committed)
		}
	}
}
