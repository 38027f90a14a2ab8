package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strangler/capability"
	"strangler/migrate"
	"testbed"
	clusters "testbed/cluster"
)

// forgetful is a server that writes what is asynchronous nowhere: a power cut takes it
// back, unless somebody has asked for more. Its role and database ask for nothing.
type forgetful struct {
	*clusters.Postgres
	t      testing.TB
	writer int // its process that would write the log in the background, and stands still
}

func newForgetful(t testing.TB) *forgetful {
	t.Helper()
	f := &forgetful{t: t, Postgres: testbed.Cluster(t, map[string]string{"wal_level": "logical", "wal_buffers": "16MB", "checkpoint_timeout": "1h"})}
	f.asleep(`ALTER DATABASE postgres SET synchronous_commit = off; ALTER ROLE CURRENT_USER SET synchronous_commit = off`)
	t.Cleanup(f.awake)
	return f
}

// asleep runs a script and stops the server's own writing.
func (f *forgetful) asleep(script string) {
	f.t.Helper()
	var writer int
	conn, err := pgx.Connect(context.Background(), f.URL("postgres"))
	if err == nil {
		defer conn.Close(context.Background()) //nolint:errcheck // it has answered
		_, err = conn.PgConn().Exec(context.Background(), script).ReadAll()
	}
	if err == nil {
		err = conn.QueryRow(context.Background(), `SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'`).Scan(&writer)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	// It must not stand still in the middle of a write, with a lock that everybody needs.
	for resting := false; !resting; {
		err := syscall.Kill(writer, syscall.SIGSTOP)
		if err == nil {
			bounded, cancel := context.WithTimeout(context.Background(), time.Second)
			err = f.query(bounded, `SELECT coalesce(wait_event = 'WalWriterMain', false) FROM pg_stat_activity WHERE backend_type = 'walwriter'`, &resting)
			cancel()
		}
		if err != nil || !resting {
			err = errors.Join(syscall.Kill(writer, syscall.SIGCONT), ignoreLate(err))
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
	f.writer = writer
}

// query asks in a session of its own: one that waited for somebody who stands still is
// of no use any more.
func (f *forgetful) query(ctx context.Context, sql string, into any) error {
	conn, err := pgx.Connect(ctx, f.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.Background()) //nolint:errcheck // only read
	return conn.QueryRow(ctx, sql).Scan(into)
}

// ignoreLate leaves out that there was no answer in time.
func ignoreLate(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) {
		return nil
	}
	return err
}

// awake lets the process go on, without which the server does not end.
func (f *forgetful) awake() {
	if f.writer != 0 {
		_ = syscall.Kill(f.writer, syscall.SIGCONT) // it may be gone
	}
	f.writer = 0
}

// cut is the power cut. The process that stands still would not notice it.
func (f *forgetful) cut() {
	f.t.Helper()
	_ = syscall.Kill(f.writer, syscall.SIGKILL)
	f.writer = 0
	if err := f.Kill(); err != nil {
		f.t.Fatal(err)
	}
}

// again starts it anew.
func (f *forgetful) again() {
	f.t.Helper()
	if err := f.Restart(context.Background(), nil); err != nil {
		f.t.Fatal(err)
	}
	f.asleep(`SELECT`)
}

// notes is a table that is only inserted into: whoever applies a change twice, or not
// at all, meets a conflict or differs.
const noteRows = `CREATE TABLE notes (id bigserial PRIMARY KEY, n int NOT NULL, big text);
	INSERT INTO notes (n, big) SELECT n, repeat('z', 2100) FROM generate_series(1, 1500) n;`

const noteColumns = `id, n, big FROM notes`

// noting inserts, updates and deletes rows, a commit each, until it is stopped or the
// server is gone.
func (m *migration) noting() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		conn, err := pgx.Connect(context.Background(), m.urls[capability.Legacy])
		if err != nil {
			m.t.Error(err)
			return
		}
		defer conn.Close(context.Background()) //nolint:errcheck // of a server that may be gone
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := conn.Exec(context.Background(), `WITH new AS (INSERT INTO notes (n) VALUES ($1) RETURNING id), gone AS (DELETE FROM notes WHERE id = $2) UPDATE notes SET n = n + 1 WHERE id IN (SELECT id - 5 FROM new)`, i, 2*i); err != nil {
				return
			}
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); group.Wait() }) }
	m.t.Cleanup(stop)
	return stop
}

