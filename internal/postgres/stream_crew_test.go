package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"strangler/migrate"
)

// crewTables are tables whose rows exclude one another by more than their keys, by what
// keys do not tell, and by nothing else.
const crewTables = `CREATE TABLE seats (id int PRIMARY KEY, place text UNIQUE, n int NOT NULL);
	CREATE TABLE ranges (id int PRIMARY KEY, span int4range NOT NULL, EXCLUDE USING gist (span WITH &&));
	CREATE TABLE lines (doc int, line int, body text, PRIMARY KEY (doc, line))`

func newCrewFlow(t *testing.T, kind capability.Capture) *flow {
	t.Helper()
	// A target that is slow, as one far away or with many indexes is.
	const slow = `CREATE FUNCTION slow() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.0005); RETURN true; END $$;
		ALTER TABLE lines ADD CHECK (slow())`
	return newFlow(t, kind, crewTables, crewTables+"; "+slow, capability.Table{Table: "seats"}, capability.Table{Table: "ranges"}, capability.Table{Table: "lines"})
}

// TestAStreamThatIsBehindAppliesTogether: with several sessions, in the order of the
// source, and to the same rows: while values that are unique go from row to row, and
// sessions of the target are ended under it.
func TestAStreamThatIsBehindAppliesTogether(t *testing.T) {
	inEachCapture(t, testAStreamThatIsBehindAppliesTogether)
}

func testAStreamThatIsBehindAppliesTogether(t *testing.T, kind capability.Capture) {
	f := newCrewFlow(t, kind)
	f.prepare(capability.Legacy)
	random := rand.New(rand.NewPCG(3, 5))
	const rows = 2000
	f.exec(capability.Legacy, fmt.Sprintf(`INSERT INTO seats SELECT n, 'place ' || n, 0 FROM generate_series(1, %d) n;
		INSERT INTO ranges SELECT n, int4range(n * 10, n * 10 + 5) FROM generate_series(1, %[1]d) n;
		INSERT INTO lines SELECT n, 1, repeat('x', 50) FROM generate_series(1, %[1]d) n`, rows))
	for round := range 10 {
		var script strings.Builder
		for n := range 100 { // each a transaction, most of which meet in no row
			a, b := 1+random.IntN(rows), 1+random.IntN(rows)
			fmt.Fprintf(&script, "BEGIN; INSERT INTO lines SELECT %d, n, repeat('y', 50) FROM generate_series(1, 8) n;\n", rows+1+round*100+n)
			switch kind := random.IntN(12); {
			case kind == 0 && round%10 > 7: // what keys do not prove to be apart
				fmt.Fprintf(&script, "UPDATE ranges SET span = int4range(%[1]d * 10 + %[2]d, %[1]d * 10 + 6 + %[2]d) WHERE id = %[1]d;", a, random.IntN(4))
			case kind == 1: // unique values change hands
				fmt.Fprintf(&script, "UPDATE seats SET place = 'free ' || %d WHERE id = %d; UPDATE seats SET place = 'of ' || %[2]d || random() WHERE id = %[2]d; UPDATE seats SET place = 'free ' || %[1]d WHERE id = %[3]d;", round*100+n, a, b)
			case kind == 2:
				fmt.Fprintf(&script, "DELETE FROM seats WHERE id = %d; INSERT INTO seats VALUES (%[1]d, 'again ' || random(), 1);", a)
			case kind == 3: // the key as well
				fmt.Fprintf(&script, "UPDATE seats s SET id = -id WHERE id IN (%d, -%[1]d) AND NOT EXISTS (SELECT FROM seats o WHERE o.id = -s.id); UPDATE seats SET n = n + 1 WHERE id = %d;", a, b)
			case kind == 4 && random.IntN(20) == 0: // given up here, taken by whoever comes next
				fmt.Fprintf(&script, "UPDATE seats SET place = NULL WHERE place = 'the best'; UPDATE seats SET place = 'the best' WHERE id = %d;", a)
			case kind < 8:
				fmt.Fprintf(&script, "UPDATE lines SET body = 'z' || random() WHERE doc = %d AND line = 1;", a)
			}
			script.WriteString("COMMIT;\n")
		}
		f.exec(capability.Legacy, script.String())
	}
	watch := newWatch(f)
	stream := f.stream(capability.Legacy)
	stream.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	begun := time.Now()
	f.drain(f.start(stream))
	t.Logf("%d changes in %s", stream.Status().Changes, time.Since(begun))
	watch.stop()
	for table, columns := range map[string]string{"seats": "*", "ranges": "*", "lines": "*"} {
		f.same(table, table, columns, columns)
	}
	if t.Logf("%d sessions at most, %d ended", watch.most, watch.ended); kind == capability.CaptureWAL && (watch.most < 2 || watch.ended == 0) {
		t.Error("it was not behind") // an outbox hands out what many have written as one transaction
	}
}

// watch counts the sessions that a stream applies with, and ends some of them.
type watch struct {
	most, ended int
	stop        func()
}

