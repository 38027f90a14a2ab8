package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"strangler/capability"
	"strangler/migrate"
)

// writers runs transactions on one side until they are stopped, and fails the
// test where one fails.
func (f *flow) writers(side capability.Side, n int, transaction func(writer, round int) string) (stop func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for w := range n {
		group.Go(func() {
			conn, err := f.databases[side].connect(context.Background(), map[string]string{"search_path": "public", "application_name": "writer"})
			if err != nil {
				f.t.Error(err)
				return
			}
			defer conn.Close(context.Background())
			for round := 0; ctx.Err() == nil; round++ {
				if _, err := conn.PgConn().Exec(context.Background(), transaction(w, round)).ReadAll(); err != nil {
					f.t.Errorf("writer: %v", err)
					return
				}
			}
		})
	}
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); group.Wait() }) }
	f.t.Cleanup(stop)
	return stop
}

// kill ends the stream's session that a condition names, and waits for the one
// that takes its place.
func (f *flow) kill(side capability.Side, where string) {
	f.t.Helper()
	from := ` FROM pg_stat_activity WHERE datname = current_database() AND ` + where
	f.until("a session to end", func() bool { return f.text(side, `SELECT count(*)::text`+from) != "0" })
	now := f.text(side, `SELECT clock_timestamp()::text || left(count(pg_terminate_backend(pid))::text, 0)`+from)
	f.until("the stream is back", func() bool {
		return f.text(side, `SELECT count(*)::text`+from+` AND backend_start > $1::text::timestamptz`, now) != "0"
	})
}

// patience is for machines that have much else to do.
const patience = 3 * time.Minute

// until polls a fact that only another process can make true.
func (f *flow) until(what string, is func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(patience)
	var pause pause
	for !is() {
		if time.Now().After(deadline) {
			f.t.Fatalf("not in %s: %s", patience, what)
		}
		pause.wait()
	}
}

const counters = `CREATE TABLE counter (id int PRIMARY KEY, n bigint NOT NULL); INSERT INTO counter SELECT i, 0 FROM generate_series(0, 3) i; CREATE TABLE journal (id text PRIMARY KEY, n int);`

// count is a transaction that would show a change that was lost or doubled: the
// insert would conflict, the counter would differ. Then its client thinks for a
// moment: a machine with other work must not spend all of it on writers.
func count(writer, round int) string {
	return fmt.Sprintf(`BEGIN; UPDATE counter SET n = n + 1 WHERE id = %[1]d; INSERT INTO journal VALUES ('%[1]d-%[2]d', %[2]d); DELETE FROM journal WHERE id = '%[1]d-%[3]d'; COMMIT; SELECT pg_sleep(0.003)`, writer, round, round-50)
}

// Connections break at any moment, on both ends: nothing is lost, nothing twice.
func TestStreamAppliesExactlyOnceWhileConnectionsBreak(t *testing.T) {
	inEachCapture(t, testStreamAppliesExactlyOnceWhileConnectionsBreak)
}