// again runs a mover, and once more whenever it ends with an error, as a controller
// does: a server that falls over beside a question of its own ends it.
func (m *migration) again(mover *migrate.Mover) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for ctx.Err() == nil {
			if err := mover.Run(ctx); err != nil && ctx.Err() == nil {
				m.t.Logf("mover: %v", err)
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); group.Wait() }) }
	m.t.Cleanup(stop)
	return stop
}

// back waits until a server answers again.
func (m *migration) back(side capability.Side) {
	m.t.Helper()
	m.eventually("the server is back", func() (bool, string) {
		err := m.databases[side].pool.Ping(m.t.Context())
		return err == nil, fmt.Sprint(err)
	})
}

// TestATargetThatFallsOverHasToldNoLie: its rows and its progress go back together, and
// the source has forgotten nothing of what is lost, although every commit of the
// target's role and database is asynchronous.
func TestATargetThatFallsOverHasToldNoLie(t *testing.T) {
	inEachCapture(t, testATargetThatFallsOverHasToldNoLie)
}

func testATargetThatFallsOverHasToldNoLie(t *testing.T, kind capability.Capture) {
	target := newForgetful(t)
	data := &capability.Data{State: capability.DataRunning, Gap: 100, Rate: 1000, Capture: kind, Tables: []capability.Table{{Table: "notes"}}}
	m := newMigrationIn(t, kind, testbed.Database(t), target.URL("postgres"), noteRows, data).created()
	m.chunkBytes = 64 << 10
	m.Mover = m.mover(data, 1)
	stop := m.noting()
	// While it is copied: chunks that are said to be done are.
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	m.copied(3)
	target.cut()
	cancel()
	<-ended // with an error, or without where it had not noticed
	target.again()
	m.back(capability.Extracted)
	fence := uint64(2)
	m.Mover = m.mover(data, fence)
	end := m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	// While it is followed.
	for range 3 {
		changes := m.Status().Streams[0].Changes
		m.eventually("something is applied", func() (bool, string) {
			s := m.Status().Streams
			return len(s) > 0 && s[0].Changes > changes+200, fmt.Sprintf("%+v", s)
		})
		if kind == capability.CaptureWAL { // the cut comes when the source has just been told of changes
			const told = `SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name = $1`
			before := ask[int64](m, capability.Legacy, told, slotName(m.name, capability.Legacy))
			m.eventually("the source is told", func() (bool, string) {
				now := ask[int64](m, capability.Legacy, told, slotName(m.name, capability.Legacy))
				return now > before, fmt.Sprint(now)
			})
		}
		target.cut()
		end()
		target.again()
		m.back(capability.Extracted)
		durable := ask[int64](m, capability.Extracted, `SELECT (position - '0/0')::bigint FROM strangler.progress WHERE capability = $1 AND source = 'legacy'`, m.name)
		if kind == capability.CaptureWAL {
			forgotten := ask[int64](m, capability.Legacy, `SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name = $1`, slotName(m.name, capability.Legacy))
			if forgotten > durable {
				t.Errorf("the source has forgotten everything up to %d, and the target has it up to %d", forgotten, durable)
			}
		}
		fence++
		m.Mover = m.mover(data, fence)
		end = m.follows(m.Mover)
	}
	// In one run, which finds the server again by itself.
	target.cut()
	target.again()
	m.back(capability.Extracted)
	stop()
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.alike(noteColumns)
}

// TestASourceThatFallsOverTakesNothingBack of what the target has: a change is sent, and
// a row is copied, only when it is durable there, although every commit of the
// application is asynchronous.
func TestASourceThatFallsOverTakesNothingBack(t *testing.T) {
	inEachCapture(t, testASourceThatFallsOverTakesNothingBack)
}

