package postgres

import (
	"testing"

	"strangler/capability"
)

// Every kind of change arrives, under renames of tables and columns.
func TestStreamAppliesEveryKindOfChange(t *testing.T) {
	inEachCapture(t, testStreamAppliesEveryKindOfChange)
}

func testStreamAppliesEveryKindOfChange(t *testing.T, kind capability.Capture) {
	f := newFlow(t, kind, `CREATE TABLE "Order" (id int PRIMARY KEY, "Unit Price" numeric, note text)`,
		`CREATE TABLE items (id int PRIMARY KEY, price numeric, "user" text, own text DEFAULT 'own')`,
		capability.Table{Table: "Order", As: "items", Columns: map[string]string{"Unit Price": "price", "note": "user"}})
	s := f.follow(capability.Legacy)
	f.exec(capability.Legacy, `INSERT INTO "Order" SELECT i, i + 0.50, 'n' || i FROM generate_series(1, 10) i`)
	f.exec(capability.Legacy, `UPDATE "Order" SET "Unit Price" = 1.0, note = NULL WHERE id = 1; UPDATE "Order" SET note = '' WHERE id = 2`)
	f.exec(capability.Legacy, `DELETE FROM "Order" WHERE id = 3; UPDATE "Order" SET id = 100 WHERE id = 4`)
	f.drain(s)
	f.same(`"Order"`, "items", `id, "Unit Price", note`, `id, price, "user"`)
	if got := f.text(capability.Extracted, `SELECT string_agg(DISTINCT own, ',') FROM public.items`); got != "own" {
		t.Errorf("the target's own column is %q", got)
	}
	f.exec(capability.Legacy, `TRUNCATE "Order"; INSERT INTO "Order" VALUES (7, 7, 'seven')`)
	f.drain(s)
	f.same(`"Order"`, "items", `id, "Unit Price", note`, `id, price, "user"`)
	if status := s.Status(); !status.Live || status.Changes == 0 || status.Lag != 0 || status.Error != "" {
		t.Errorf("status %+v", status)
	}
}
