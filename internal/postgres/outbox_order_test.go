package postgres

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"testbed"
)

// session is one of the application's, in a transaction of its own.
func (f *flow) session(side capability.Side) *pgx.Conn {
	f.t.Helper()
	conn, err := f.databases[side].connect(f.t.Context(), map[string]string{"search_path": "public"})
	f.must(err)
	f.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (f *flow) in(conn *pgx.Conn, script string) {
	f.t.Helper()
	if _, err := conn.PgConn().Exec(f.t.Context(), script).ReadAll(); err != nil {
		f.t.Fatalf("%s: %v", script, err)
	}
}

// The transaction that began first may change a row last: what counts is the order
// of the changes, not that of the transactions' numbers.
func TestCaptureOrdersByChange(t *testing.T) { inEachCapture(t, testCaptureOrdersByChange) }

func testCaptureOrdersByChange(t *testing.T, kind capability.Capture) {
	f := newFlow(t, kind, counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.drain(s)
	ticks := f.session(capability.Legacy) // none is made meanwhile, so that both go into one batch
	f.in(ticks, `SELECT pg_advisory_lock(hashtextextended('strangler tick `+f.name+`', 0))`)
	first := f.session(capability.Legacy)
	f.in(first, `BEGIN; SELECT pg_current_xact_id()`)
	f.exec(capability.Legacy, `UPDATE counter SET n = 1 WHERE id = 0; INSERT INTO journal VALUES ('a', 1)`)
	f.in(first, `UPDATE counter SET n = 2 WHERE id = 0; DELETE FROM journal WHERE id = 'a'; INSERT INTO journal VALUES ('a', 2); COMMIT`)
	f.in(ticks, `SELECT pg_advisory_unlock_all()`)
	f.drain(s)
	f.same("counter", "counter", "*", "*")
	f.same("journal", "journal", "*", "*")
}

// A trigger of the application's changes the row again that it is fired for, in a
// statement of many rows and with a name before and behind ours.
func TestCaptureOrdersWhatTriggersChange(t *testing.T) {
	inEachCapture(t, testCaptureOrdersWhatTriggersChange)
}

func testCaptureOrdersWhatTriggersChange(t *testing.T, kind capability.Capture) {
	const ddl = `CREATE TABLE t (id int PRIMARY KEY, n int, m int);`
	f := newFlow(t, kind, ddl+`
		CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
			IF TG_OP = ''INSERT'' THEN UPDATE t SET n = NEW.n + 100 WHERE id = NEW.id; END IF;
			IF TG_OP = ''UPDATE'' AND NEW.n < 1000 THEN UPDATE t SET n = NEW.n + 1000 WHERE id = NEW.id; END IF;
			RETURN NULL; END';
		CREATE FUNCTION remove() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM t WHERE id = NEW.id AND id % 7 = 0; RETURN NULL; END';
		CREATE TRIGGER a AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION again();
		CREATE TRIGGER z AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION again();
		CREATE CONSTRAINT TRIGGER z_late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION remove();`,
		ddl, capability.Table{Table: "t"})
	s := f.follow(capability.Legacy)
	f.exec(capability.Legacy, `INSERT INTO t SELECT i, i FROM generate_series(1, 20) i`)
	f.exec(capability.Legacy, `BEGIN; UPDATE t SET n = id; INSERT INTO t VALUES (100, 1); SAVEPOINT s; DELETE FROM t WHERE id < 5; ROLLBACK TO s; UPDATE t SET m = 5 WHERE id = 100; DELETE FROM t WHERE id = 6; COMMIT`)
	f.drain(s)
	f.same("t", "t", "*", "*")
	if n := f.text(capability.Extracted, `SELECT count(*) || ' ' || min(n) FROM public.t WHERE n > 1000`); n == "0" {
		t.Error("no trigger has changed a row")
	}
}

// A transaction that has drawn the lower number, and one of another database, may
// commit much later: nobody waits for them, and nothing of them is missed.
func TestCaptureNeitherMissesNorWaitsForLateCommits(t *testing.T) {
	inEachCapture(t, testCaptureNeitherMissesNorWaitsForLateCommits)
}

func testCaptureNeitherMissesNorWaitsForLateCommits(t *testing.T, kind capability.Capture) {
	own := cluster(t)
	f := newFlowIn(t, kind, own.URL("postgres"), counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.drain(s)
	elsewhere, err := pgx.Connect(t.Context(), own.URL("template1"))
	f.must(err)
	t.Cleanup(func() { _ = elsewhere.Close(context.Background()) })
	f.in(elsewhere, `BEGIN; SELECT pg_current_xact_id()`)
	late := f.session(capability.Legacy)
	f.in(late, `BEGIN; INSERT INTO journal VALUES ('late', 1); UPDATE counter SET n = 7 WHERE id = 3; SET CONSTRAINTS ALL IMMEDIATE`)
	rolled := f.session(capability.Legacy)
	f.in(rolled, `BEGIN; INSERT INTO journal VALUES ('never', 1); SET CONSTRAINTS ALL IMMEDIATE`)
	for _, id := range []string{"1", "2", "3"} {
		f.exec(capability.Legacy, `INSERT INTO journal VALUES ('`+id+`', 1)`)
		f.drain(s)
	}
	if got := f.text(capability.Extracted, `SELECT string_agg(id, ' ' ORDER BY id) FROM public.journal`); got != "1 2 3" {
		t.Errorf("applied: %s", got)
	}
	f.in(rolled, `ROLLBACK`)
	f.in(late, `COMMIT`)
	f.drain(s)
	f.same("journal", "journal", "*", "*")
	f.same("counter", "counter", "*", "*")
	if got := f.text(capability.Extracted, `SELECT string_agg(id, ' ' ORDER BY id) FROM public.journal`); got != "1 2 3 late" {
		t.Errorf("applied: %s", got)
	}
}

// A prepared transaction is read when it is committed, and stands in nobody's way.
func TestCaptureOfPreparedTransactions(t *testing.T) {
	inEachCapture(t, testCaptureOfPreparedTransactions)
}

func testCaptureOfPreparedTransactions(t *testing.T, kind capability.Capture) {
	own := testbed.Cluster(t, map[string]string{"max_prepared_transactions": "5"})
	f := newFlowIn(t, kind, own.URL("postgres"), counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.exec(capability.Legacy, `BEGIN; INSERT INTO journal VALUES ('prepared', 1); PREPARE TRANSACTION 'a'`)
	f.exec(capability.Legacy, `BEGIN; INSERT INTO journal VALUES ('never', 1); PREPARE TRANSACTION 'b'`)
	f.exec(capability.Legacy, `INSERT INTO journal VALUES ('beside', 1)`)
	f.drain(s)
	if got := f.text(capability.Extracted, `SELECT string_agg(id, ' ') FROM public.journal`); got != "beside" {
		t.Errorf("applied: %s", got)
	}
	f.exec(capability.Legacy, `COMMIT PREPARED 'a'`)
	f.exec(capability.Legacy, `ROLLBACK PREPARED 'b'`)
	f.drain(s)
	f.same("journal", "journal", "*", "*")
}

// Whatever isolation the writers have, whatever their role is set to, and whatever
// they may not do themselves: each change is captured as it is.
func TestCaptureOfWritersOfEveryKind(t *testing.T) {
	inEachCapture(t, testCaptureOfWritersOfEveryKind)
}

func testCaptureOfWritersOfEveryKind(t *testing.T, kind capability.Capture) {
	const ddl = `CREATE TABLE t (id int PRIMARY KEY, at timestamptz, span interval, f float8, b bytea, m money);`
	own := cluster(t)
	f := newFlowIn(t, kind, own.URL("postgres"), ddl, ddl, capability.Table{Table: "t"})
	f.exec(capability.Legacy, `CREATE ROLE clerk LOGIN PASSWORD 'clerk'; GRANT USAGE ON SCHEMA public TO clerk; GRANT SELECT, INSERT, UPDATE, DELETE ON t TO clerk; CREATE SCHEMA odd AUTHORIZATION clerk;
		ALTER ROLE clerk SET DateStyle = 'German'; ALTER ROLE clerk SET IntervalStyle = 'iso_8601'; ALTER ROLE clerk SET TimeZone = 'Asia/Kolkata'; ALTER ROLE clerk SET extra_float_digits = -10;
		ALTER ROLE clerk SET bytea_output = 'escape'; ALTER ROLE clerk SET search_path = odd, public; ALTER ROLE clerk SET statement_timeout = '30s'; ALTER ROLE clerk SET lock_timeout = '10s';
		ALTER ROLE clerk SET standard_conforming_strings = off; ALTER ROLE clerk SET default_transaction_isolation = 'serializable'; ALTER ROLE clerk SET client_encoding = 'LATIN1';
		ALTER ROLE clerk SET transform_null_equals = on; ALTER ROLE clerk SET default_tablespace = ''; ALTER ROLE clerk SET plpgsql.variable_conflict = 'use_column'`)
	s := f.follow(capability.Legacy)
	config := f.databases[capability.Legacy].config.Copy()
	config.User, config.Password, config.RuntimeParams = "clerk", "clerk", map[string]string{}
	clerk, err := pgx.ConnectConfig(t.Context(), config)
	f.must(err)
	t.Cleanup(func() { _ = clerk.Close(context.Background()) })
	f.in(clerk, `CREATE TYPE odd.text AS (a int); CREATE TABLE odd.outbox (capability int); CREATE DOMAIN pg_temp.text AS int; CREATE TEMP TABLE outbox (capability int, writing int)`)
	f.in(clerk, `INSERT INTO t VALUES (1, '01.02.2024 03:04:05.678901', 'P1Y2M3DT4H5M6S', 1.0 / 3, 'a\\001\\\\', 12.5)`)
	f.in(clerk, `BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO t VALUES (2, 'infinity', '-1 day', 'NaN', NULL, -1); UPDATE t SET f = f / 7; SAVEPOINT a; DELETE FROM t WHERE id = 1; ROLLBACK TO a; COMMIT`)
	f.in(clerk, `INSERT INTO t SELECT i FROM generate_series(10, 20) i; DELETE FROM t WHERE id = 15`)
	f.drain(s)
	f.same("t", "t", "*", "*")
	if n := f.text(capability.Extracted, `SELECT count(*)::text FROM public.t`); n != "12" {
		t.Errorf("%s rows", n)
	}
}
