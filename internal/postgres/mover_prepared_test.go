package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"testbed"
)

// TestAPreparedTransactionHoldsNothingUpUnseen: it has written moved rows and is
// left, when guards and slot are made and when a gate is to be closed. Whoever waits
// for it says so, and its rows are neither lost nor doubled.
func TestAPreparedTransactionHoldsNothingUpUnseen(t *testing.T) {
	inEachCapture(t, testAPreparedTransactionHoldsNothingUpUnseen)
}

func testAPreparedTransactionHoldsNothingUpUnseen(t *testing.T, kind capability.Capture) {
	own := testbed.Cluster(t, map[string]string{"max_prepared_transactions": "5", "wal_level": "logical"})
	data := tables("t")
	data.Capture = kind
	m := newMigrationIn(t, kind, own.URL("postgres"), testbed.Other(t), plain+`INSERT INTO t SELECT n, 'v' FROM generate_series(1, 100) n`, data)
	m.created()
	prepare := func(id int, name string) {
		t.Helper()
		m.exec(capability.Legacy, fmt.Sprintf(`BEGIN; INSERT INTO t VALUES (%d, 'prepared'); UPDATE t SET v = '%s' WHERE id = %d; PREPARE TRANSACTION '%s'`, id, name, id-1000, name))
	}
	prepare(1001, "it''s left")
	plan, _, err := m.Plan(t.Context())
	m.must(err)
	if text := fmt.Sprint(plan.Settings); !strings.Contains(text, `prepared transaction "it's left"`) || !strings.Contains(text, `COMMIT PREPARED or ROLLBACK PREPARED 'it''s left';`) {
		t.Errorf("the plan: %s", text)
	}
	// The guards need a lock that it has. That fails in time, by name, and is tried
	// again by whoever runs the mover.
	err = m.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "it''s left") {
		t.Fatalf("a move beside it: %v", err)
	}
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM t`); n != 0 {
		t.Errorf("%d rows were copied", n)
	}
	if n := ask[int](m, capability.Legacy, `SELECT count(*) FROM pg_replication_slots`); n != 0 {
		t.Errorf("%d slots are left", n)
	}
	m.exec(capability.Legacy, `COMMIT PREPARED 'it''s left'`)
	m.Mover = m.mover(data, 2)
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)

	prepare(1002, "second")
	obstacles, err := m.gates.Obstacles(t.Context(), capability.Legacy)
	m.must(err)
	if text := strings.Join(obstacles, "\n"); !strings.Contains(text, "prepared transaction 'second'") || !strings.Contains(text, "ROLLBACK PREPARED") {
		t.Errorf("in the way of a switch: %q", text)
	}
	legacy, extracted, err := m.gates.Read(t.Context())
	m.must(err)
	_, closing, err := capability.Next(legacy, extracted, capability.EventClose)
	m.must(err)
	if err := m.gates.Close(t.Context(), capability.Legacy, legacy.Epoch, closing, time.Minute, "nonce"); !errors.Is(err, capability.ErrBusy) {
		t.Errorf("the gate closed beside it: %v", err)
	}
	m.exec(capability.Legacy, `INSERT INTO t VALUES (1003, 'beside')`) // nobody is held up
	m.settled(capability.Legacy)
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM t WHERE id > 1000`); n != 2 {
		t.Errorf("%d rows arrived", n)
	}
	m.exec(capability.Legacy, `COMMIT PREPARED 'second'`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.switchTo(capability.Extracted)
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM t WHERE id > 1000 OR v IN ('it''s left', 'second')`); n != 5 {
		t.Errorf("%d rows of prepared transactions", n)
	}
}
