package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
)

// slow is shopData with a backfill that takes its time.
func slow() *capability.Data {
	data := shopData()
	data.Rate = 2000
	return data
}

// TestBackfillUnderWrites: the rows that change while others are copied are
// right in the end.
func TestBackfillUnderWrites(t *testing.T) { inEachCapture(t, testBackfillUnderWrites) }

func testBackfillUnderWrites(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, slow()).created()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.load(ctx, 1)
	}()
	m.follows(m.Mover)
	cancel()
	<-done
	if b := m.Status().Backfill; b.Throttled == "" || b.Elapsed.Seconds() < 4 {
		t.Errorf("9100 rows at 2000 a second: %+v", b)
	}
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
}

// interrupted starts a backfill and stops it when orders are copied and items
// are not: the first row of items waits for a lock of the test.
func (m *migration) interrupted() {
	m.t.Helper()
	const key = 4711
	m.exec(capability.Extracted, fmt.Sprintf(`
		CREATE FUNCTION let_through() RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog
			AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(%d); RETURN true; END';
		ALTER TABLE items ADD CHECK (let_through())`, key))
	conn, err := pgx.Connect(m.t.Context(), m.urls[capability.Extracted])
	m.must(err)
	defer conn.Close(context.Background()) //nolint:errcheck // test session
	_, err = conn.Exec(m.t.Context(), `SELECT pg_advisory_lock($1)`, key)
	m.must(err)
	stop := m.start(m.Mover)
	m.eventually("orders are copied", func() (bool, string) {
		return ask[bool](m, capability.Extracted, `SELECT EXISTS (SELECT FROM orders)`), ""
	})
	stop()
	if s := m.Status(); s.Phase != capability.PhasePaused {
		m.t.Errorf("status: %+v", s)
	}
	m.exec(capability.Legacy, `UPDATE orders SET note = 'while paused' WHERE id = 1; DELETE FROM order_lines WHERE order_id = 1`)
}

// versions tells whether the rows of orders were written again.
const versions = `SELECT string_agg(DISTINCT xmin::text, ' ') FROM orders WHERE id > 1000`

func TestABackfillGoesOnAfterAPause(t *testing.T) { inEachCapture(t, testABackfillGoesOnAfterAPause) }

func testABackfillGoesOnAfterAPause(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, slow()).created()
	m.interrupted()
	before := ask[string](m, capability.Extracted, versions)
	m.follows(m.Mover)
	if after := ask[string](m, capability.Extracted, versions); after != before {
		t.Error("the finished chunks were copied again")
	}
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
}

// TestAStopAfterTheLastChunkLosesNone: indexes are built when everything is
// copied, and here one waits for a lock of the test.
func TestAStopAfterTheLastChunkLosesNone(t *testing.T) {
	inEachCapture(t, testAStopAfterTheLastChunkLosesNone)
}

func testAStopAfterTheLastChunkLosesNone(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, slow()).created()
	stop := m.start(m.Mover)
	m.eventually("the backfill begins", func() (bool, string) { return m.Status().Phase == capability.PhaseBackfill, m.Status().Error })
	conn, err := pgx.Connect(t.Context(), m.urls[capability.Extracted])
	m.must(err)
	defer conn.Close(context.Background()) //nolint:errcheck // test session
	_, err = conn.Exec(t.Context(), `BEGIN; LOCK TABLE orders IN SHARE UPDATE EXCLUSIVE MODE`)
	m.must(err)
	m.eventually("an index waits for the test", func() (bool, string) {
		return ask[bool](m, capability.Extracted, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query ~ '^CREATE INDEX' AND wait_event_type = 'Lock' AND datname = current_database())`), ""
	})
	stop()
	before := ask[string](m, capability.Extracted, versions)
	m.must(conn.Close(t.Context()))
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM strangler.aside`); n == 0 {
		t.Error("nothing was left to build")
	}
	m.follows(m.Mover)
	if after := ask[string](m, capability.Extracted, versions); after != before {
		t.Error("the finished chunks were copied again")
	}
	m.verify(capability.Legacy, 0)
}

// TestABackfillGoesOnInAnotherProcess, without the snapshot of the first.
func TestABackfillGoesOnInAnotherProcess(t *testing.T) {
	inEachCapture(t, testABackfillGoesOnInAnotherProcess)
}

func testABackfillGoesOnInAnotherProcess(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, slow()).created()
	m.interrupted()
	before := ask[string](m, capability.Extracted, versions)
	m.Mover = m.mover(shopData(), 2)
	m.follows(m.Mover)
	if after := ask[string](m, capability.Extracted, versions); after != before {
		t.Error("the finished chunks were copied again")
	}
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
}

// TestFollowingGoesOnAfterARestart, with what was written meanwhile on the
// owner's side, and a full verification is owed.
func TestFollowingGoesOnAfterARestart(t *testing.T) {
	inEachCapture(t, testFollowingGoesOnAfterARestart)
}