func testASourceThatFallsOverTakesNothingBack(t *testing.T, kind capability.Capture) {
	source := newForgetful(t)
	data := &capability.Data{State: capability.DataRunning, Gap: 100, Rate: 1000, Capture: kind, Tables: []capability.Table{{Table: "notes"}}}
	m := newMigrationIn(t, kind, source.URL("postgres"), testbed.Other(t), noteRows, data).created()
	m.chunkBytes = 64 << 10
	m.Mover = m.mover(data, 1)
	lost := 0
	fall := func() {
		t.Helper()
		written := ask[int64](m, capability.Legacy, `SELECT last_value FROM notes_id_seq`)
		source.cut()
		source.again()
		m.back(capability.Legacy)
		if kept := ask[int64](m, capability.Legacy, `SELECT coalesce(max(id), 0) FROM notes`); kept < written {
			lost++
		}
	}
	stop := m.noting()
	end := m.again(m.Mover)
	m.copied(3)
	fall()
	stop()
	stop = m.noting()
	m.eventually("another snapshot, and it follows", func() (bool, string) {
		s := m.Status()
		return s.Phase == capability.PhaseFollowing, fmt.Sprintf("%+v", s)
	})
	for range 3 {
		m.eventually("it is live", func() (bool, string) {
			s := m.Status().Streams
			return len(s) == 2 && s[0].Live, fmt.Sprintf("%+v", s)
		})
		changes := m.Status().Streams[0].Changes
		m.eventually("something is applied", func() (bool, string) {
			s := m.Status().Streams
			return len(s) == 2 && s[0].Changes > changes+200, fmt.Sprintf("%+v", s)
		})
		fall()
		stop()
		stop = m.noting()
	}
	stop()
	m.eventually("it is live", func() (bool, string) {
		s := m.Status().Streams
		return len(s) == 2 && s[0].Live && s[1].Live, fmt.Sprintf("%+v", s)
	})
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.alike(noteColumns)
	end()
	if lost == 0 {
		t.Error("the server has lost nothing: the test has seen no crash that matters")
	}
}

// TestWhatAHeartbeatIsBehindIsDurable: a backfill that goes on under another snapshot, and
// whoever fetches rows, asks for a heartbeat before the target keeps what was shown.
func TestWhatAHeartbeatIsBehindIsDurable(t *testing.T) {
	inEachCapture(t, testWhatAHeartbeatIsBehindIsDurable)
}

func testWhatAHeartbeatIsBehindIsDurable(t *testing.T, kind capability.Capture) {
	source := newForgetful(t)
	f := newFlowIn(t, kind, source.URL("postgres"), `CREATE TABLE notes (id int PRIMARY KEY)`, `CREATE TABLE notes (id int PRIMARY KEY)`, capability.Table{Table: "notes"})
	f.prepare(capability.Legacy)
	capture, d := f.capture(capability.Legacy), f.databases[capability.Legacy]
	// Who has just asked for a position does not make the log durable again.
	d.beat.Store(time.Now().Add(time.Hour).UnixNano())
	conn, err := pgx.Connect(t.Context(), source.URL("postgres"))
	f.must(err)
	for i := range 2 {
		_, err = conn.Exec(t.Context(), `INSERT INTO notes VALUES ($1)`, i)
		f.must(err)
		if shown := f.text(capability.Legacy, `SELECT count(*)::text FROM public.notes`); shown != fmt.Sprint(i+1) {
			t.Fatalf("%s rows are shown", shown)
		}
		if i == 0 {
			_, err = capture.Heartbeat(t.Context())
			f.must(err)
		}
	}
	source.cut()
	source.again()
	f.until("the server is back", func() bool { return d.pool.Ping(t.Context()) == nil })
	if kept := f.text(capability.Legacy, `SELECT coalesce(string_agg(id::text, ','), '') FROM public.notes`); kept != "0" {
		t.Errorf("of what was written 0 was behind a heartbeat, and 1 was not; kept is %q", kept)
	}
}
