package postgres

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"testbed"
)

// TestVerifyWithoutASnapshotOfHotRows: rows that are written all the time. One that
// differs for good is found among them where its writers leave a moment; one that is
// never at rest does not keep the comparison from its end.
func TestVerifyWithoutASnapshotOfHotRows(t *testing.T) {
	t.Parallel()
	server := testbed.Cluster(t, nil)
	m := newMigrationIn(t, capability.CaptureWAL, server.URL("postgres"), testbed.Other(t), shop, shopData()).created()
	m.SuspectAge = 2 * time.Second
	m.follows(m.Mover)
	m.exec(capability.Legacy, `CREATE PROCEDURE hot(which bigint, pause float8) LANGUAGE plpgsql AS $$
		BEGIN LOOP UPDATE orders SET total = total + 1 WHERE id = which; COMMIT; IF pause > 0 THEN PERFORM pg_sleep(pause); END IF; END LOOP; END $$;
		ALTER TABLE orders ALTER note SET STORAGE EXTERNAL; UPDATE orders SET note = repeat('x', 10000) WHERE id = 5`)
	m.settled(capability.Legacy)
	// A value that is stored out of line and not changed is not in the log: what a mistake has made of it stays.
	m.rogue(capability.Extracted, `UPDATE orders SET note = 'rogue' WHERE id = 5; UPDATE orders SET total = 7.5 WHERE id = 12`)
	conn, err := pgx.Connect(t.Context(), m.urls[capability.Legacy])
	m.must(err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the test's own
	_, err = conn.Exec(t.Context(), `BEGIN; SELECT pg_current_xact_id()`)
	m.must(err)
	for _, call := range []string{`CALL hot(5, 0.3)`, `CALL hot(7, 0)`} {
		writer, err := pgx.Connect(t.Context(), m.urls[capability.Legacy])
		m.must(err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = writer.Exec(context.Background(), call) // ends with its session
		}()
		t.Cleanup(func() {
			_ = writer.PgConn().CancelRequest(context.Background())
			<-done
			_ = writer.Close(context.Background())
		})
	}

	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	v, err := m.Verify(ctx, capability.Legacy, nil)
	m.must(err)
	if v.Method != capability.ByRecheck || v.Count != 2 ||
		!slices.Contains(v.Mismatches, capability.Mismatch{Table: "orders", Key: "id=5", Detail: "column note differs"}) ||
		!slices.Contains(v.Mismatches, capability.Mismatch{Table: "orders", Key: "id=12", Detail: "column total differs"}) {
		t.Errorf("found %+v", v)
	}
}
