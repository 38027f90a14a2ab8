package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"testbed"
)

// TestVerifyWithoutASnapshot: where the source has no slot left, or one would wait
// for a transaction that does not end, rows are compared all the same, under load:
// nothing is found that is not there, and everything that is.
func TestVerifyWithoutASnapshot(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings map[string]string
		hinder   func(m *migration) // takes the snapshots away
		reason   string
	}{
		"no slot left": {map[string]string{"max_replication_slots": "4"}, func(m *migration) {
			for n := 0; ; n++ {
				if m.try(capability.Legacy, fmt.Sprintf(`SELECT pg_create_physical_replication_slot('taken_%d')`, n)) != nil {
					return
				}
			}
		}, "all replication slots are in use"},
		"a transaction does not end": {nil, func(m *migration) {
			conn, err := pgx.Connect(t.Context(), m.urls[capability.Legacy])
			m.must(err)
			t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the test's own
			_, err = conn.Exec(t.Context(), `SET application_name = 'open for long'; BEGIN; SELECT pg_current_xact_id()`)
			m.must(err)
		}, "pid "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testbed.Cluster(t, test.settings)
			m := newMigrationIn(t, capability.CaptureWAL, server.URL("postgres"), testbed.Other(t), shop, shopData()).created()
			m.SuspectAge = 300 * time.Millisecond
			m.follows(m.Mover)
			test.hinder(m)
			ctx, cancel := context.WithCancel(t.Context())
			var load sync.WaitGroup
			for client := range 2 {
				load.Go(func() { m.load(ctx, client) })
			}
			apart := func(want int64) capability.VerifyStatus {
				t.Helper()
				v := m.verify(capability.Legacy, want)
				if v.Method != capability.ByRecheck || !strings.Contains(v.Reason, test.reason) {
					t.Errorf("by %s: %s", v.Method, v.Reason)
				}
				return v
			}
			m.SnapshotAge = 200 * time.Millisecond // so that it is gone on with
			apart(0)
			m.SnapshotAge = 0
			// Rows that the load leaves alone.
			m.exec(capability.Legacy, `INSERT INTO orders (id, customer_id, total) VALUES (900001, 1, 8), (900002, 1, 9); INSERT INTO order_lines VALUES (900002, 1, 5), (900002, 2, 5)`)
			apart(0)
			m.rogue(capability.Extracted, `UPDATE orders SET total = 8.000 WHERE id = 900001; DELETE FROM items WHERE order_id = 900002 AND line = 2; INSERT INTO orders (id, customer_id) VALUES (999999, 1)`)
			v := apart(3)
			cancel()
			load.Wait()
			got := map[string]bool{}
			for _, mismatch := range v.Mismatches {
				got[mismatch.Table+" "+mismatch.Key+": "+mismatch.Detail] = true
			}
			for _, want := range []string{"orders id=900001: column total differs", "order_lines order_id=900002 line=2: only in legacy", "orders id=999999: only in extracted"} {
				if !got[want] {
					t.Errorf("not found: %s; found %v", want, v.Mismatches)
				}
			}
			m.settled(capability.Legacy)
			m.eventually("all changed rows are compared", func() (bool, string) {
				return m.UnverifiedKeys(capability.Legacy) == 0, fmt.Sprint(m.UnverifiedKeys(capability.Legacy))
			})
		})
	}
}
