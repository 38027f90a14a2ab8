package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"strangler/capability"
	"strangler/migrate"
	"testbed"
)

// captured is a flow whose changes triggers capture.
func captured(t *testing.T, ddl string, tables ...string) *flow {
	t.Helper()
	var docs []capability.Table
	for _, table := range tables {
		docs = append(docs, capability.Table{Table: table})
	}
	return newFlow(t, capability.CaptureTrigger, ddl, ddl, docs...)
}

// events counts what waits in the outbox of a side.
func (f *flow) events(side capability.Side) string {
	f.t.Helper()
	return f.text(side, fmt.Sprintf(`SELECT (SELECT count(*) FROM strangler."events0_%[1]s") + (SELECT count(*) FROM strangler."events1_%[1]s") + (SELECT count(*) FROM strangler."events2_%[1]s") || ''`, f.name))
}

// While nothing happens nothing is written, and what the mover writes is not
// captured on the other side; what others write there is.
func TestOutboxIsQuietByItself(t *testing.T) {
	t.Parallel()
	f := captured(t, `CREATE TABLE t (id int PRIMARY KEY, n int);`, "t")
	f.prepare(capability.Legacy)
	f.prepare(capability.Extracted)
	forward, reverse := f.start(f.stream(capability.Legacy)), f.start(f.stream(capability.Extracted))
	f.exec(capability.Legacy, `INSERT INTO t SELECT i, 0 FROM generate_series(1, 10) i`)
	f.drain(forward)
	if n := f.events(capability.Extracted); n != "0" {
		t.Errorf("%s of the mover's own changes were captured", n)
	}
	ticks := func(side capability.Side) string {
		return f.text(side, `SELECT coalesce(max(position)::text, '') FROM strangler.tick`)
	}
	before := ticks(capability.Legacy) + ticks(capability.Extracted)
	for range 20 {
		forward.Nudge()
		reverse.Nudge()
		for _, side := range capability.Sides {
			position, err := f.capture(side).Position(t.Context())
			f.must(err)
			s := map[capability.Side]*running{capability.Legacy: forward, capability.Extracted: reverse}[side]
			f.until("an idle stream stands at the position", func() bool { return s.Applied() >= position })
		}
	}
	if after := ticks(capability.Legacy) + ticks(capability.Extracted); after != before {
		t.Errorf("ticks were made for nothing: %s, then %s", before, after)
	}
	f.exec(capability.Extracted, `UPDATE t SET n = 1 WHERE id = 1`)
	f.drain(reverse)
	f.same("t", "t", "*", "*")
	if a, b := forward.Status().Changes, reverse.Status().Changes; a != 10 || b != 1 {
		t.Errorf("%d changes forward and %d back", a, b)
	}
}

