package postgres

import (
	"errors"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
)

// switchTo moves the owner by the gates alone, in the order of the plan, and
// with what the plan asks of the mover.
func (m *migration) switchTo(to capability.Side) {
	m.t.Helper()
	ctx, from := m.t.Context(), to.Other()
	gate := func(side capability.Side) capability.Gate {
		legacy, extracted, err := m.gates.Read(ctx)
		m.must(err)
		if side == capability.Legacy {
			return legacy
		}
		return extracted
	}
	_, closing, err := capability.Next(gate(from), gate(to), capability.EventClose)
	m.must(err)
	m.eventually("the gate closes", func() (bool, string) {
		err := m.gates.Close(ctx, from, gate(from).Epoch, closing, time.Minute, "nonce "+string(to))
		if errors.Is(err, capability.ErrBusy) {
			return false, err.Error()
		}
		m.must(err)
		return true, ""
	})
	m.must(m.WaitMarker(ctx, from, "nonce "+string(to)))
	mismatches, err := m.VerifyChanged(ctx, from)
	m.must(err)
	if len(mismatches) > 0 {
		m.t.Fatalf("rows differ: %+v", mismatches)
	}
	m.must(m.CarrySequences(ctx, from, m.Document.Data))
	m.must(m.gates.Seal(ctx, from, closing))
	_, open, err := capability.Next(gate(to), gate(from), capability.EventOpen)
	m.must(err)
	m.must(m.gates.Open(ctx, to, gate(to).Epoch, open))
}

// TestThereAndBack switches the owner twice with writes on both sides, and
// compares everything each time.
func TestThereAndBack(t *testing.T) { inEachCapture(t, testThereAndBack) }

func testThereAndBack(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	m.must(m.DropBorder(t.Context()))
	m.exec(capability.Legacy, `UPDATE orders SET note = 'last words' WHERE id < 50`)
	m.switchTo(capability.Extracted)

	if first := ask[int64](m, capability.Extracted, `INSERT INTO orders (customer_id) VALUES (1) RETURNING id`); first != 13001 {
		t.Errorf("the first order of the service is %d, want 3000, a gap of 10000 and one", first)
	}
	m.exec(capability.Extracted, `UPDATE items SET price_cents = 1 WHERE order_id = 1; DELETE FROM orders WHERE id = 2000`)
	// The reference copy goes on being written by legacy, and arrives.
	m.exec(capability.Legacy, `INSERT INTO customers (email) VALUES ('while extracted owns')`)
	if err := m.try(capability.Legacy, `DELETE FROM orders WHERE id = 3`); sqlstate.Of(err) != "P0S01" {
		t.Errorf("a write into the sealed side: %v", err)
	}
	m.settled(capability.Extracted)
	m.settled(capability.Legacy)
	if v := m.verify(capability.Extracted, 0); v.Rows != 3000+5998+101 {
		t.Errorf("%d rows compared", v.Rows)
	}
	if n := ask[int](m, capability.Legacy, `SELECT count(*) FROM order_lines WHERE unit_price_cents = 1 AND order_id = 1`); n != 2 {
		t.Errorf("%d lines arrived in legacy", n)
	}
	if err := m.Reset(t.Context(), false, nil); err == nil {
		t.Error("reset while extracted owns")
	}

	m.switchTo(capability.Legacy)
	if first := ask[int64](m, capability.Legacy, `INSERT INTO orders (customer_id) VALUES (1) RETURNING id`); first != 23002 {
		t.Errorf("the first order of legacy is %d, want 13001, a gap of 10000 and one", first)
	}
	if err := m.RestoreBorder(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.try(capability.Legacy, `INSERT INTO payments (order_id) VALUES (424242)`); sqlstate.Of(err) != "23503" {
		t.Errorf("a payment without its order: %v", err)
	}
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
}

func TestBorderIsDroppedAndRestored(t *testing.T) { inEachCapture(t, testBorderIsDroppedAndRestored) }

func testBorderIsDroppedAndRestored(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	valid := func() string {
		return ask[string](m, capability.Legacy, `SELECT coalesce(string_agg(conname || ' ' || convalidated || ' ' || pg_get_constraintdef(oid), ', ' ORDER BY conname), '') FROM pg_constraint
			WHERE conname IN ('orders_customer_id_fkey', 'payments_order_id_fkey', 'order_lines_order_id_fkey')`)
	}
	before := valid()
	for range 2 { // each may be repeated
		m.must(m.DropBorder(t.Context()))
		if left := valid(); !strings.HasPrefix(left, "order_lines_order_id_fkey true") || strings.Contains(left, ",") {
			t.Errorf("left: %s", left)
		}
	}
	if plan, problems, err := m.Plan(t.Context()); err != nil || len(problems) > 0 || len(plan.Border) != 2 || !plan.Border[0].Dropped {
		t.Errorf("plan: %+v, %v, %v", plan.Border, problems, err)
	}
	for range 2 {
		m.must(m.RestoreBorder(t.Context()))
		if after := valid(); after != before {
			t.Errorf("restored as %s, was %s", after, before)
		}
	}
	// Rows that violate it meanwhile: it comes back for new rows, and says so.
	m.must(m.DropBorder(t.Context()))
	m.exec(capability.Legacy, `INSERT INTO payments (order_id) VALUES (777777)`)
	if err := m.RestoreBorder(t.Context()); err == nil || !strings.Contains(err.Error(), "VALIDATE CONSTRAINT") {
		t.Errorf("restored over an orphan: %v", err)
	}
	if err := m.try(capability.Legacy, `INSERT INTO payments (order_id) VALUES (888888)`); sqlstate.Of(err) != "23503" {
		t.Errorf("a second orphan: %v", err)
	}
	m.exec(capability.Legacy, `DELETE FROM payments WHERE order_id = 777777`)
	m.must(m.RestoreBorder(t.Context()))
	if after := valid(); after != before {
		t.Errorf("restored as %s, was %s", after, before)
	}
}

// TestSequencesThatBelongToNobody: one for two tables, not owned, downwards.
func TestSequencesThatBelongToNobody(t *testing.T) { inEachCapture(t, testSequencesThatBelongToNobody) }

func testSequencesThatBelongToNobody(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, `
		CREATE SEQUENCE shared INCREMENT -2 MAXVALUE -1 START -1;
		CREATE TABLE a (id bigint DEFAULT nextval('shared') PRIMARY KEY); CREATE TABLE b (id bigint DEFAULT nextval('shared') PRIMARY KEY);
		CREATE TABLE c (id int GENERATED ALWAYS AS IDENTITY (MAXVALUE 100) PRIMARY KEY);
		INSERT INTO a SELECT FROM generate_series(1, 10); INSERT INTO b VALUES (-501); INSERT INTO c SELECT FROM generate_series(1, 60);`,
		&capability.Data{State: capability.DataRunning, Gap: 20, Tables: []capability.Table{{Table: "a"}, {Table: "b"}, {Table: "c"}}}).created()
	m.follows(m.Mover)
	for range 2 {
		m.must(m.CarrySequences(t.Context(), capability.Legacy, m.Document.Data))
		if last := ask[int64](m, capability.Extracted, `SELECT last_value FROM shared`); last != -521 {
			t.Errorf("stands at %d, want 20 below -501", last)
		}
		if last := ask[int64](m, capability.Extracted, `SELECT last_value FROM c_id_seq`); last != 80 {
			t.Errorf("stands at %d, want 20 above 60", last)
		}
	}
	m.exec(capability.Legacy, `INSERT INTO c SELECT FROM generate_series(1, 30)`)
	if err := m.CarrySequences(t.Context(), capability.Legacy, m.Document.Data); err == nil || !strings.Contains(err.Error(), "outside") {
		t.Errorf("carried beyond the maximum: %v", err)
	}
}

