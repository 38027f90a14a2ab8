package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/quote"
	"strangler/migrate"
	clusters "testbed/cluster"
)

// standby makes commits of a cluster wait for a synchronous standby that is not
// there, where they ask for one. They are in the log then, and nobody sees them.
type standby struct {
	f   *flow
	own *clusters.Postgres
}

// awaited begins that, and returns what ends it.
func (s standby) awaited() (arrives func()) {
	s.f.t.Helper()
	s.f.exec(capability.Legacy, `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
	s.f.exec(capability.Legacy, `SELECT pg_reload_conf()`)
	s.f.until("commits wait", func() bool {
		conn := s.session(``)
		defer conn.Close(context.Background())
		var names string
		s.f.must(conn.QueryRow(context.Background(), `SHOW synchronous_standby_names`).Scan(&names))
		return names == "nobody"
	})
	return func() {
		s.f.exec(capability.Legacy, `ALTER SYSTEM RESET synchronous_standby_names`)
		s.f.exec(capability.Legacy, `SELECT pg_reload_conf()`)
	}
}

// session is one of the application, which has begun with a script.
func (s standby) session(script string) *pgx.Conn {
	s.f.t.Helper()
	conn, err := pgx.Connect(context.Background(), s.own.URL("postgres"))
	s.f.must(err)
	s.f.t.Cleanup(func() { conn.Close(context.Background()) })
	s.run(conn, script)
	return conn
}

func (s standby) run(conn *pgx.Conn, script string) {
	s.f.t.Helper()
	_, err := conn.PgConn().Exec(context.Background(), script).ReadAll()
	s.f.must(err)
}

// commits runs a statement whose commit waits, and returns when it does.
func (s standby) commits(statement string) {
	s.f.t.Helper()
	conn := s.session(`SET synchronous_commit = on`)
	done := make(chan error, 1)
	go func() {
		_, err := conn.PgConn().Exec(context.Background(), statement).ReadAll()
		done <- err
	}()
	s.f.t.Cleanup(func() {
		if err := <-done; err != nil {
			s.f.t.Error(err)
		}
	})
	s.f.until("a commit waits for its standby", func() bool {
		return s.f.text(capability.Legacy, `SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = $1`, conn.PgConn().PID()) == "1"
	})
}

// hesitant lets the standby arrive when the mover waits for transactions, later
// than it would go on without.
type hesitant struct {
	asked
	arrives func()
	waited  chan []uint32
}

const hesitation = 200 * time.Millisecond

func (h hesitant) Visible(ctx context.Context, transactions []uint32) error {
	h.waited <- transactions
	time.AfterFunc(hesitation, h.arrives)
	return h.asked.Visible(ctx, transactions)
}

// TestAFetchedRowIsNotOlderThanItsChange: the log tells of a change before the
// source shows it. A row that is fetched meanwhile is older than the change, or
// seems to be gone, and nothing that follows would bring it.
func TestAFetchedRowIsNotOlderThanItsChange(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"another key": `UPDATE t SET id = 2`,
		"same key":    `UPDATE t SET n = 1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := cluster(t)
			f := newFlowIn(t, capability.CaptureWAL, own.URL("postgres"), restless+`INSERT INTO t VALUES ('a', 1, 0, 'pad', repeat('z', 2200))`, restless, capability.Table{Table: "t"})
			source, target := f.capture(capability.Legacy), f.databases[capability.Extracted]
			f.prepare(capability.Legacy)
			f.must(target.SaveMove(t.Context(), f.name, migrate.Move{Phase: capability.PhaseBackfill}))
			s := standby{f, own}
			arrives := s.awaited()
			s.commits(change)
			var horizon capability.Position
			f.must(f.databases[capability.Legacy].pool.QueryRow(t.Context(), `SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint`).Scan(&horizon))
			h := hesitant{asked{f.databases[capability.Legacy], source}, arrives, make(chan []uint32, 100)}
			run := f.start(migrate.NewStream(migrate.StreamOptions{Capability: f.name, From: capability.Legacy, Mappings: f.mappings(capability.Legacy), Source: source, Target: target,
				Horizon: horizon, Fetcher: h, Log: slog.New(slog.DiscardHandler)}))
			if waited := <-h.waited; len(waited) != 1 {
				t.Errorf("waited for the transactions %v", waited)
			}
			f.drain(run)
			f.same("t", "t", "part, id, n, length(big)", "part, id, n, length(big)")
		})
	}
}