func testFollowingGoesOnAfterARestart(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	stop := m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	stop()
	if err := m.WaitMarker(t.Context(), capability.Legacy, "x"); !errors.Is(err, migrate.ErrNotFollowing) {
		t.Errorf("waited for a stream that does not run: %v", err)
	}
	if mark, err := m.Mark(t.Context(), capability.Legacy); err != nil || mark.Current {
		t.Errorf("mark without a stream: %+v, %v", mark, err)
	}
	m.exec(capability.Legacy, `UPDATE orders SET note = 'meanwhile'`)
	m.Mover = m.mover(shopData(), 2)
	stop = m.follows(m.Mover)
	if s := m.Status(); s.Verify != nil || s.Backfill != nil {
		t.Errorf("status: %+v", s)
	}
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)

	stop()
	data := shopData()
	data.Tables[1].Columns = nil
	m.exec(capability.Extracted, `ALTER TABLE items ADD unit_price_cents bigint, ALTER price_cents DROP NOT NULL`)
	if err := m.mover(data, 3).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "data reset") {
		t.Errorf("went on with another mapping: %v", err)
	}
}

// TestAMoverEndedBeforeTheWayBackMakesIt, whatever was done to the tables meanwhile.
func TestAMoverEndedBeforeTheWayBackMakesIt(t *testing.T) {
	inEachCapture(t, testAMoverEndedBeforeTheWayBackMakesIt)
}

func testAMoverEndedBeforeTheWayBackMakesIt(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	m.follows(m.Mover)()
	// As if it had been ended when it had written down that the copy is complete.
	back := m.databases[capability.Extracted].Capture(kind, m.name)
	m.must(back.DropStream(t.Context()))
	m.must(m.databases[capability.Legacy].DropProgress(t.Context(), m.name, capability.Extracted))
	m.exec(capability.Legacy, `VACUUM FULL orders`) // in another file from now on
	m.Mover = m.mover(shopData(), 2)
	m.follows(m.Mover)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
}

// TestWaitingEndsWithTheStreams: nobody else would tell those that wait.
func TestWaitingEndsWithTheStreams(t *testing.T) { inEachCapture(t, testWaitingEndsWithTheStreams) }

func testWaitingEndsWithTheStreams(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	stop := m.follows(m.Mover)
	done := make(chan error, 1)
	go func() { done <- m.WaitMarker(context.WithoutCancel(t.Context()), capability.Legacy, "never") }()
	stop()
	if err := <-done; !errors.Is(err, migrate.ErrNotFollowing) {
		t.Errorf("got %v", err)
	}
}

func TestResetTakesEverythingBack(t *testing.T) { inEachCapture(t, testResetTakesEverythingBack) }

func testResetTakesEverythingBack(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	before := map[capability.Side]string{capability.Legacy: m.inventory(capability.Legacy), capability.Extracted: m.inventory(capability.Extracted)}
	stop := m.follows(m.Mover)
	if err := m.Reset(t.Context(), false, nil); err == nil {
		t.Error("reset while the mover runs")
	}
	m.verify(capability.Legacy, 0)
	m.must(m.DropBorder(t.Context()))
	m.switchTo(capability.Extracted) // and back: a whole life
	m.switchTo(capability.Legacy)
	stop()
	var steps []string
	var planned []string
	m.must(m.Reset(t.Context(), true, func(p capability.Progress) { planned = append(planned, p.Message) }))
	m.must(m.Reset(t.Context(), false, func(p capability.Progress) { steps = append(steps, p.Message) }))
	if !slices.Equal(planned, steps) {
		t.Errorf("the dry run said %q, and done was %q", planned, steps)
	}
	if len(steps) != 11 || ask[int](m, capability.Extracted, `SELECT count(*) FROM pg_index WHERE indrelid = 'orders'::regclass`) != 2 {
		t.Errorf("steps: %q", steps)
	}
	for _, side := range capability.Sides {
		if left := gone(before[side], m.inventory(side)); len(left) > 0 {
			t.Errorf("in %s:\n%s", side, strings.Join(left, "\n"))
		}
	}
	if n := ask[int](m, capability.Legacy, `SELECT count(*) FROM pg_constraint WHERE conname = 'payments_order_id_fkey' AND convalidated`); n != 1 {
		t.Error("the border was not restored")
	}
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM orders`) + ask[int](m, capability.Extracted, `SELECT count(*) FROM customers`); n != 0 {
		t.Errorf("%d rows left", n)
	}
	m.must(m.Reset(t.Context(), false, nil)) // may be repeated
	m.follows(m.Mover)                       // and begun anew
	m.verify(capability.Legacy, 0)
}

// TestFollowingMeansStreams: a move whose streams have ended for good is not told as
// one that follows, not even until its end is: whoever waits for it to follow would
// take it for well.
func TestFollowingMeansStreams(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, shop, shopData()).created()
	stop := m.follows(m.Mover)
	stop()
	m.exec(capability.Legacy, fmt.Sprintf(`SELECT pg_drop_replication_slot('%s')`, slotName(m.name, capability.Legacy)))
	ended := make(chan error, 1)
	go func() { ended <- m.Run(t.Context()) }()
	for {
		select {
		case err := <-ended:
			if !errors.As(err, new(*migrate.HaltError)) {
				t.Errorf("without its slot: %v", err)
			}
			return
		default:
		}
		if s := m.Status(); s.Phase == capability.PhaseFollowing && len(s.Streams) == 0 {
			t.Fatalf("it follows without streams: %+v", s)
		}
	}
}