// TestNoSwitchPastARunningVerification: a verification empties the set of rows
// that were not compared, before it has compared them.
func TestNoSwitchPastARunningVerification(t *testing.T) {
	inEachCapture(t, testNoSwitchPastARunningVerification)
}

func testNoSwitchPastARunningVerification(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	m.follows(m.Mover)
	asked := false
	_, err := m.Verify(t.Context(), capability.Legacy, func(capability.Progress) {
		if _, err := m.VerifyChanged(t.Context(), capability.Legacy); err == nil {
			t.Error("the rows count as compared while they are being compared")
		}
		asked = true
	})
	m.must(err)
	if _, err := m.VerifyChanged(t.Context(), capability.Legacy); err != nil || !asked {
		t.Error(err, asked)
	}
}

// TestAnotherDatabaseDoesNotBecomeTheOwner: while extracted owns, a document that
// names an empty database must not make a gate there, which would be opened as if
// a switch to it had stopped half way.
func TestAnotherDatabaseDoesNotBecomeTheOwner(t *testing.T) {
	inEachCapture(t, testAnotherDatabaseDoesNotBecomeTheOwner)
}

func testAnotherDatabaseDoesNotBecomeTheOwner(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	stop := m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	m.must(m.DropBorder(t.Context()))
	m.switchTo(capability.Extracted)
	stop()
	m.exec(capability.Extracted, `DROP SCHEMA strangler CASCADE; TRUNCATE orders, items, customers CASCADE`)
	if err := m.mover(shopData(), 2).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "data.database") {
		t.Errorf("the move began anew: %v", err)
	}
	if _, _, err := m.gates.Read(t.Context()); !errors.Is(err, capability.ErrNoGate) {
		t.Errorf("a gate was made: %v", err)
	}
}
