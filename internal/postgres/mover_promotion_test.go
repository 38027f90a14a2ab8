package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"testbed"
)

// TestAPromotedStandbyIsNotTakenForItsPrimary: the source dies, its standby is
// promoted and lacks what came last. The mover refuses to go on, and a repair makes
// both sides what the promoted one has.
func TestAPromotedStandbyIsNotTakenForItsPrimary(t *testing.T) {
	inEachCapture(t, testAPromotedStandbyIsNotTakenForItsPrimary)
}

func testAPromotedStandbyIsNotTakenForItsPrimary(t *testing.T, kind capability.Capture) {
	primary := testbed.Cluster(t, map[string]string{"wal_level": "logical", "hot_standby": "on"})
	data := tables("t")
	data.Capture = kind
	standby := testbed.Standby(t, primary)
	var d *Database
	t.Cleanup(func() { // after that of the migration
		if d != nil {
			d.Close()
		}
	})
	m := newMigrationIn(t, kind, primary.URL("postgres"), testbed.Other(t), plain+`INSERT INTO t SELECT n, 'v' FROM generate_series(1, 1000) n`, data)
	m.created()
	stop := m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	promoted := standby.URL("postgres")
	m.exec(capability.Legacy, `UPDATE t SET v = 'seen by both' WHERE id <= 10`)
	last := ask[string](m, capability.Legacy, `SELECT pg_current_wal_insert_lsn()::text`)
	seen := *m
	seen.urls = map[capability.Side]string{capability.Legacy: promoted}
	m.eventually("the standby has replayed", func() (bool, string) {
		at := ask[bool](&seen, capability.Legacy, `SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn`, last)
		return at, fmt.Sprint(at)
	})
	m.must(standby.Kill()) // it gets nothing more
	m.exec(capability.Legacy, `UPDATE t SET v = 'lost' WHERE id BETWEEN 11 AND 20; DELETE FROM t WHERE id = 500; INSERT INTO t VALUES (2000, 'lost')`)
	m.settled(capability.Legacy)
	stop()
	m.must(primary.Kill())
	m.must(standby.Restart(t.Context(), nil))
	m.urls[capability.Legacy] = promoted
	m.exec(capability.Legacy, `SELECT pg_promote()`)
	if lost := ask[int](m, capability.Legacy, `SELECT count(*) FROM t WHERE v = 'lost'`); lost != 0 {
		t.Fatalf("the standby has %d rows that it was not to get", lost)
	}
	var err error
	d, err = Open(t.Context(), capability.Legacy, promoted)
	m.must(err)
	m.databases[capability.Legacy] = d
	m.gates = NewGates(m.name, d, m.databases[capability.Extracted])
	if legacy, _, err := m.gates.Read(t.Context()); err != nil || legacy.Actual.Timeline != legacy.Self.Timeline+1 {
		t.Errorf("the gate of the promoted one: %+v, %v", legacy, err)
	}
	m.exec(capability.Legacy, `DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (3000, 'by the promoted one')`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = m.mover(data, 2).Run(ctx)
	if !isHalt(err) || !strings.Contains(err.Error(), "strangler data repair") {
		t.Fatalf("went on with the promoted standby: %v", err)
	}
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM t WHERE id IN (1, 3000)`); n != 1 {
		t.Errorf("%d rows: something was applied", n)
	}
	m.Mover = m.mover(data, 3)
	m.must(m.Recover(t.Context()))
	m.Mover = m.mover(data, 4)
	m.follows(m.Mover)
	m.exec(capability.Legacy, `UPDATE t SET v = 'after it' WHERE id = 700`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.switchTo(capability.Extracted)
	m.exec(capability.Extracted, `INSERT INTO t VALUES (4000, 'of the service')`)
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	m.switchTo(capability.Legacy)
}
