package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
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
	// Beside a busy machine a hot row may be named and left by one verification; then
	// another one finds it.
	for slices.ContainsFunc(v.Skipped, func(s string) bool { return strings.HasPrefix(s, "orders id=5: written faster") }) {
		v, err = m.Verify(ctx, capability.Legacy, nil)
		m.must(err)
	}
	if v.Method != capability.ByRecheck || v.Count != 2 ||
		!slices.Contains(v.Mismatches, capability.Mismatch{Table: "orders", Key: "id=5", Detail: "column note differs"}) ||
		!slices.Contains(v.Mismatches, capability.Mismatch{Table: "orders", Key: "id=12", Detail: "column total differs"}) {
		t.Errorf("found %+v", v)
	}
}

// TestVerifyWithoutASnapshotOfHalves: the service owns, and two of its tables are one
// of the monolith's. Rows that are left to the changed ones are compared there.
func TestVerifyWithoutASnapshotOfHalves(t *testing.T) {
	t.Parallel()
	m := newMigrationIn(t, capability.CaptureWAL, testbed.Database(t), testbed.Cluster(t, nil).URL("postgres"), accounts, accountsData()).created()
	m.SuspectAge = 100 * time.Millisecond
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	m.exec(capability.Legacy, `ALTER TABLE invoices DROP CONSTRAINT invoices_account_fkey`)
	m.exec(capability.Extracted, `ALTER TABLE invoices DROP CONSTRAINT invoices_account_fkey`)
	m.switchTo(capability.Extracted)
	m.rogue(capability.Legacy, `UPDATE accounts SET city = 'rogue' WHERE id = 5; DELETE FROM accounts WHERE id = 6`)
	conn, err := pgx.Connect(t.Context(), m.urls[capability.Extracted])
	m.must(err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the test's own
	_, err = conn.Exec(t.Context(), `BEGIN; SELECT pg_current_xact_id()`)
	m.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			m.exec(capability.Extracted, fmt.Sprintf(`UPDATE persons SET note = 'n%[1]d' WHERE id = 7; UPDATE places SET town = 't%[1]d' WHERE person = 7;
				BEGIN; INSERT INTO persons (id, email, name) VALUES (%[2]d, 'm%[2]d', 'x'); INSERT INTO places (person, street) VALUES (%[2]d, 's'); COMMIT`, n, 500000+n))
		}
	})
	v := m.verify(capability.Extracted, 3)
	cancel()
	load.Wait()
	if v.Method != capability.ByRecheck {
		t.Errorf("by %s", v.Method)
	}
	for _, want := range []capability.Mismatch{{Table: "accounts", Key: "person=5", Detail: "column city differs"},
		{Table: "accounts", Key: "id=6", Detail: "only in extracted"}, {Table: "accounts", Key: "person=6", Detail: "only in extracted"}} {
		if !slices.Contains(v.Mismatches, want) {
			t.Errorf("not found: %+v; found %+v", want, v.Mismatches)
		}
	}
	m.settled(capability.Extracted)
	m.eventually("all changed rows are compared", func() (bool, string) {
		n := m.UnverifiedKeys(capability.Extracted)
		return n == 0, fmt.Sprint(n, v.Skipped)
	})
}
