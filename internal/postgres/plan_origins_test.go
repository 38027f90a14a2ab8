package postgres

import (
	"fmt"
	"strings"
	"testing"

	"strangler/capability"
	"testbed"
)

// TestPlanCountsReplicationOrigins: sessions of the mover have one each, of which a server
// bounds the number, whatever captures the changes.
func TestPlanCountsReplicationOrigins(t *testing.T) {
	t.Parallel()
	small := testbed.Cluster(t, map[string]string{"max_replication_slots": "5"})
	for side, test := range map[capability.Side]struct {
		taken         int
		refused, free string
	}{
		capability.Legacy:    {taken: 4, refused: "4 of 5 replication origins (max_replication_slots) are taken; the mover writes under 2 at least", free: "SET max_replication_slots = 12; -- then"},
		capability.Extracted: {taken: 2, refused: "2 of 5 replication origins (max_replication_slots) are taken; the mover writes under 4 at least", free: "SET max_replication_slots = 12; -- then"},
	} {
		m := newMigration(t, capability.CaptureTrigger, "", tables("t"))
		m.urls[side] = small.URL("postgres")
		for _, s := range capability.Sides {
			m.exec(s, `DROP TABLE IF EXISTS t; `+plain)
		}
		d, err := Open(t.Context(), side, m.urls[side])
		m.must(err)
		defer d.Close()
		mover := m.through(side, d)
		m.exec(side, fmt.Sprintf(`SELECT pg_replication_origin_create('other ' || n) FROM generate_series(1, %d) n`, test.taken))
		_, problems, err := mover.Plan(t.Context())
		m.must(err)
		if text := fmt.Sprint(problems); len(problems) != 1 || !strings.Contains(text, test.refused) || !strings.Contains(text, "ALTER SYSTEM SET max_replication_slots = ") {
			t.Errorf("%s: refused: %s", side, text)
		}
		m.exec(side, `SELECT pg_replication_origin_drop('other 1')`)
		plan, problems, err := mover.Plan(t.Context())
		m.must(err)
		if text := fmt.Sprint(plan.Settings); len(problems) > 0 || !strings.Contains(text, "catches up with fewer than 4 sessions") || !strings.Contains(text, test.free) {
			t.Errorf("%s: noted: %s, refused: %v", side, text, problems)
		}
		m.exec(side, `SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin`)
	}
}