// TestASlotsSnapshotIsVisibleToAll: what a slot's snapshot shows, and its stream
// does not bring again, is in every later snapshot too. A backfill goes on with
// one of those.
func TestASlotsSnapshotIsVisibleToAll(t *testing.T) {
	t.Parallel()
	own := cluster(t)
	f := newFlowIn(t, capability.CaptureWAL, own.URL("postgres"), restless, restless, capability.Table{Table: "t"})
	s := standby{f, own}
	waits := func(writer *pgx.Conn) {
		t.Helper()
		f.until("the slot waits for a writer", func() bool {
			return f.text(capability.Legacy, `SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = 'walsender' AND $1 = ANY (pg_blocking_pids(pid))`, writer.PgConn().PID()) == "1"
		})
	}
	const begin = `SET synchronous_commit = local; BEGIN; SELECT pg_current_xact_id()`
	first := s.session(begin)
	type creation struct {
		migrate.Snapshot
		err error
	}
	created := make(chan creation, 1)
	go func() {
		snapshot, err := f.capture(capability.Legacy).CreateStream(t.Context(), []migrate.Relation{f.pairs[0].Legacy.Relation}, true)
		created <- creation{snapshot, err}
	}()
	waits(first)
	arrives := s.awaited()
	second := s.session(begin)
	s.run(first, `COMMIT`)
	waits(second)
	s.commits(`INSERT INTO t VALUES ('a', 1, 0)`)
	s.run(second, `COMMIT`)
	var snapshot creation
	select { // long enough for one that does not wait
	case snapshot = <-created:
	case <-time.After(time.Second):
	}
	if snapshot.Name == "" && snapshot.err == nil {
		arrives()
		snapshot = <-created
	} else {
		defer arrives()
	}
	f.must(snapshot.err)
	defer snapshot.Close() //nolint:errcheck // the test's
	for which, name := range map[string]string{"the slot's": snapshot.Name, "a later": ""} {
		anchor, err := f.databases[capability.Legacy].OpenSnapshot(t.Context(), name)
		f.must(err)
		conn := s.session(`BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT ` + quote.Literal(anchor.Name()))
		var rows int
		f.must(conn.QueryRow(t.Context(), `SELECT count(*) FROM t`).Scan(&rows))
		if rows != 1 {
			t.Errorf("%s snapshot shows %d rows", which, rows)
		}
		f.must(anchor.Close())
	}
}

// TestWhatStaysInvisibleIsNamed: without its standby a commit may wait for ever.
func TestWhatStaysInvisibleIsNamed(t *testing.T) {
	t.Parallel()
	f := newFlow(t, capability.CaptureWAL, restless, restless, capability.Table{Table: "t"})
	d := f.databases[capability.Legacy]
	tx, err := d.pool.Begin(t.Context())
	f.must(err)
	defer tx.Rollback(context.Background()) //nolint:errcheck // the test's
	var id uint32
	f.must(tx.QueryRow(t.Context(), `SELECT pg_current_xact_id()::xid::text::bigint`).Scan(&id))
	f.must(d.visible(t.Context(), []uint32{7}, 0))
	if err := d.visible(t.Context(), []uint32{7, id}, 10*time.Millisecond); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("transactions %d are", id)) {
		t.Errorf("an open transaction %d: %v", id, err)
	}
	f.must(tx.Commit(t.Context()))
	f.must(d.visible(t.Context(), []uint32{7, id}, 0))
}
