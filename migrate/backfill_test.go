package migrate

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

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

func (b *brittle) ReadChunk(_ context.Context, w io.Writer, _ string, _ Selection, _ Chunk) (int64, error) {
	if _, err := io.WriteString(w, "a\nb\n"); err != nil {
		return 0, err
	}
	return 2, b.read
}

func (b *brittle) WriteChunk(_ context.Context, r io.Reader, _ Mapping, _ Chunk, _ bool) (int64, error) {
	if b.written != nil {
		return 0, b.written
	}
	if _, err := io.ReadAll(r); err != nil {
		return 0, errors.New("COPY from stdin failed: " + err.Error())
	}
	b.committed = true
	return 2, nil
}

// TestABrokenCopyIsNotCommitted and tells the end that broke, not the other, and
// its rows do not count.
func TestABrokenCopyIsNotCommitted(t *testing.T) {
	t.Parallel()
	read, written := errors.New("read"), errors.New("written")
	for _, test := range []struct {
		b    brittle
		want error
	}{{brittle{}, nil}, {brittle{read: read}, read}, {brittle{written: written}, written}} {
		count := &tally{started: time.Now()}
		count.measure([]*tallied{{name: "t", extent: Extent{Blocks: 2, Bytes: 100}}})
		c := copying{from: &test.b, tables: []Mapping{{}}, tally: count, pace: &pace{}}
		if err := c.copy(t.Context(), &test.b, Chunk{High: LastBlock}); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("got %v, want %v", err, test.want)
		}
		if test.b.committed != (test.want == nil) {
			t.Errorf("%v: committed %v", test.want, test.b.committed)
		}
		s := count.status()
		if done := s.Rows == 2 && s.Done == 100 && s.Total == 2; done != (test.want == nil) {
			t.Errorf("%v: %+v", test.want, s)
		}
	}
}
