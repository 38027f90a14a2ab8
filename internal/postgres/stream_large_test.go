package postgres

import (
	"fmt"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"strangler/capability"
)

// A transaction of any size is applied as one, in memory that does not grow with
// its rows, and the stream can be broken in its middle. Not in parallel: the heap
// is the process's.
func TestStreamAppliesLargeTransactions(t *testing.T) {
	inEachCaptureInTurn(t, testStreamAppliesLargeTransactions)
}

func testStreamAppliesLargeTransactions(t *testing.T, kind capability.Capture) {
	const rows, width = 120_000, 50
	const ddl = `CREATE TABLE t (id int PRIMARY KEY, n int, pad text);`
	f := newFlow(t, kind, ddl, ddl, capability.Table{Table: "t"})
	s := f.follow(capability.Legacy)
	f.drain(s)
	s.Changed().Reset()
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var most uint64
	f.exec(capability.Legacy, fmt.Sprintf(`INSERT INTO t SELECT i, 0, repeat('x', %d) FROM generate_series(1, %d) i`, width, rows))
	moverAt := func() string {
		return f.text(capability.Extracted, `SELECT coalesce(max(query), '') FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'strangler mover' AND state <> 'idle' AND backend_xid IS NOT NULL`)
	}
	f.until("the transaction is being applied", func() bool { return moverAt() != "" })
	f.kill(capability.Extracted, `application_name = 'strangler mover'`)
	if n := f.text(capability.Extracted, `SELECT count(*)::text FROM public.t`); n != "0" {
		t.Errorf("%s rows of a transaction that is not at its end", n)
	}
	f.until("the transaction is applied", func() bool {
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapInuse-min(now.HeapInuse, before.HeapInuse))
		return f.text(capability.Extracted, `SELECT count(*)::text FROM (SELECT FROM public.t LIMIT 1) r`) == "1"
	})
	f.drain(s)
	if n := f.text(capability.Extracted, `SELECT count(*) || ' ' || sum(length(pad)) FROM public.t`); n != fmt.Sprintf("%d %d", rows, rows*width) {
		t.Errorf("rows and bytes: %s", n)
	}
	if keys := s.Changed().Len(); keys != rows {
		t.Errorf("%d changed keys", keys)
	}
	t.Logf("heap grew by %d MB at most", most>>20)
	// A row that waits takes 500 bytes and more. Its key is kept until it is
	// verified, which is bounded by number.
	if most > 40<<20 {
		t.Errorf("the heap grew by %d MB", most>>20)
	}
}

// However long the applier is held or slow, the source is answered in time.
func TestStreamAnswersTheSourceMeanwhile(t *testing.T) {
	t.Parallel()
	own := cluster(t)
	f := newFlowIn(t, capability.CaptureWAL, own.URL("postgres")+"&wal_sender_timeout=4s", counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.drain(s)
	const walsender = `SELECT pid::text FROM pg_stat_replication WHERE application_name = 'strangler'`
	pid := f.text(capability.Legacy, walsender)
	hold, err := s.Hold()
	f.must(err)
	// More than the queue holds, so that the receiver waits for the applier.
	f.exec(capability.Legacy, `INSERT INTO journal SELECT i || repeat('x', 900), i FROM generate_series(1, 100000) i`)
	begun := time.Now()
	f.until("two timeouts to pass", func() bool { return time.Since(begun) > 8500*time.Millisecond })
	if status := s.Status(); status.LagBytes == 0 || status.Lag < 4*time.Second {
		t.Errorf("a stream that is held has no lag: %+v", status)
	}
	hold.Release()
	f.drain(s)
	if again := f.text(capability.Legacy, walsender); again != pid {
		t.Errorf("walsender %s has taken the place of %s", again, pid)
	}
	f.same("journal", "journal", "count(*)", "count(*)")
}

// A source that says nothing any more is noticed, although its connection stands.
func TestStreamNoticesASilentSource(t *testing.T) {
	t.Parallel()
	own := cluster(t)
	f := newFlowIn(t, capability.CaptureWAL, own.URL("postgres")+"&wal_sender_timeout=1500ms", counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.drain(s)
	pid, err := strconv.Atoi(f.text(capability.Legacy, `SELECT pid::text FROM pg_stat_replication`))
	f.must(err)
	f.must(syscall.Kill(pid, syscall.SIGSTOP))
	f.until("the silence is noticed", func() bool { return !s.Status().Live })
	f.must(syscall.Kill(pid, syscall.SIGCONT))
	f.exec(capability.Legacy, `INSERT INTO journal VALUES ('1', 1)`)
	f.drain(s)
	f.same("journal", "journal", "*", "*")
}

// In a source in which nothing of ours changes, the slot moves on all the same,
// and only as far as the target's progress row does.
func TestSlotMovesOnInAQuietSource(t *testing.T) {
	t.Parallel()
	f := newFlow(t, capability.CaptureWAL, counters+`CREATE TABLE other (n int)`, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	f.follow(capability.Legacy)
	mark := f.commit(`INSERT INTO other SELECT generate_series(1, 1000)`)
	f.until("the slot has moved on", func() bool {
		confirmed := f.text(capability.Legacy, `SELECT (confirmed_flush_lsn - '0/0')::text FROM pg_replication_slots WHERE slot_name = $1`, slotName(f.name, capability.Legacy))
		p, found, err := f.databases[capability.Extracted].Progress(t.Context(), f.name, capability.Legacy)
		f.must(err)
		var at capability.Position
		if _, err := fmt.Sscan(confirmed, &at); err != nil || !found || at > p.Position {
			t.Fatalf("confirmed %s, progress %+v, %v", confirmed, p, err)
		}
		return at >= mark
	})
}
