package migrate

import (
	"sync"
	"time"

	"strangler/capability"
)

// tally counts what a backfill copies.
type tally struct {
	started   time.Time
	total     int64 // estimated
	throttled bool  // by the document's rate

	mu          sync.Mutex
	rows, bytes int64     // guarded by mu
	table       string    // guarded by mu
	finished    time.Time // guarded by mu
}

func (t *tally) begin(table string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.table = table
}

func (t *tally) add(rows, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows += int64(rows)
	t.bytes += int64(bytes)
}

func (t *tally) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.finished, t.table = time.Now(), ""
}

func (t *tally) status() capability.BackfillStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	end := t.finished
	if end.IsZero() {
		end = time.Now()
	}
	s := capability.BackfillStatus{Rows: t.rows, Total: max(t.total, t.rows), Bytes: t.bytes, Table: t.table, Elapsed: end.Sub(t.started), FinishedAt: t.finished}
	if !t.finished.IsZero() {
		s.Total = t.rows
	}
	if seconds := s.Elapsed.Seconds(); seconds > 0 {
		s.PerSecond = float64(t.rows) / seconds
	}
	if t.throttled {
		s.Throttled = "data.rate limits the rows a second"
	}
	return s
}
