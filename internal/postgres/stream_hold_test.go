package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
)

// Under load, a held stream has on the target exactly what a snapshot of the
// source shows: not one transaction more or less.
func TestHoldIsExactUnderLoad(t *testing.T) { inEachCapture(t, testHoldIsExactUnderLoad) }

func testHoldIsExactUnderLoad(t *testing.T, kind capability.Capture) {
	f := newFlow(t, kind, counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.drain(s)
	stop := f.writers(capability.Legacy, 3, count)
	for range 10 {
		hold, err := s.Hold()
		f.must(err)
		if _, err := s.Hold(); !errors.Is(err, migrate.ErrHeld) {
			t.Fatalf("a second hold: %v", err)
		}
		snapshot, err := f.capture(capability.Legacy).TemporarySnapshot(t.Context())
		f.must(err)
		f.must(hold.At(t.Context(), snapshot.Position))
		if s.Applied() < snapshot.Position {
			t.Errorf("applied %s before %s", s.Applied(), snapshot.Position)
		}
		const query = `SELECT (SELECT string_agg(c::text, ' ' ORDER BY id) FROM public.counter c) || coalesce((SELECT string_agg(j::text, ' ' ORDER BY id COLLATE "C") FROM public.journal j), '')`
		target := f.text(capability.Extracted, query)
		source := f.inSnapshot(snapshot, query)
		if source != target {
			t.Errorf("held at %s:\nsource %s\ntarget %s", snapshot.Position, source, target)
		}
		if again := f.text(capability.Extracted, query); again != target {
			t.Error("the target changes under a hold")
		}
		hold.Release()
		hold.Release()
		f.must(snapshot.Close())
		f.until("more is applied", func() bool { return f.text(capability.Extracted, query) != target })
	}
	stop()
	f.drain(s)
	f.same("journal", "journal", "*", "*")
}

func (f *flow) inSnapshot(snapshot migrate.Snapshot, query string) (answer string) {
	f.t.Helper()
	err := pgx.BeginTxFunc(f.t.Context(), f.databases[capability.Legacy].pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(f.t.Context(), "SET TRANSACTION SNAPSHOT '"+snapshot.Name+"'"); err != nil {
			return err
		}
		return tx.QueryRow(f.t.Context(), query).Scan(&answer)
	})
	f.must(err)
	return answer
}

// On a quiet source the stream learns that nothing more comes, again and again.
func TestHoldOnAQuietSource(t *testing.T) { inEachCapture(t, testHoldOnAQuietSource) }

func testHoldOnAQuietSource(t *testing.T, kind capability.Capture) {
	f := newFlow(t, kind, counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.drain(s)
	for range 3 {
		snapshot, err := f.capture(capability.Legacy).TemporarySnapshot(t.Context())
		f.must(err)
		release, err := s.HoldAt(t.Context(), snapshot.Position)
		f.must(err)
		release()
		f.must(snapshot.Close())
	}
	position := f.commit("INSERT INTO journal VALUES ('passed', 1)")
	f.drain(s)
	if _, err := s.HoldAt(t.Context(), position-1000); !errors.Is(err, migrate.ErrPassed) {
		t.Errorf("a hold at a position that was passed: %v", err)
	}
	bounded, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.HoldAt(bounded, position+1<<40); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hold in the far future: %v", err)
	}
	f.drain(s) // a hold that failed is no hold
}

// commit runs a statement on the legacy side and returns a position behind it.
func (f *flow) commit(statement string) capability.Position {
	f.t.Helper()
	f.exec(capability.Legacy, statement)
	position, err := f.capture(capability.Legacy).Position(f.t.Context())
	f.must(err)
	return position
}

