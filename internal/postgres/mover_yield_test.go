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
	"testbed"
)

const wide = `CREATE TABLE wide (id int PRIMARY KEY, v text DEFAULT 'v'); INSERT INTO wide SELECT n, repeat('v', 3000) FROM generate_series(1, 20000) n;`

// changes is a change of a table by somebody who waits for half a minute at most, and
// the application waits behind him.
func (m *migration) changes(side capability.Side, statement string) {
	m.t.Helper()
	if err := m.try(side, `SET application_name = 'migration'; SET lock_timeout = '30s'; `+statement); err != nil {
		m.t.Errorf("%s: %v", statement, err)
	}
}

// verifying runs a verification until it is asked for its end.
func (m *migration) verifying() (end func() capability.VerifyStatus) {
	done := make(chan error, 1)
	var v capability.VerifyStatus
	go func() {
		var err error
		v, err = m.Verify(context.Background(), capability.Legacy, nil)
		done <- err
	}()
	return func() capability.VerifyStatus {
		m.t.Helper()
		m.must(<-done)
		return v
	}
}

// TestAComparisonGivesWayToAChangeOfATable on either side, at the end of a row, and goes
// on from there.
func TestAComparisonGivesWayToAChangeOfATable(t *testing.T) {
	inEachCapture(t, testAComparisonGivesWayToAChangeOfATable)
}

func testAComparisonGivesWayToAChangeOfATable(t *testing.T, kind capability.Capture) {
	own := testbed.Cluster(t, map[string]string{"wal_level": "logical"})
	data := &capability.Data{State: capability.DataRunning, Gap: 100, Capture: kind, Tables: []capability.Table{{Table: "wide"}}}
	m := newMigrationIn(t, kind, own.URL("postgres"), testbed.Other(t), wide, data).created()
	m.restraint = capability.Restraint{Busy: 3}
	m.Mover = m.mover(data, 1)
	m.follows(m.Mover)
	// So many are at work that it waits in the middle of the table.
	working, rest := context.WithCancel(t.Context())
	worked := make(chan error, 4)
	for range 4 {
		conn := m.session(own.URL("postgres"))
		go func() {
			_, err := conn.Exec(working, `SELECT pg_sleep(600)`)
			worked <- err
		}()
	}
	m.eventually("many are at work", func() (bool, string) {
		s, err := m.databases[capability.Legacy].Strain(t.Context())
		return err == nil && s.Busy >= 4, fmt.Sprintf("%+v, %v", s, err)
	})
	end := m.verifying()
	compared := int64(0)
	for _, side := range capability.Sides {
		m.eventually("it waits in the middle", func() (bool, string) {
			v := m.Status().Verify
			return v != nil && v.Rows > compared && strings.Contains(v.Throttled, "at work"), fmt.Sprintf("%+v", v)
		})
		m.changes(side, `ALTER TABLE wide ALTER v SET DEFAULT 'w'`)
		if v := m.Status().Verify; !v.Running || v.Rows < 4096 {
			t.Fatalf("it did not wait, or has begun anew: %+v", v)
		}
		compared = m.Status().Verify.Rows
	}
	rest()
	for range 4 {
		<-worked
	}
	if v := end(); v.Count != 0 || v.Rows != 20000 {
		t.Errorf("%+v", v)
	}
}

// TestAComparisonThatIsStuckGivesWay as well, and what it has not told of is read and
// told again.
func TestAComparisonThatIsStuckGivesWay(t *testing.T) {
	inEachCapture(t, testAComparisonThatIsStuckGivesWay)
}

func testAComparisonThatIsStuckGivesWay(t *testing.T, kind capability.Capture) {
	data := &capability.Data{State: capability.DataRunning, Gap: 100, Tables: []capability.Table{{Table: "wide"}}}
	m := newMigration(t, kind, wide, data).created()
	m.follows(m.Mover)
	m.rogue(capability.Extracted, `UPDATE wide SET v = 'wrong' WHERE id = 3`)
	for _, repair := range []bool{false, true} {
		stuck, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		report := func(capability.Progress) { once.Do(func() { close(stuck); <-goOn }) }
		done := make(chan error, 1)
		var v capability.VerifyStatus
		go func() {
			var err error
			if repair {
				v, err = m.Repair(context.Background(), capability.Legacy, report)
			} else {
				v, err = m.Verify(context.Background(), capability.Legacy, report)
			}
			done <- err
		}()
		<-stuck
		for _, side := range capability.Sides {
			m.changes(side, `ALTER TABLE wide ALTER v SET DEFAULT 'w'`)
		}
		close(goOn)
		m.must(<-done)
		if !repair && (v.Count != 1 || len(v.Mismatches) != 1 || v.Rows != 20000) || repair && (v.Count != 0 || v.Repaired != 1) {
			t.Errorf("repair %t: %+v", repair, v)
		}
	}
	m.verify(capability.Legacy, 0)
}

// TestACountOfHalvesGivesWay to who changes one of the tables.
func TestACountOfHalvesGivesWay(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, `CREATE TABLE half (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY, w text)`, shopData())
	holding := m.session(m.urls[capability.Legacy])
	_, err := holding.Exec(t.Context(), `BEGIN; LOCK TABLE other`)
	m.must(err)
	selection, with, key := migrate.Columns(migrate.ParseRelation("half"), "id", "v"), migrate.Columns(migrate.ParseRelation("other"), "w"), migrate.KeyColumn{Name: "id", Type: "integer"}
	selection.With, selection.On = &with, [][2]migrate.KeyColumn{{key, key}}
	reader, err := m.databases[capability.Legacy].OpenRows(t.Context(), "")
	m.must(err)
	done := make(chan error, 1)
	go func() {
		_, err := reader.Unpaired(context.Background(), selection)
		done <- err
	}()
	m.eventually("the second table is waited for", func() (bool, string) {
		return ask[bool](m, capability.Legacy, `SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'other'::regclass AND mode = 'AccessShareLock' AND NOT granted)`), ""
	})
	m.changes(capability.Legacy, `ALTER TABLE half ADD more int`)
	var yielded *migrate.YieldedError
	if err := <-done; !errors.As(err, &yielded) || !strings.Contains(err.Error(), "(migration)") {
		t.Errorf("got %v", err)
	}
	_, err = holding.Exec(t.Context(), `COMMIT`)
	m.must(err)
	m.must(reader.Close())
}
