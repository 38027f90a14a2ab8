package postgres

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"testbed"
	clusters "testbed/cluster"
)

// forgetful is a server whose commits are in memory for ten seconds: a power cut takes
// them back, unless somebody has asked for more.
func forgetful(t testing.TB) *clusters.Postgres {
	t.Helper()
	server := testbed.Cluster(t, map[string]string{"wal_level": "logical", "wal_writer_delay": "10s", "wal_writer_flush_after": "0", "checkpoint_timeout": "1h"})
	m := &migration{t: t, questions: &questions{kept: map[string]*pgx.Conn{}}, urls: map[capability.Side]string{capability.Legacy: server.URL("postgres")}}
	defer m.questions.close()
	m.exec(capability.Legacy, `ALTER DATABASE postgres SET synchronous_commit = off; ALTER ROLE CURRENT_USER SET synchronous_commit = off`)
	return server
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
	target := forgetful(t)
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
	m.must(target.Kill())
	cancel()
	<-ended // with an error, or without where it had not noticed
	m.must(target.Restart(context.Background(), nil))
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
		m.must(target.Kill())
		end()
		m.must(target.Restart(context.Background(), nil))
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
	m.must(target.Kill())
	m.must(target.Restart(context.Background(), nil))
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
	source := forgetful(t)
	data := &capability.Data{State: capability.DataRunning, Gap: 100, Rate: 1000, Capture: kind, Tables: []capability.Table{{Table: "notes"}}}
	m := newMigrationIn(t, kind, source.URL("postgres"), testbed.Other(t), noteRows, data).created()
	m.chunkBytes = 64 << 10
	m.Mover = m.mover(data, 1)
	lost := 0
	fall := func() {
		t.Helper()
		written := ask[int64](m, capability.Legacy, `SELECT last_value FROM notes_id_seq`)
		m.must(source.Kill())
		m.must(source.Restart(context.Background(), nil))
		m.back(capability.Legacy)
		if kept := ask[int64](m, capability.Legacy, `SELECT coalesce(max(id), 0) FROM notes`); kept < written {
			lost++
		}
	}
	stop := m.noting()
	end := m.start(m.Mover)
	m.copied(3)
	fall()
	stop()
	stop = m.noting()
	m.eventually("another snapshot, and it follows", func() (bool, string) {
		s := m.Status()
		if s.Phase == capability.PhaseFailed {
			t.Fatal(s.Error)
		}
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
	source := forgetful(t)
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
	f.must(source.Kill())
	f.must(source.Restart(context.Background(), nil))
	f.until("the server is back", func() bool { return d.pool.Ping(t.Context()) == nil })
	if kept := f.text(capability.Legacy, `SELECT coalesce(string_agg(id::text, ','), '') FROM public.notes`); kept != "0" {
		t.Errorf("of what was written 0 was behind a heartbeat, and 1 was not; kept is %q", kept)
	}
}