// A mark is reached on a quiet source as well, wherever in a page of the log it
// lies, and without anything written after it.
func TestStreamReachesMarksOnAQuietSource(t *testing.T) {
	t.Parallel()
	cluster := cluster(t)
	f := newFlowIn(t, capability.CaptureWAL, cluster.URL("postgres"), counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.drain(s)
	boundaries := 0
	for i := range 400 {
		// Records of many lengths, so that some of them end with a page.
		f.exec(capability.Legacy, fmt.Sprintf(`SELECT pg_logical_emit_message(true, 'filler', repeat('x', %d))`, 1+i*8))
		if i%40 == 0 {
			f.exec(capability.Legacy, fmt.Sprintf(`INSERT INTO journal VALUES ('%d', 1)`, i))
		}
		if i%100 == 50 {
			f.exec(capability.Legacy, `SELECT pg_switch_wal()`)
		}
		insert := f.text(capability.Legacy, `SELECT ((pg_current_wal_insert_lsn() - '0/0') % 8192)::text`)
		if insert == "24" || insert == "40" {
			boundaries++
		}
		mark, err := f.capture(capability.Legacy).Position(t.Context())
		f.must(err)
		s.Nudge()
		f.until(fmt.Sprintf("mark %s of insert position …%s is applied: %+v", mark, insert, s.Status()), func() bool { return s.Applied() >= mark })
	}
	if boundaries == 0 {
		t.Error("no mark was at the start of a page")
	}
}

// Asynchronous commits are behind the mark too.
func TestMarkCoversAsynchronousCommits(t *testing.T) {
	inEachCapture(t, testMarkCoversAsynchronousCommits)
}

func testMarkCoversAsynchronousCommits(t *testing.T, kind capability.Capture) {
	f := newFlow(t, kind, counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	for i := range 50 {
		mark := f.commit(fmt.Sprintf(`SET synchronous_commit = off; INSERT INTO journal VALUES ('%d', 1)`, i))
		s.Nudge()
		f.until("the mark is applied", func() bool { return s.Applied() >= mark })
		if n := f.text(capability.Extracted, `SELECT count(*)::text FROM public.journal`); n != fmt.Sprint(i+1) {
			t.Fatalf("%s rows behind mark %d", n, i)
		}
	}
}

// What an open transaction has written is in the log before the mark and is not
// flushed by anyone: the mark must not wait for its end.
func TestMarkDoesNotWaitForOpenTransactions(t *testing.T) {
	inEachCapture(t, testMarkDoesNotWaitForOpenTransactions)
}

func testMarkDoesNotWaitForOpenTransactions(t *testing.T, kind capability.Capture) {
	f := newFlowIn(t, kind, cluster(t).URL("postgres"), counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.drain(s)
	open, err := f.databases[capability.Legacy].connect(t.Context(), nil)
	f.must(err)
	t.Cleanup(func() { _ = open.Close(context.Background()) })
	_, err = open.Exec(t.Context(), `BEGIN; INSERT INTO public.journal VALUES ('open', 1)`)
	f.must(err)
	mark, err := f.capture(capability.Legacy).Position(t.Context())
	f.must(err)
	begun := time.Now()
	s.Nudge()
	f.until("the mark is applied", func() bool { return s.Applied() >= mark })
	if took := time.Since(begun); took > 8*time.Second { // a background process would flush it after fifteen
		t.Errorf("took %s", took)
	}
}

func TestRecordEnd(t *testing.T) {
	t.Parallel()
	const segment = 16 << 20
	for insert, want := range map[capability.Position]capability.Position{
		segment: segment, segment + longHeader: segment, segment + shortHeader: segment, segment + longHeader + 8: segment + longHeader + 8,
		segment + walPage + shortHeader: segment + walPage, segment + walPage + longHeader: segment + walPage + longHeader, segment - 8: segment - 8,
	} {
		if got := recordEnd(insert, segment); got != want {
			t.Errorf("the last record before %s ended at %s, not %s", insert, got, want)
		}
	}
}

// A marker counts from its transaction's end on, waited for before or after.
func TestWaitMarker(t *testing.T) { inEachCapture(t, testWaitMarker) }

func testWaitMarker(t *testing.T, kind capability.Capture) {
	f := newFlow(t, kind, counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	for i := range 20 {
		nonce := rand.Text()
		waiting := make(chan error, 1)
		if i%2 == 0 {
			go func() { waiting <- s.WaitMarker(t.Context(), nonce) }()
		}
		f.exec(capability.Legacy, fmt.Sprintf(`BEGIN; INSERT INTO journal VALUES ('%d', 1); SELECT strangler.write_marker('%s', '%s'); UPDATE counter SET n = %d; COMMIT`, i, f.name, nonce, i))
		if i%2 == 0 {
			f.must(<-waiting)
		} else {
			f.must(s.WaitMarker(t.Context(), nonce))
		}
		if got := f.rows(capability.Extracted, "counter", "min(n), max(n), (SELECT count(*) FROM public.journal)"); got != fmt.Sprintf("(%d,%d,%d)", i, i, i+1) {
			t.Fatalf("behind marker %d: %s", i, got)
		}
		f.must(s.WaitMarker(t.Context(), nonce))
	}
	if err := s.WaitMarker(expired(t), "of nobody"); !errors.Is(err, context.Canceled) {
		t.Errorf("a marker that nobody wrote: %v", err)
	}
}

func expired(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
