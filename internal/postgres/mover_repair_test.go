package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"strangler/capability"
	"strangler/migrate"
)

// damage is what a repair is to take back: rows that are gone, new, changed, and
// that hold a unique value of one another.
const damage = `UPDATE orders SET total = 7.5 WHERE id = 7; DELETE FROM items WHERE order_id = 11 AND line = 2; INSERT INTO orders (id, customer_id) VALUES (999999, 1);
	UPDATE customers SET email = 'x' WHERE id = 3; UPDATE customers SET email = 'c3' WHERE id = 4; UPDATE customers SET email = 'c4' WHERE id = 3;
	UPDATE items SET price_cents = 1 + price_cents WHERE order_id > 2000; UPDATE orders SET note = NULL WHERE id = 9`

// TestRepairMakesBothSidesEqual while the owner writes, and the repair is not sent
// back to it.
func TestRepairMakesBothSidesEqual(t *testing.T) {
	inEachCapture(t, testRepairMakesBothSidesEqual)
}

func testRepairMakesBothSidesEqual(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	m.exec(capability.Extracted, `ALTER TABLE orders ADD COLUMN seen text`)
	m.follows(m.Mover)
	m.exec(capability.Extracted, `CREATE UNIQUE INDEX ON customers (email)`)
	m.rogue(capability.Extracted, `UPDATE orders SET seen = 'kept' WHERE id IN (7, 8); `+damage)
	legacy := ask[string](m, capability.Legacy, `SELECT md5(string_agg(c::text, ' ' ORDER BY id)) FROM customers c`)
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() { // rows that are not damaged: others would end the stream
		for ctx.Err() == nil {
			m.exec(capability.Legacy, `UPDATE orders SET total = total + 1 WHERE id BETWEEN 100 AND 110; INSERT INTO orders (customer_id) VALUES (2)`)
		}
	})
	v, err := m.Repair(t.Context(), capability.Legacy, nil)
	cancel()
	load.Wait()
	m.must(err)
	if v.Count != 0 || v.Repaired != 7+2*1000-1 {
		t.Errorf("repaired %d, still %d: %+v", v.Repaired, v.Count, v.Mismatches)
	}
	if kept := ask[string](m, capability.Extracted, `SELECT string_agg(seen, ' ' ORDER BY id) FROM orders WHERE id IN (7, 8)`); kept != "kept kept" {
		t.Errorf("what only the target has: %q", kept)
	}
	m.settled(capability.Legacy)
	m.settled(capability.Extracted)
	m.verify(capability.Legacy, 0)
	if now := ask[string](m, capability.Legacy, `SELECT md5(string_agg(c::text, ' ' ORDER BY id)) FROM customers c`); now != legacy {
		t.Error("the repair came back to its source")
	}
}

// TestRecoverAfterALostStream: what was written while nobody could follow is found
// by comparing, and only that is written.
func TestRecoverAfterALostStream(t *testing.T) { inEachCapture(t, testRecoverAfterALostStream) }

func testRecoverAfterALostStream(t *testing.T, kind capability.Capture) {
	for _, owner := range capability.Sides {
		t.Run(string(owner), func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, kind, shop, shopData()).created()
			stop := m.follows(m.Mover)
			if err := m.Recover(t.Context()); err == nil || !strings.Contains(err.Error(), "stop the mover") {
				t.Fatalf("recovered under a running mover: %v", err)
			}
			m.verify(capability.Legacy, 0)
			if owner == capability.Extracted {
				m.must(m.DropBorder(t.Context()))
				m.switchTo(capability.Extracted)
			}
			stop()
			m.must(m.databases[owner].Capture(kind, m.name).DropStream(t.Context()))
			items := map[capability.Side]string{capability.Legacy: "order_lines", capability.Extracted: "items"}[owner]
			m.exec(owner, `UPDATE orders SET note = 'unseen' WHERE id BETWEEN 10 AND 20; DELETE FROM `+items+` WHERE order_id = 5; INSERT INTO `+items+` VALUES (6, 9, 9)`)
			before := ask[string](m, owner.Other(), `SELECT xmin::text FROM orders WHERE id = 1`)
			err := m.Run(t.Context())
			if !isHalt(err) || !strings.Contains(err.Error(), "strangler data repair") {
				t.Fatalf("followed without its stream: %v", err)
			}
			m.must(m.Recover(t.Context()))
			m.must(m.Recover(t.Context())) // again
			m.exec(owner, `UPDATE orders SET note = 'later' WHERE id = 30`)
			m.Mover = m.mover(shopData(), 2)
			m.follows(m.Mover)
			m.exec(owner, `UPDATE orders SET note = 'last' WHERE id = 31`)
			m.settled(owner)
			m.verify(owner, 0)
			if after := ask[string](m, owner.Other(), `SELECT xmin::text FROM orders WHERE id = 1`); after != before {
				t.Error("a row that was right was written again")
			}
			if s := m.Status(); s.Phase != capability.PhaseFollowing {
				t.Errorf("status: %+v", s)
			}
		})
	}
}

// TestRecoverFromAConflict, which ends a stream for good.
func TestRecoverFromAConflict(t *testing.T) { inEachCapture(t, testRecoverFromAConflict) }

func testRecoverFromAConflict(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	m.follows(m.Mover)()
	m.rogue(capability.Extracted, damage)
	m.exec(capability.Legacy, `DELETE FROM order_lines WHERE order_id = 11`)
	if err := m.Run(t.Context()); !errors.As(err, new(*migrate.ConflictError)) {
		t.Fatalf("followed over a missing row: %v", err)
	}
	m.must(m.Recover(t.Context()))
	m.Mover = m.mover(shopData(), 2)
	m.follows(m.Mover)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
}

// TestRecoverNeedsAMove that has followed, and an owner.
func TestRecoverNeedsAMove(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, shop, shopData()).created()
	m.must(m.databases[capability.Extracted].Install(t.Context()))
	if err := m.Recover(t.Context()); err == nil || !strings.Contains(err.Error(), "never followed") {
		t.Fatal(err)
	}
	stop := m.follows(m.Mover)
	stop()
	m.must(m.Recover(t.Context()))
	_, extracted, err := m.gates.Read(t.Context())
	m.must(err)
	m.eventually("the tables are free for the hundred milliseconds that a sealing has", func() (bool, string) {
		err := m.gates.SealOpen(t.Context(), capability.Legacy, 1, extracted.Epoch+2)
		if !errors.Is(err, capability.ErrBusy) {
			m.must(err)
		}
		return err == nil, fmt.Sprint(err)
	})
	if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody can say who owns") {
		t.Fatal(err)
	}
	if move, _, err := m.databases[capability.Extracted].Move(t.Context(), m.name); err != nil || move.Phase != capability.PhaseRepairing {
		t.Errorf("%+v, %v", move, err)
	}
}

var _ migrate.Repair = (*repair)(nil)
