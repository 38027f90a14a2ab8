package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// rogue writes into the target past the guards, as only a mistake can.
func (m *migration) rogue(side capability.Side, statement string) {
	m.t.Helper()
	// As if the mover itself had been wrong: no stream brings it back. The origin stays until the end: a stream that
	// does not know it any more takes the write for its own side's.
	origin := migrate.CopyOriginName(m.name, side.Other(), 99)
	m.exec(side, `SET session_replication_role = replica; SELECT set_config('strangler.mover', capability || ':' || epoch, false), set_config('strangler.applying', capability, false) FROM strangler.gate;
		SELECT pg_replication_origin_create('`+origin+`') WHERE pg_replication_origin_oid('`+origin+`') IS NULL; SELECT pg_replication_origin_session_setup('`+origin+`'); `+statement)
	m.t.Cleanup(func() {
		m.exec(side, `SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname = '`+origin+`'`)
	})
}

func TestVerifyFindsEveryKindOfDifference(t *testing.T) {
	inEachCapture(t, testVerifyFindsEveryKindOfDifference)
}

func testVerifyFindsEveryKindOfDifference(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	m.rogue(capability.Extracted, `UPDATE orders SET total = 7.5 WHERE id = 7; DELETE FROM items WHERE order_id = 11 AND line = 2; INSERT INTO orders (id, customer_id) VALUES (999999, 1); UPDATE customers SET email = 'other' WHERE id = 3; UPDATE items SET price_cents = 1 + price_cents WHERE order_id = 3000; UPDATE orders SET total = 8.000 WHERE id = 8`)
	v := m.verify(capability.Legacy, 7)
	got := map[string]bool{}
	for _, mismatch := range v.Mismatches {
		got[mismatch.Table+" "+mismatch.Key+": "+mismatch.Detail] = true
	}
	for _, want := range []string{
		"orders id=8: column total differs", // equal as numbers
		"order_lines order_id=11 line=2: only in legacy",
		"orders id=999999: only in extracted",
		"customers id=3: column email differs",
		"order_lines order_id=3000 line=1: column unit_price_cents differs",
	} {
		if !got[want] {
			t.Errorf("not found: %s", want)
		}
	}
	if s := m.Status().Verify; s == nil || s.Count != 7 {
		t.Errorf("status: %+v", s)
	}
}

// TestVerifyIsExactUnderLoad: the owner's clients never pause, and nothing is
// found that is not there.
func TestVerifyIsExactUnderLoad(t *testing.T) { inEachCapture(t, testVerifyIsExactUnderLoad) }

func testVerifyIsExactUnderLoad(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	m.follows(m.Mover)
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for client := range 2 {
		load.Go(func() { m.load(ctx, client) })
	}
	for range 4 {
		m.verify(capability.Legacy, 0)
	}
	cancel()
	load.Wait()
	m.settled(capability.Legacy)
	m.eventually("all changed rows are compared", func() (bool, string) {
		return m.UnverifiedKeys(capability.Legacy) == 0, fmt.Sprint(m.UnverifiedKeys(capability.Legacy))
	})
	if s := m.Status(); s.Error != "" || s.Streams[0].Changes == 0 {
		t.Errorf("status: %+v", s)
	}
	m.verify(capability.Legacy, 0)
}

// TestVerifyInStretches: a comparison whose snapshots are taken anew all the time,
// and that is stopped and gone on with, finds what one in one go finds; and what
// is written behind its back is among the rows that are compared again.
func TestVerifyInStretches(t *testing.T) { inEachCapture(t, testVerifyInStretches) }

func testVerifyInStretches(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	m.follows(m.Mover)
	m.SnapshotAge = 250 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() { m.load(ctx, 1) })
	stopped := 0
	var v capability.VerifyStatus
	for {
		some, stop := context.WithCancel(t.Context())
		var err error
		v, err = m.Verify(some, capability.Legacy, func(capability.Progress) { stop() })
		stop()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if stopped++; stopped > 1 && v.Rows <= 1024 {
			t.Errorf("began anew: %+v", v)
		}
	}
	cancel()
	load.Wait()
	if v.Count != 0 || v.Rows < 8000 || stopped == 0 || v.FinishedAt.IsZero() {
		t.Errorf("stopped %d times: %+v", stopped, v)
	}
	m.settled(capability.Legacy)
	m.eventually("all changed rows are compared", func() (bool, string) {
		return m.UnverifiedKeys(capability.Legacy) == 0, fmt.Sprint(m.UnverifiedKeys(capability.Legacy))
	})
	m.rogue(capability.Extracted, `UPDATE orders SET total = 7.5 WHERE id IN (1, 7, 2999); INSERT INTO orders (id, customer_id) VALUES (999999, 1)`)
	v, err := m.Verify(t.Context(), capability.Legacy, nil)
	if err != nil || v.Count != 4 || len(v.Mismatches) != 4 {
		t.Errorf("%+v, %v", v, err)
	}
}

