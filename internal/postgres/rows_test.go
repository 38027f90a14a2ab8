package postgres

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/migrate"
	"testbed"
)

// TestRowsOfASnapshotOrNone: a truncation is seen by older snapshots too, so that
// a table which was truncated since is not read; and one that was read is locked
// no more.
func TestRowsOfASnapshotOrNone(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, `
		CREATE TABLE a (k inet PRIMARY KEY); INSERT INTO a VALUES ('10.0.0.1'), ('10.0.0.1/24'), ('10.0.0.10');
		CREATE TABLE b (k int PRIMARY KEY); INSERT INTO b VALUES (1);
		CREATE TABLE c (k int PRIMARY KEY) PARTITION BY LIST (k); CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1); INSERT INTO c VALUES (1)`, nil)
	read := func(rows migrate.Reader, table, typ string) (string, error) {
		var b bytes.Buffer
		err := rows.Ordered(t.Context(), &b, migrate.Columns(migrate.ParseRelation(table), "k"), []migrate.KeyColumn{{Name: "k", Type: typ}}, nil, nil)
		return strings.ReplaceAll(b.String(), "\n", " "), err
	}
	open := func() migrate.Reader {
		rows, err := m.databases[capability.Legacy].OpenRows(t.Context(), "")
		m.must(err)
		t.Cleanup(func() { m.must(rows.Close()) })
		return rows
	}
	plain, partitioned := open(), open()
	// In the order of what is written, which no cast to text has.
	if got, err := read(plain, "a", "inet"); err != nil || got != "10.0.0.1 10.0.0.1/24 10.0.0.10 " {
		t.Errorf("a: %q, %v", got, err)
	}
	m.exec(capability.Legacy, `SET lock_timeout = '5s'; TRUNCATE a, b; TRUNCATE c1; INSERT INTO b VALUES (2)`)
	if got, err := read(plain, "b", "integer"); !errors.Is(err, migrate.ErrRewritten) {
		t.Errorf("b: %q, %v", got, err)
	}
	if got, err := read(partitioned, "c", "integer"); !errors.Is(err, migrate.ErrRewritten) {
		t.Errorf("c: %q, %v", got, err)
	}
	if got, err := read(open(), "b", "integer"); err != nil || got != "2 " {
		t.Errorf("b: %q, %v", got, err)
	}
}

// TestVerifyBesideTruncations takes snapshots again where a table was truncated
// before it was read.
func TestVerifyBesideTruncations(t *testing.T) { inEachCapture(t, testVerifyBesideTruncations) }

func testVerifyBesideTruncations(t *testing.T, kind capability.Capture) {
	m := newMigrationIn(t, kind, testbed.Database(t), testbed.Other(t), `
		CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a SELECT n, repeat('v', 900) FROM generate_series(1, 20000) n;
		CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1), (2)`,
		&capability.Data{State: capability.DataRunning, Capture: kind, Tables: []capability.Table{{Table: "a"}, {Table: "b"}}}).created()
	m.follows(m.Mover)
	truncated := false
	v, err := m.Verify(t.Context(), capability.Legacy, func(p capability.Progress) {
		if !truncated {
			truncated = true
			m.exec(capability.Legacy, `BEGIN; TRUNCATE b; INSERT INTO b VALUES (3); COMMIT`)
		}
	})
	m.must(err)
	if !truncated || v.Count != 0 || v.Rows != 20001 {
		t.Errorf("truncated %v: %+v", truncated, v)
	}
}
