package postgres

import (
	"errors"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/migrate"
)

// A change that does not fit ends the stream loudly, names table and row, shows
// no value, and leaves nothing of its transaction behind.
func TestStreamEndsAtConflicts(t *testing.T) { inEachCapture(t, testStreamEndsAtConflicts) }

func testStreamEndsAtConflicts(t *testing.T, kind capability.Capture) {
	const ddl = `CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE t (id text PRIMARY KEY, n int, m mood);`
	for name, test := range map[string]struct{ target, source, says string }{
		"row is there":      {`INSERT INTO t VALUES ('secret', 1)`, `INSERT INTO t VALUES ('secret', 2)`, "duplicate key"},
		"row to update":     {`DELETE FROM t WHERE id = 'old'`, `UPDATE t SET n = 9 WHERE id = 'old'`, "row to update is missing"},
		"row to delete":     {`DELETE FROM t WHERE id = 'old'`, `DELETE FROM t WHERE id = 'old'`, "row to delete is missing"},
		"unknown value":     {``, `ALTER TYPE mood ADD VALUE 'secret'; INSERT INTO t VALUES ('a', 1, 'secret')`, "invalid input value for enum"},
		"stricter check":    {`ALTER TABLE t ADD CHECK (n < 100)`, `INSERT INTO t VALUES ('a', 555)`, "violates check constraint"},
		"column gone there": {`ALTER TABLE t DROP COLUMN n`, `INSERT INTO t VALUES ('a', 555)`, "does not exist"},
		"no-op update":      {`DELETE FROM t WHERE id = 'old'`, `UPDATE t SET id = id WHERE id = 'old'`, "row to update is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFlow(t, kind, ddl, ddl, capability.Table{Table: "t"})
			s := f.follow(capability.Legacy)
			f.exec(capability.Legacy, `INSERT INTO t VALUES ('old', 1), ('same', 1)`)
			f.drain(s)
			f.exec(capability.Extracted, test.target)
			if alter, statement, found := strings.Cut(test.source, "; "); found { // a new enum value is used by a later transaction
				f.exec(capability.Legacy, alter)
				test.source = statement
			}
			f.exec(capability.Legacy, `BEGIN; UPDATE t SET m = 'ok' WHERE id = 'same'; `+test.source+`; COMMIT`)
			err := f.fails(s)
			var conflict *migrate.ConflictError
			if !errors.As(err, &conflict) || conflict.Table.Name != "t" || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "sha256:") {
				t.Fatalf("ended with %v", err)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "555") {
				t.Errorf("the error shows a value: %v", err)
			}
			if half := f.text(capability.Extracted, `SELECT count(*)::text FROM public.t WHERE m IS NOT NULL`); half != "0" {
				t.Error("half of the transaction was applied")
			}
			if status := s.Status(); status.Live || status.Error == "" {
				t.Errorf("status %+v", status)
			}
			if err := s.WaitMarker(t.Context(), "never"); err == nil {
				t.Error("a marker arrived on a stream that has ended")
			}
		})
	}
}

// The source's tables change under the stream: it ends before it misreads a row.
func TestStreamEndsAtChangedTables(t *testing.T) { inEachCapture(t, testStreamEndsAtChangedTables) }

func testStreamEndsAtChangedTables(t *testing.T, kind capability.Capture) {
	const ddl = `CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, note varchar(10));`
	for name, test := range map[string]struct{ change, says string }{
		"column added":    {`ALTER TABLE t ADD extra int`, `column "extra" was added`},
		"column renamed":  {`ALTER TABLE t RENAME note TO remark`, `column "remark" was added or renamed`},
		"column dropped":  {`ALTER TABLE t DROP note`, `column "note" was dropped`},
		"names exchanged": {`ALTER TABLE t ADD x varchar(10); ALTER TABLE t DROP note; ALTER TABLE t RENAME x TO note`, `changed`},
		"type changed":    {`ALTER TABLE t ALTER n TYPE bigint`, `the type of column "n"`},
		"length changed":  {`ALTER TABLE t ALTER note TYPE varchar(20)`, `the type of column "note"`},
		"table renamed":   {`ALTER TABLE t RENAME TO u; CREATE VIEW t AS TABLE u`, `called u now`},
		"other identity":  {`CREATE UNIQUE INDEX t_n ON t (n); ALTER TABLE t REPLICA IDENTITY USING INDEX t_n`, `not part of the replica identity`},
		"identity joined": {`ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, n)`, `has joined the replica identity`},
	} {
		if name == "other identity" && kind == capability.CaptureTrigger {
			continue // old rows come whole, whatever the log is told
		}
		if name == "names exchanged" && kind == capability.CaptureWAL {
			continue // the log tells it as before; the catalog does not
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFlow(t, kind, ddl, ddl, capability.Table{Table: "t"})
			s := f.follow(capability.Legacy)
			f.exec(capability.Legacy, `INSERT INTO t VALUES (1, 1), (2, 2)`)
			f.drain(s)
			f.exec(capability.Legacy, test.change)
			f.exec(capability.Legacy, `UPDATE t SET n = n + 10 WHERE id = 1`)
			err := f.fails(s)
			if !isHalt(err) && !errors.As(err, new(*migrate.ChangedError)) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("ended with %v", err)
			}
			if n := f.text(capability.Extracted, `SELECT n::text FROM public.t WHERE id = 1`); n != "1" {
				t.Errorf("the change was applied: n = %s", n)
			}
		})
	}
}

// Taking the replica identity FULL is no harm: old rows come whole.
func TestStreamGoesOnWithFullIdentity(t *testing.T) {
	inEachCapture(t, testStreamGoesOnWithFullIdentity)
}

func testStreamGoesOnWithFullIdentity(t *testing.T, kind capability.Capture) {
	const ddl = `CREATE TABLE t (id int PRIMARY KEY, x json, f float8);`
	f := newFlow(t, kind, ddl, ddl, capability.Table{Table: "t"})
	s := f.follow(capability.Legacy)
	f.exec(capability.Legacy, `INSERT INTO t VALUES (1, '{}', 'NaN'), (2, '{}', 0), (3, '{}', 0)`)
	f.exec(capability.Legacy, `ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET f = 1 WHERE id = 1; UPDATE t SET id = 20 WHERE id = 2; DELETE FROM t WHERE id = 3`)
	f.drain(s)
	f.same("t", "t", "*", "*")
}

// A deferrable primary key may hold two rows of one key for a moment, which no
// key can tell apart: the stream ends rather than change one of them by chance.
func TestStreamEndsAtAmbiguousKeys(t *testing.T) { inEachCapture(t, testStreamEndsAtAmbiguousKeys) }

func testStreamEndsAtAmbiguousKeys(t *testing.T, kind capability.Capture) {
	const ddl = `CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, n int); ALTER TABLE t REPLICA IDENTITY FULL;`
	f := newFlow(t, kind, ddl, ddl, capability.Table{Table: "t"})
	s := f.follow(capability.Legacy)
	f.exec(capability.Legacy, `INSERT INTO t VALUES (1, 1), (2, 2)`)
	f.exec(capability.Legacy, `UPDATE t SET id = id + 1`)
	if err := f.fails(s); !strings.Contains(err.Error(), "2 rows have this key") {
		t.Fatalf("ended with %v", err)
	}
}