func newWatch(f *flow) *watch {
	f.t.Helper()
	conn, err := f.databases[capability.Extracted].connect(f.t.Context(), nil)
	f.must(err)
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan struct{})
	w := &watch{stop: func() { cancel(); <-done }}
	go func() {
		defer close(done)
		defer conn.Close(context.Background()) //nolint:errcheck // the test's
		var pause pause
		for ctx.Err() == nil {
			var n int
			var one *int
			err := conn.QueryRow(ctx, `SELECT count(*), (array_agg(pid ORDER BY random()) FILTER (WHERE xact_start IS NOT NULL))[1] FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'strangler mover'`).Scan(&n, &one)
			w.most = max(w.most, n)
			if err == nil && n > 1 && one != nil && w.ended < 6 {
				_, err = conn.Exec(ctx, `SELECT pg_terminate_backend($1)`, *one)
				w.ended++
			}
			if err != nil && ctx.Err() == nil {
				f.t.Error(err)
				return
			}
			pause.wait()
		}
	}()
	return w
}

// TestAStreamThatIsBehindHoldsNobodyUp: who has what an earlier group waits for, and
// wants what a later one has written, gets it, although no server sees a deadlock.
func TestAStreamThatIsBehindHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	f := newCrewFlow(t, capability.CaptureWAL)
	const rows = 4000
	seats := fmt.Sprintf(`INSERT INTO seats SELECT n, NULL, 0 FROM generate_series(1, %d) n`, rows)
	f.exec(capability.Legacy, seats)
	f.exec(capability.Extracted, seats)
	f.prepare(capability.Legacy)
	f.exec(capability.Legacy, fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP UPDATE seats SET n = 1 WHERE id = i; COMMIT; END LOOP; END $$`, rows))
	f.exec(capability.Legacy, `SELECT pg_sleep(1.1)`) // so that the stream is behind, which is a matter of age
	d := f.databases[capability.Extracted]
	application, err := d.connect(t.Context(), map[string]string{"lock_timeout": "30s", "application_name": "application"})
	f.must(err)
	defer application.Close(context.Background()) //nolint:errcheck // the test's
	_, err = application.Exec(t.Context(), `BEGIN; SELECT FROM public.seats WHERE id = 1 FOR UPDATE`)
	f.must(err)
	r := f.start(f.stream(capability.Legacy))
	f.until("groups wait for the first", func() bool {
		return f.text(capability.Extracted, `SELECT (count(*) FILTER (WHERE wait_event_type = 'Lock') = 1 AND count(*) FILTER (WHERE state = 'idle in transaction') > 0)::text FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'strangler mover'`) == "true"
	})
	var last int
	f.must(d.pool.QueryRow(t.Context(), `SELECT max(id) FROM public.seats WHERE id NOT IN (SELECT id FROM public.seats FOR UPDATE SKIP LOCKED)`).Scan(&last))
	if last < 2 {
		t.Fatalf("the last row that is locked is %d", last)
	}
	_, err = application.Exec(t.Context(), `SELECT FROM public.seats WHERE id = $1 FOR UPDATE`, last)
	f.must(err)
	_, err = application.Exec(t.Context(), `COMMIT`)
	f.must(err)
	f.drain(r)
	f.same("seats", "seats", "*", "*")
}

// TestExclusionsAreReadOffTheIndexes: those of partitions too, and none where equal
// values may be written differently.
func TestExclusionsAreReadOffTheIndexes(t *testing.T) {
	t.Parallel()
	const ddl = `CREATE TYPE mood AS ENUM ('sad', 'ok');
		CREATE COLLATION ignoring (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		CREATE TABLE plain (a int, b text, c mood, d numeric(10, 2), PRIMARY KEY (b, a));
		CREATE UNIQUE INDEX ON plain (c, d) INCLUDE (a) WHERE a > 0;
		CREATE TABLE expressed (id int PRIMARY KEY, b text); CREATE UNIQUE INDEX ON expressed (lower(b));
		CREATE TABLE numbers (id numeric PRIMARY KEY);
		CREATE TABLE written (id int PRIMARY KEY, b text COLLATE ignoring UNIQUE);
		CREATE TABLE ranged (id int PRIMARY KEY, span int4range NOT NULL, EXCLUDE USING gist (span WITH &&));
		CREATE TABLE parted (id int, day date, n int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
		CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01'); CREATE UNIQUE INDEX ON parted_1 (n)`
	var docs []capability.Table
	names := []string{"plain", "expressed", "numbers", "written", "ranged", "parted"}
	for _, name := range names {
		docs = append(docs, capability.Table{Table: name})
	}
	f := newFlow(t, capability.CaptureWAL, ddl, ddl, docs...)
	f.prepare(capability.Legacy)
	session, err := f.databases[capability.Extracted].Applier(t.Context(), f.name, capability.Legacy, 0, 1, f.mappings(capability.Legacy))
	f.must(err)
	got := map[string]migrate.Exclusion{}
	for i, e := range session.Exclusions() {
		got[names[i]] = e
	}
	f.must(session.Close())
	want := map[string]migrate.Exclusion{
		"plain":     {{Columns: []int{1, 0}}, {Columns: []int{2, 3}}},
		"parted":    {{Columns: []int{0, 1}}, {Columns: []int{2}}},
		"expressed": nil, "numbers": nil, "written": nil, "ranged": nil,
	}
	for _, name := range names {
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("%s: %v, not %v", name, got[name], want[name])
		}
	}
}