func testStreamAppliesExactlyOnceWhileConnectionsBreak(t *testing.T, kind capability.Capture) {
	f := newFlow(t, kind, counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.until("live", func() bool { return s.Status().Live })
	stop := f.writers(capability.Legacy, 4, count)
	for range 8 {
		f.kill(capability.Legacy, map[capability.Capture]string{capability.CaptureWAL: `backend_type = 'walsender'`, capability.CaptureTrigger: `application_name = 'strangler outbox'`}[kind])
		f.kill(capability.Extracted, `application_name = 'strangler mover'`)
	}
	stop()
	f.drain(s)
	f.same("counter", "counter", "*", "*")
	f.same("journal", "journal", "*", "*")
	if n := f.text(capability.Extracted, `SELECT sum(n)::text FROM public.counter`); n == "0" {
		t.Error("nothing was counted")
	}
}

// The process ends in the middle and another one goes on.
func TestStreamResumesInAnotherProcess(t *testing.T) {
	inEachCapture(t, testStreamResumesInAnotherProcess)
}

func testStreamResumesInAnotherProcess(t *testing.T, kind capability.Capture) {
	f := newFlow(t, kind, counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	stop := f.writers(capability.Legacy, 2, count)
	for range 6 {
		changes := s.Status().Changes
		f.until("something is applied", func() bool { return s.Status().Changes > changes })
		s.stop()
		if err := <-s.ended; err != nil {
			t.Fatalf("a stream that was stopped returned %v", err)
		}
		s.ended <- nil
		s = f.start(f.stream(capability.Legacy))
	}
	stop()
	f.drain(s)
	f.same("counter", "counter", "*", "*")
	f.same("journal", "journal", "*", "*")
	if !s.Changed().Overflowed() {
		t.Error("a new process claims to know what the one before has changed")
	}
}

// Both directions run at once; what one applies the other does not send back,
// and what a third party replicates into the source is sent.
func TestStreamsBothWaysWithoutEcho(t *testing.T) { inEachCapture(t, testStreamsBothWaysWithoutEcho) }

func testStreamsBothWaysWithoutEcho(t *testing.T, kind capability.Capture) {
	const ddl = `CREATE TABLE counter (id int PRIMARY KEY, n bigint NOT NULL); CREATE TABLE journal (id text PRIMARY KEY, n int);`
	f := newFlow(t, kind, ddl, ddl, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	f.prepare(capability.Legacy)
	f.prepare(capability.Extracted)
	forward, reverse := f.start(f.stream(capability.Legacy)), f.start(f.stream(capability.Extracted))
	for range 100 {
		f.exec(capability.Legacy, `INSERT INTO journal VALUES ('legacy-' || (SELECT count(*) FROM journal WHERE id LIKE 'legacy%'), 1)`)
		f.exec(capability.Extracted, `INSERT INTO journal VALUES ('extracted-' || (SELECT count(*) FROM journal WHERE id LIKE 'extracted%'), 1)`)
	}
	third := "third_" + strings.ReplaceAll(f.name, "-", "_")
	f.exec(capability.Legacy, fmt.Sprintf(`SELECT pg_replication_origin_create('%[1]s'); SELECT pg_replication_origin_session_setup('%[1]s'); INSERT INTO journal VALUES ('third', 3)`, third))
	t.Cleanup(func() {
		if err := f.databases[capability.Legacy].onceFree(context.Background(), `SELECT pg_replication_origin_drop($1)`, third); err != nil {
			t.Error(err)
		}
	})
	f.drain(forward)
	f.drain(reverse)
	f.drain(forward)
	f.same("journal", "journal", "*", "*")
	if n := f.rows(capability.Extracted, "journal", "count(*), count(*) FILTER (WHERE id = 'third')"); n != "(201,1)" {
		t.Errorf("%s rows", n)
	}
	if a, b := forward.Status().Changes, reverse.Status().Changes; a != 101 || b != 100 {
		t.Errorf("%d changes forward and %d back, not 101 and 100", a, b)
	}
}

// A newer controller takes the stream over; the older one cannot write any more.
func TestStreamYieldsToAHigherFence(t *testing.T) { inEachCapture(t, testStreamYieldsToAHigherFence) }

func testStreamYieldsToAHigherFence(t *testing.T, kind capability.Capture) {
	f := newFlow(t, kind, counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	old := f.follow(capability.Legacy)
	f.drain(old)
	f.exec(capability.Extracted, `UPDATE strangler.progress SET fence = 7`)
	f.exec(capability.Legacy, `INSERT INTO journal VALUES ('late', 1)`)
	if err := f.fails(old); !isHalt(err) || !strings.Contains(err.Error(), "another controller") {
		t.Fatalf("ended with %v", err)
	}
	if n := f.text(capability.Extracted, `SELECT count(*)::text FROM public.journal`); n != "0" {
		t.Error("the older controller has written after the newer one took over")
	}
	again := f.start(f.stream(capability.Legacy))
	if err := f.fails(again); !isHalt(err) {
		t.Fatalf("ended with %v", err)
	}
	s := f.stream(capability.Legacy)
	s.Fence = 7
	f.drain(f.start(s))
	f.same("journal", "journal", "*", "*")
}

// The mover passes a sealed gate, and goes on when the gate takes a new epoch
// between two changes.
func TestStreamPassesTheGate(t *testing.T) { inEachCapture(t, testStreamPassesTheGate) }

func testStreamPassesTheGate(t *testing.T, kind capability.Capture) {
	const ddl = `CREATE TABLE t (id int PRIMARY KEY, n int);`
	f := newFlow(t, kind, ddl, ddl, capability.Table{Table: "t"})
	gates := NewGates(f.name, f.databases[capability.Legacy], f.databases[capability.Extracted])
	relations := []migrate.Relation{{Schema: "public", Name: "t"}}
	f.must(gates.Prepare(t.Context(), relations, relations))
	s := f.follow(capability.Legacy)
	f.exec(capability.Legacy, `INSERT INTO t VALUES (1, 1)`)
	f.drain(s)
	const mover = `SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'strangler mover'`
	session := f.text(capability.Extracted, mover)
	for epoch := range 5 {
		f.exec(capability.Extracted, fmt.Sprintf(`UPDATE strangler.gate SET epoch = %d`, 10+epoch))
		f.exec(capability.Legacy, `UPDATE t SET n = n + 1`)
		f.drain(s)
	}
	f.same("t", "t", "*", "*")
	if again := f.text(capability.Extracted, mover); again != session {
		t.Error("the stream has lost its session to a change of the gate")
	}
}
