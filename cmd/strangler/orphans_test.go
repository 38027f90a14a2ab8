package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/internal/postgres"
)

// TestOrphans: what a move that nobody knows any more has left is found, and
// removed by its name, beside a move that lives in the same databases.
func TestOrphans(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	for _, kind := range capability.Captures {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			testOrphans(t, kind)
		})
	}
}

func testOrphans(t *testing.T, kind capability.Capture) {
	dead, alive := "dead-"+string(kind), "alive-"+string(kind)
	h := newHouse(t, dead, "  capture: "+string(kind)+"\n  tables:\n    - table: orders\n")
	h.sql(capability.Legacy, `CREATE TABLE orders (id bigserial PRIMARY KEY, note text); INSERT INTO orders (note) SELECT 'n' || i FROM generate_series(1, 500) i`)
	h.types("data", "plan", dead, "--create")
	h.down = h.up()
	h.types("data", "start", dead)
	// Of a session that a stream has applied with when it was behind.
	h.sql(capability.Extracted, `SELECT pg_replication_origin_create('strangler_`+dead+`_legacy_apply2')`)
	if out := h.types("data", "orphans"); !strings.Contains(out, "nothing is left") {
		t.Errorf("while it lives:\n%s", out)
	}
	if out, status := h.try("data", "orphans", "--drop", dead); status != 1 || !strings.Contains(out, "is no orphan") {
		t.Errorf("dropping what lives: exit status %d\n%s", status, out)
	}
	h.down()
	path := filepath.Join(h.dir, "routes", dead+".yaml")
	content, err := os.ReadFile(path)
	h.must(err)
	h.must(os.Remove(path))
	h.must(os.RemoveAll(filepath.Join(h.dir, ".strangler")))
	h.write("routes/"+alive+".yaml", strings.NewReplacer(dead, alive, "table: orders", "table: parcels", "state: running", "state: stopped").Replace(string(content)))
	h.name = alive
	h.sql(capability.Legacy, `CREATE TABLE parcels (id int PRIMARY KEY); INSERT INTO parcels VALUES (1), (2)`)
	h.types("data", "plan", alive, "--create")
	h.down = h.up()
	h.types("data", "start", alive)

	// A record of the move knows it still.
	if out, status := h.try("data", "orphans", "--drop", dead); status != 1 || !strings.Contains(out, "is no orphan") {
		t.Errorf("dropping what a record knows: exit status %d\n%s", status, out)
	}
	h.sql(capability.Extracted, `DELETE FROM strangler.move WHERE capability = '`+dead+`'`)
	out, status := h.try("check")
	if status != 0 || !strings.Contains(out, "strangler data orphans --drop dead") || strings.Contains(out, "drop alive") {
		t.Errorf("check: exit status %d\n%s", status, out)
	}
	var list []postgres.Leftover
	h.must(json.Unmarshal([]byte(h.types("data", "orphans", "--json")), &list))
	kinds := map[capability.Side]map[postgres.LeftoverKind]int{capability.Legacy: {}, capability.Extracted: {}}
	for _, l := range list {
		if !postgres.SameCapability(l.Capability, dead) {
			t.Errorf("not dead: %+v", l)
		}
		kinds[l.Side][l.Kind]++
	}
	for _, side := range capability.Sides {
		k := kinds[side]
		captured := k[postgres.LeftSlot] == 1 && k[postgres.LeftPublication] == 1 && k[postgres.LeftTrigger] == 2
		if kind == capability.CaptureTrigger {
			captured = k[postgres.LeftOutbox] == 1 && k[postgres.LeftTrigger] == 4
		}
		if !captured || k[postgres.LeftGate] != 1 || k[postgres.LeftOrigin] == 0 || k[postgres.LeftRecord] == 0 {
			t.Errorf("%s: %v", side, k)
		}
	}
	// A gate that is shut stays, and everything with it.
	if out, status := h.try("data", "orphans", "--drop", dead); status != 1 || !strings.Contains(out, "it is sealed") || !strings.Contains(out, "nothing was dropped") {
		t.Errorf("dropping a sealed gate: exit status %d\n%s", status, out)
	}
	h.sql(capability.Extracted, `UPDATE strangler.gate SET state = 'open' WHERE capability = '`+dead+`'`)
	want := map[capability.Capture]string{capability.CaptureWAL: "SELECT pg_drop_replication_slot('strangler_dead_wal_legacy')", capability.CaptureTrigger: "SELECT strangler.drop_outbox('dead-trigger')"}[kind]
	if out := h.types("data", "orphans", "--drop", dead, "--dry-run"); !strings.Contains(out, want+"; -- in postgres://") {
		t.Errorf("a dry run:\n%s", out)
	}
	h.types("data", "orphans", "--drop", dead)
	if out := h.types("data", "orphans"); !strings.Contains(out, "nothing is left") {
		t.Errorf("afterwards:\n%s", out)
	}
	for _, side := range capability.Sides {
		if left := h.rows(side, `SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database() AND slot_name LIKE '%dead%' AND slot_name LIKE '%`+string(kind)+`%' UNION ALL SELECT pubname FROM pg_publication WHERE pubname LIKE '%dead%' UNION ALL SELECT roname FROM pg_replication_origin WHERE roname LIKE '%`+dead+`%' UNION ALL SELECT tgname FROM pg_trigger WHERE tgrelid = 'orders'::regclass AND NOT tgisinternal UNION ALL SELECT relname FROM pg_class WHERE relname LIKE '%`+dead+`%'`); len(left) > 0 {
			t.Errorf("left in %s: %v", side, left)
		}
		h.sql(side, `INSERT INTO orders (id, note) VALUES (900000, 'nobody guards')`)
	}
	h.sql(capability.Legacy, `INSERT INTO parcels VALUES (3)`)
	h.types("data", "verify", alive) // it has not noticed
}