// load changes rows of the legacy side until ctx ends, hot ones above all.
func (m *migration) load(ctx context.Context, client int) {
	conn, err := pgx.Connect(ctx, m.urls[capability.Legacy])
	if err != nil {
		m.t.Error(err)
		return
	}
	defer conn.Close(context.Background()) //nolint:errcheck // test session
	for n := 0; ctx.Err() == nil; n++ {
		_, err := conn.Exec(ctx, `WITH o AS (INSERT INTO orders (customer_id, total) VALUES (1, $1) RETURNING id), l AS (INSERT INTO order_lines SELECT id, 1, 5 FROM o),
			hot AS (UPDATE customers SET email = 'hot-' || $1::text || '-' || id WHERE id = $2), gone AS (DELETE FROM order_lines WHERE order_id = $1)
			UPDATE orders SET note = $1::text WHERE id = $1`, n%3000+1, client+1)
		if err != nil && ctx.Err() == nil && sqlstate.Of(err) != "40P01" {
			m.t.Error(err)
			return
		}
	}
}

// TestChangedRowsAreComparedInTheBackground, and what is left in the gap.
func TestChangedRowsAreComparedInTheBackground(t *testing.T) {
	inEachCapture(t, testChangedRowsAreComparedInTheBackground)
}

func testChangedRowsAreComparedInTheBackground(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	m.follows(m.Mover)
	if n := m.UnverifiedKeys(capability.Legacy); n != math.MaxInt {
		t.Errorf("%d unverified keys before anything was verified", n)
	}
	if _, err := m.VerifyChanged(t.Context(), capability.Legacy); err == nil {
		t.Error("the changed rows were compared although nobody knows which they are")
	}
	m.verify(capability.Legacy, 0)
	m.exec(capability.Legacy, `UPDATE orders SET total = total + 1 WHERE id <= 1200`)
	m.settled(capability.Legacy)
	m.eventually("all changed rows are compared", func() (bool, string) { return m.UnverifiedKeys(capability.Legacy) == 0, "" })

	// A value that is stored out of line and not changed is not in the log: what a mistake has made of it stays.
	m.exec(capability.Legacy, `ALTER TABLE orders ALTER note SET STORAGE EXTERNAL; UPDATE orders SET note = repeat('x', 10000) WHERE id = 5`)
	m.settled(capability.Legacy)
	if kind == capability.CaptureTrigger { // brings whole rows, so that the mistake must come after them
		m.exec(capability.Extracted, `CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := ''rogue''; RETURN NEW; END';
			CREATE TRIGGER spoil BEFORE UPDATE ON orders FOR EACH ROW WHEN (NEW.id = 5) EXECUTE FUNCTION spoil(); ALTER TABLE orders ENABLE ALWAYS TRIGGER spoil`)
	} else {
		m.rogue(capability.Extracted, `UPDATE orders SET note = 'rogue' WHERE id = 5`)
	}
	m.exec(capability.Legacy, `UPDATE orders SET total = total + 1 WHERE id IN (5, 6)`)
	m.settled(capability.Legacy)
	m.eventually("the right row is compared", func() (bool, string) { n := m.UnverifiedKeys(capability.Legacy); return n == 1, fmt.Sprint(n) })
	for range 2 { // the row stays unverified
		mismatches, err := m.VerifyChanged(t.Context(), capability.Legacy)
		m.must(err)
		if len(mismatches) != 1 || mismatches[0] != (capability.Mismatch{Table: "orders", Key: "id=5", Detail: "column note differs"}) {
			t.Errorf("found %+v", mismatches)
		}
	}
	m.exec(capability.Extracted, `DROP TRIGGER IF EXISTS spoil ON orders`)
	m.exec(capability.Legacy, `UPDATE orders SET note = 'right' WHERE id = 5`)
	m.settled(capability.Legacy)
	if mismatches, err := m.VerifyChanged(t.Context(), capability.Legacy); err != nil || len(mismatches) > 0 {
		t.Errorf("found %+v, %v", mismatches, err)
	}
	m.exec(capability.Legacy, `TRUNCATE order_lines`)
	m.settled(capability.Legacy)
	if n := m.UnverifiedKeys(capability.Legacy); n != math.MaxInt {
		t.Errorf("%d unverified keys after a truncation", n)
	}
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM items`); n != 0 {
		t.Errorf("%d items after a truncation", n)
	}
}