// Tables of events take turns under load, also while writers hold old snapshots,
// and no event is lost or left.
func TestOutboxForgetsWhatIsApplied(t *testing.T) {
	t.Parallel()
	f := captured(t, counters+`CREATE TABLE wide (id int PRIMARY KEY, pad text);`, "counter", "journal", "wide")
	s := f.follow(capability.Legacy)
	f.drain(s)
	files := func() (list string) {
		for i := range 3 {
			list += f.text(capability.Legacy, fmt.Sprintf(`SELECT relfilenode::text || ' ' FROM pg_class WHERE oid = 'strangler."events%d_%s"'::regclass`, i, f.name))
		}
		return list
	}
	old := f.session(capability.Legacy)
	f.in(old, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM strangler.outbox`) // believes for long in the first table
	stop := f.writers(capability.Legacy, 2, count)
	wide := f.writers(capability.Legacy, 1, func(_, round int) string {
		return fmt.Sprintf(`INSERT INTO wide SELECT %d + i, repeat(md5(random()::text || i), 50) FROM generate_series(1, 100) i; SELECT pg_sleep(0.03)`, round*100)
	})
	seen := map[string]bool{files(): true}
	f.until("the tables have taken turns", func() bool {
		s.Nudge() // tells the outbox what is applied, as happens every ten seconds
		seen[files()] = true
		return len(seen) > 3
	})
	f.in(old, `INSERT INTO journal VALUES ('of an old snapshot', 1); COMMIT`)
	seen = map[string]bool{files(): true}
	f.until("the tables have taken turns again", func() bool {
		s.Nudge() // tells the outbox what is applied, as happens every ten seconds
		seen[files()] = true
		return len(seen) > 2
	})
	wide()
	stop()
	f.drain(s)
	f.same("counter", "counter", "*", "*")
	f.same("journal", "journal", "*", "*")
	f.same("wide", "wide", "*", "*")
	if n := f.text(capability.Legacy, `SELECT count(*)::text FROM strangler.tick`); len(n) > 3 {
		t.Errorf("%s ticks are kept", n)
	}
}

// One partition that is emptied by itself has no counterpart on the other side; all
// of them together have, those that were attached later included.
func TestOutboxTruncatesPartitions(t *testing.T) {
	t.Parallel()
	const root = `CREATE TABLE p (id int, region text, PRIMARY KEY (id, region))`
	f := newFlow(t, capability.CaptureTrigger, root+` PARTITION BY LIST (region); CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a'); CREATE TABLE p_b PARTITION OF p FOR VALUES IN ('b')`, root, capability.Table{Table: "p"})
	s := f.follow(capability.Legacy)
	f.exec(capability.Legacy, `INSERT INTO p VALUES (1, 'a'), (2, 'b')`)
	f.exec(capability.Legacy, `TRUNCATE p; INSERT INTO p VALUES (3, 'b')`)
	f.drain(s)
	f.same("p", "p", "*", "*")
	f.exec(capability.Legacy, `CREATE TABLE p_c PARTITION OF p FOR VALUES IN ('c'); INSERT INTO p VALUES (4, 'c')`)
	f.until("the new partition is noticed", func() bool {
		return f.text(capability.Legacy, `SELECT count(*)::text FROM pg_trigger WHERE tgrelid = 'public.p_c'::regclass AND tgname LIKE 'strangler_truncate_%'`) == "1"
	})
	f.exec(capability.Legacy, `TRUNCATE p; INSERT INTO p VALUES (5, 'c')`)
	f.drain(s)
	f.same("p", "p", "*", "*")
	f.exec(capability.Legacy, `TRUNCATE p_c`)
	if err := f.fails(s); !isHalt(err) || !strings.Contains(err.Error(), "one partition of table p") {
		t.Errorf("ended with %v", err)
	}
}

// Whatever may have taken changes away ends the stream.
func TestOutboxRefusesToGoOn(t *testing.T) {
	t.Parallel()
	const gone = `DROP FUNCTION strangler."capture_$NAME"() CASCADE; SELECT strangler.drop_outbox('$NAME')`
	for name, test := range map[string]struct {
		side        capability.Side
		live        bool // while the stream runs
		spoil, says string
	}{
		"outbox is gone":    {capability.Legacy, false, gone, "is gone"},
		"gone meanwhile":    {capability.Legacy, true, gone, "is gone"},
		"made anew":         {capability.Legacy, false, `TRUNCATE strangler.tick; SELECT strangler.make_tick('$NAME')`, "made anew"},
		"anew meanwhile":    {capability.Legacy, true, `BEGIN; ` + gone + `; SELECT strangler.make_outbox('$NAME', ARRAY['counter', 'journal']::regclass[]::oid[]); SELECT strangler.add_capture('$NAME', 'counter'), strangler.add_capture('$NAME', 'journal'); SELECT strangler.make_tick('$NAME'); COMMIT`, "not the one"},
		"progress set back": {capability.Extracted, false, `UPDATE strangler.progress SET position = '0/1'`, "made anew"},
		"another cluster":   {capability.Extracted, false, `UPDATE strangler.progress SET system = '1'`, "is not the one"},
		"trigger disabled":  {capability.Legacy, true, `ALTER TABLE journal DISABLE TRIGGER "strangler_capture_$NAME"`, "table public.journal"},
		"trigger dropped":   {capability.Legacy, false, `DROP TRIGGER "strangler_capture_$NAME" ON journal`, "table public.journal"},
		"fires for some":    {capability.Legacy, true, `ALTER TABLE journal ENABLE TRIGGER "strangler_capture_$NAME"`, "table public.journal"},
		"table dropped":     {capability.Legacy, true, `DROP TABLE journal`, "its trigger"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := captured(t, counters, "counter", "journal")
			s := f.follow(capability.Legacy)
			f.exec(capability.Legacy, `INSERT INTO journal VALUES ('1', 1)`)
			f.drain(s)
			if !test.live {
				s.stop()
			}
			f.exec(test.side, strings.ReplaceAll(test.spoil, "$NAME", f.name))
			if !test.live {
				s = f.start(f.stream(capability.Legacy))
			}
			if err := f.fails(s); !isHalt(err) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// Triggers and tables are made, found and removed, without making writers wait.
func TestCreateAndDropOutbox(t *testing.T) {
	t.Parallel()
	f := captured(t, counters, "counter", "journal")
	box, relations := f.capture(capability.Legacy), []migrate.Relation{{Schema: "public", Name: "journal"}}
	writer := f.session(capability.Legacy)
	f.in(writer, `BEGIN; INSERT INTO journal VALUES ('before', 1)`)
	type made struct {
		snapshot migrate.Snapshot
		err      error
	}
	making := make(chan made, 1)
	go func() {
		snapshot, err := box.CreateStream(t.Context(), relations, true)
		making <- made{snapshot, err}
	}()
	f.until("it waits for the writer", func() bool {
		return f.text(capability.Legacy, `SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%add_capture%'`) == "1"
	})
	begun := time.Now()
	f.exec(capability.Legacy, `INSERT INTO journal VALUES ('beside', 1)`)
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("a writer waited for %s", took)
	}
	f.in(writer, `COMMIT`)
	m := <-making
	f.must(m.err)
	f.exec(capability.Legacy, `INSERT INTO journal VALUES ('after', 1)`)
	if got := f.inSnapshot(m.snapshot, `SELECT string_agg(id, ',' ORDER BY id) FROM public.journal`); got != "before,beside" {
		t.Errorf("the snapshot shows %q", got)
	}
	f.must(m.snapshot.Close())
	if n := f.events(capability.Legacy); n != "1" {
		t.Errorf("%s events", n)
	}
	if exists, err := box.StreamExists(t.Context()); err != nil || !exists {
		t.Errorf("exists: %v, %v", exists, err)
	}
	if _, err := box.CreateStream(t.Context(), relations, false); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("made twice: %v", err)
	}
	f.must(box.DropStream(t.Context()))
	f.must(box.DropStream(t.Context()))
	left := f.text(capability.Legacy, `SELECT concat_ws(', ', (SELECT string_agg(tgname, ' ') FROM pg_trigger WHERE NOT tgisinternal AND tgrelid <> 'strangler.gate'::regclass), (SELECT string_agg(conname, ' ') FROM pg_constraint WHERE contype = 't'),
		(SELECT string_agg(relname, ' ') FROM pg_class WHERE relname LIKE '%' || $1 || '%'), (SELECT string_agg(proname, ' ') FROM pg_proc WHERE proname LIKE '%' || $1 || '%'),
		(SELECT string_agg(capability, ' ') FROM strangler.outbox), (SELECT string_agg(capability, ' ') FROM strangler.tick))`, f.name)
	if left != "" {
		t.Errorf("left: %s", left)
	}
	f.in(writer, `BEGIN; LOCK TABLE journal IN ROW EXCLUSIVE MODE`)
	if _, err := box.CreateStream(t.Context(), relations, false); !errors.Is(err, capability.ErrBusy) {
		t.Errorf("a table that stays locked: %v", err)
	}
	f.in(writer, `COMMIT`)
	f.must(box.DropStream(t.Context()))
}

// A comparison waits for nobody.
func TestOutboxSnapshotDoesNotWait(t *testing.T) {
	t.Parallel()
	f := captured(t, counters, "counter", "journal")
	s := f.follow(capability.Legacy)
	writer := f.session(capability.Legacy)
	f.in(writer, `BEGIN; INSERT INTO journal VALUES ('open', 1)`)
	bounded, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	snapshot, err := f.capture(capability.Legacy).TemporarySnapshot(bounded)
	f.must(err)
	release, err := s.HoldAt(bounded, snapshot.Position)
	f.must(err)
	f.in(writer, `COMMIT`)
	if got := f.inSnapshot(snapshot, `SELECT count(*)::text FROM public.journal`); got != "0" {
		t.Errorf("the snapshot shows %s rows", got)
	}
	release()
	f.must(snapshot.Close())
	f.drain(s)
	f.same("journal", "journal", "*", "*")
}

// Lag counts from the last moment at which nothing was there to be read.
func TestOutboxTellsItsLag(t *testing.T) {
	t.Parallel()
	f := captured(t, counters, "counter", "journal")
	s := f.follow(capability.Legacy)
	f.drain(s)
	hold, err := s.Hold()
	f.must(err)
	begun := time.Now()
	f.exec(capability.Legacy, `INSERT INTO journal VALUES ('a', 1)`)
	f.until("the lag grows", func() bool { return s.Status().Lag > time.Second && s.Status().LagBytes > 0 })
	if lag := s.Status().Lag; lag > time.Since(begun)+10*time.Second {
		t.Errorf("%s of lag after %s", lag, time.Since(begun))
	}
	hold.Release()
	f.drain(s)
	if status := s.Status(); status.Lag != 0 || status.LagBytes != 0 {
		t.Errorf("lag of a stream that has caught up: %+v", status)
	}
}

// A source that says nothing any more is noticed, although its connection stands.
func TestOutboxNoticesASilentSource(t *testing.T) {
	t.Parallel()
	f := newFlowIn(t, capability.CaptureTrigger, cluster(t).URL("postgres"), counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.drain(s)
	pid, err := strconv.Atoi(f.text(capability.Legacy, `SELECT pid::text FROM pg_stat_activity WHERE application_name = 'strangler outbox'`))
	f.must(err)
	f.must(syscall.Kill(pid, syscall.SIGSTOP))
	f.until("the silence is noticed", func() bool { return !s.Status().Live })
	f.must(syscall.Kill(pid, syscall.SIGCONT))
	f.exec(capability.Legacy, `INSERT INTO journal VALUES ('1', 1)`)
	f.drain(s)
	f.same("journal", "journal", "*", "*")
}

// A server that falls over forgets commits that were not durable: none of them has
// been read.
func TestOutboxReadsWhatIsDurable(t *testing.T) {
	t.Parallel()
	own := testbed.Cluster(t, map[string]string{"synchronous_commit": "off", "wal_writer_delay": "10s", "wal_writer_flush_after": "0"})
	f := newFlowIn(t, capability.CaptureTrigger, own.URL("postgres"), counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.drain(s)
	for round := range 3 {
		ctx, cancel := context.WithCancel(context.Background())
		var group sync.WaitGroup
		group.Go(func() { f.scribble(ctx, round) })
		changes := s.Status().Changes
		f.until("something is applied", func() bool { return s.Status().Changes > changes+200 })
		f.must(own.Kill())
		cancel()
		group.Wait()
		f.must(own.Restart(context.Background(), nil))
		f.until("the stream is back", func() bool { return s.Status().Live })
		f.until("the server is back", func() bool { return f.databases[capability.Legacy].pool.Ping(t.Context()) == nil })
		f.drain(s)
		f.same("journal", "journal", "*", "*")
	}
}

// scribble inserts rows by commits that are not durable, until the server is gone.
func (f *flow) scribble(ctx context.Context, round int) {
	conn, err := f.databases[capability.Legacy].connect(context.Background(), map[string]string{"search_path": "public", "synchronous_commit": "off"})
	if err != nil {
		f.t.Error(err)
		return
	}
	defer conn.Close(context.Background()) //nolint:errcheck // of a server that is gone
	for i := 0; ctx.Err() == nil; i++ {
		if _, err := conn.Exec(context.Background(), `INSERT INTO journal VALUES ($1, $2)`, fmt.Sprintf("%d-%d", round, i), i); err != nil {
			return
		}
	}
}

// What PostgreSQL refuses because of triggers that wait for the commit.
func TestOutboxLimits(t *testing.T) {
	t.Parallel()
	f := captured(t, counters, "counter", "journal")
	s := f.follow(capability.Legacy)
	conn := f.session(capability.Legacy)
	_, err := conn.PgConn().Exec(t.Context(), `BEGIN; INSERT INTO journal VALUES ('a', 1); TRUNCATE journal; COMMIT`).ReadAll()
	if err == nil || !strings.Contains(err.Error(), "pending trigger events") {
		t.Errorf("got %v: docs/limits.md says otherwise", err)
	}
	f.in(conn, `ROLLBACK; BEGIN; TRUNCATE journal; INSERT INTO journal VALUES ('b', 1); COMMIT;
		BEGIN; INSERT INTO journal VALUES ('c', 1); SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE journal; INSERT INTO journal VALUES ('d', 1); COMMIT`)
	f.drain(s)
	f.same("journal", "journal", "*", "*")
}
