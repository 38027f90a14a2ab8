package postgres

import (
	"testing"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
)

// TestMoveFromNothingToBothDirections makes the target, copies, follows, and
// verifies, with changes in between.
func TestMoveFromNothingToBothDirections(t *testing.T) {
	inEachCapture(t, testMoveFromNothingToBothDirections)
}

func testMoveFromNothingToBothDirections(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData()).created()
	m.follows(m.Mover)
	if b := m.Status().Backfill; b == nil || b.Rows != 9100 || b.Total != 9100 || b.FinishedAt.IsZero() || b.Done != b.Size || b.Size == 0 || len(b.Tables) != 3 || b.Tables[2].Rows != 100 {
		t.Errorf("backfill: %+v", b)
	}
	m.exec(capability.Legacy, `UPDATE orders SET note = 'changed' WHERE id <= 10; DELETE FROM order_lines WHERE order_id = 7; INSERT INTO customers (email) VALUES ('new')`)
	m.settled(capability.Legacy)
	v := m.verify(capability.Legacy, 0)
	if v.Rows != 9099 || v.Position == 0 || v.FinishedAt.IsZero() || len(v.Skipped) > 0 {
		t.Errorf("verification: %+v", v)
	}
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM items WHERE price_cents = order_id * line`); n != 5998 {
		t.Errorf("%d items", n)
	}
	if err := m.try(capability.Extracted, `INSERT INTO orders (customer_id) VALUES (1)`); sqlstate.Of(err) != "P0S01" {
		t.Errorf("a write into the sealed side: %v", err)
	}
}
