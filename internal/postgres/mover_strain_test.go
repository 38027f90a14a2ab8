package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
	"testbed"
)

// session is one of an application.
func (m *migration) session(url string) *pgx.Conn {
	m.t.Helper()
	conn, err := pgx.Connect(m.t.Context(), url)
	m.must(err)
	m.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// TestACopyWaitsForAStandby: while a standby of the legacy database is behind,
// nothing is copied and nothing compared, and the status says why.
func TestACopyWaitsForAStandby(t *testing.T) {
	t.Parallel()
	own := testbed.Cluster(t, nil)
	standby := testbed.Standby(t, own)
	m := newMigrationIn(t, capability.CaptureWAL, own.URL("postgres"), testbed.Other(t), shop, shopData())
	m.restraint = capability.Restraint{ReplicaLag: 300 * time.Millisecond}
	m.created()
	replica := m.session(standby.URL("postgres"))
	replay := func(function string) {
		t.Helper()
		_, err := replica.Exec(t.Context(), "SELECT "+function+"()")
		m.must(err)
	}
	strained := func() {
		t.Helper()
		m.eventually("a standby that is behind", func() (bool, string) {
			m.exec(capability.Legacy, `SELECT pg_logical_emit_message(true, 'move', 'on')`)
			s, err := m.databases[capability.Legacy].Strain(t.Context())
			m.must(err)
			return s.Lag > time.Second && s.Standby != "", fmt.Sprintf("%+v", s)
		})
	}
	replay("pg_wal_replay_pause")
	strained()
	mover := m.mover(shopData(), 1)
	m.start(mover)
	m.eventually("a throttled copy", func() (bool, string) {
		b := mover.Status().Backfill
		return b != nil && strings.HasPrefix(b.Throttled, "replica lag ") && strings.Contains(b.Throttled, " > 300ms (") && strings.Contains(b.Throttled, " of the legacy database"), fmt.Sprintf("%+v", b)
	})
	if b := mover.Status().Backfill; b.Rows != 0 {
		t.Errorf("%d rows were copied all the same", b.Rows)
	}
	replay("pg_wal_replay_resume")
	m.eventually("following", func() (bool, string) {
		s := mover.Status()
		return s.Phase == capability.PhaseFollowing, fmt.Sprintf("%+v", s)
	})

	replay("pg_wal_replay_pause")
	strained()
	verified := make(chan error, 1)
	go func() {
		_, err := mover.Verify(t.Context(), capability.Legacy, nil)
		verified <- err
	}()
	m.eventually("a throttled comparison", func() (bool, string) {
		v := mover.Status().Verify
		return v != nil && v.Running && strings.HasPrefix(v.Throttled, "replica lag "), fmt.Sprintf("%+v", v)
	})
	replay("pg_wal_replay_resume")
	m.must(<-verified)
	if v := mover.Status().Verify; v.Count != 0 || v.Throttled != "" {
		t.Errorf("%+v", v)
	}
}

// TestStrainIsRead: what others have to bear, as a role may see it.
func TestStrainIsRead(t *testing.T) {
	t.Parallel()
	own := testbed.Cluster(t, map[string]string{"max_slot_wal_keep_size": "4GB"})
	m := newMigrationIn(t, capability.CaptureWAL, own.URL("postgres"), testbed.Other(t), shop, shopData())
	d := m.databases[capability.Legacy]
	strain := func() migrate.Strain {
		t.Helper()
		s, err := d.Strain(t.Context())
		m.must(err)
		return s
	}
	if s := strain(); s != (migrate.Strain{}) {
		t.Errorf("a quiet server: %+v", s)
	}
	m.exec(capability.Legacy, `SELECT pg_create_physical_replication_slot('theirs', true)`)
	if s := strain(); s.Slot != "theirs" || s.Headroom < 3<<30 || s.Headroom > 5<<30 {
		t.Errorf("a slot of others: %+v", s)
	}
	blocker := m.session(own.URL("postgres"))
	_, err := blocker.Exec(t.Context(), `SELECT pg_advisory_lock(2)`)
	m.must(err)
	busy := m.session(own.URL("postgres"))
	done := make(chan error, 1)
	go func() {
		_, err := busy.Exec(t.Context(), `SELECT pg_advisory_lock(2)`)
		done <- err
	}()
	m.eventually("a session at work", func() (bool, string) { s := strain(); return s.Busy >= 1, fmt.Sprintf("%+v", s) })
	_, err = blocker.Exec(t.Context(), `SELECT pg_advisory_unlock(2)`)
	m.must(err)
	m.must(<-done)
	m.exec(capability.Legacy, `CREATE ROLE mover LOGIN`)
	limited, err := Open(t.Context(), capability.Legacy, strings.Replace(own.URL("postgres"), "postgres@", "mover@", 1))
	m.must(err)
	t.Cleanup(limited.Close)
	if s, err := limited.Strain(t.Context()); err != nil || !s.Hidden {
		t.Errorf("a role that sees nothing of others: %+v, %v", s, err)
	}
	m.exec(capability.Legacy, `GRANT pg_read_all_stats TO mover`)
	if s, err := limited.Strain(t.Context()); err != nil || s.Hidden {
		t.Errorf("a role that sees others: %+v, %v", s, err)
	}
}

// quietMigration is one between two databases of a cluster that nobody else writes
// into: what a slot keeps is the log of all of them.
func quietMigration(t *testing.T, kind capability.Capture, data *capability.Data) *migration {
	t.Helper()
	own := testbed.Cluster(t, nil)
	data.Capture = kind
	m := newMigrationIn(t, kind, own.URL("postgres"), own.URL("template1"), shop, data)
	return m.created()
}

// TestAStreamThatKeepsTooMuchIsGivenUp: before the source's disk is full. What
// followed is brought back by a repair, what was being copied is begun again.
func TestAStreamThatKeepsTooMuchIsGivenUp(t *testing.T) {
	inEachCapture(t, func(t *testing.T, kind capability.Capture) {
		m := quietMigration(t, kind, shopData())
		m.restraint = capability.Restraint{Retain: 24 << 20}
		mover := m.mover(m.Document.Data, 1)
		run := make(chan error, 1)
		go func() { run <- mover.Run(t.Context()) }()
		m.eventually("following", func() (bool, string) {
			s := mover.Status()
			return s.Phase == capability.PhaseFollowing && len(s.Streams) == 2 && s.Streams[0].Live && s.Streams[0].Retained > 0, fmt.Sprintf("%+v", s)
		})
		// The target does not take anything: somebody has locked a table.
		blocker := m.session(m.urls[capability.Extracted])
		_, err := blocker.Exec(t.Context(), `BEGIN; LOCK TABLE public.orders`)
		m.must(err)
		for range 12 {
			m.exec(capability.Legacy, `UPDATE orders SET note = repeat(md5(random()::text), 40)`)
		}
		var halt *migrate.HaltError
		if err := <-run; !errors.As(err, &halt) || !strings.Contains(err.Error(), "more than mover.retain (24.0 MiB); it was given up") || !strings.Contains(err.Error(), "data repair") {
			t.Fatalf("got %v", err)
		}
		if exists, err := m.databases[capability.Legacy].Capture(kind, m.name).StreamExists(t.Context()); err != nil || exists {
			t.Errorf("the stream is still kept: %v, %v", exists, err)
		}
		_, err = blocker.Exec(t.Context(), `ROLLBACK`)
		m.must(err)

		m.restraint = capability.Restraint{}
		again := m.mover(m.Document.Data, 2)
		if err := again.Run(t.Context()); !errors.As(err, &halt) {
			t.Fatalf("a lost stream was followed: %v", err)
		}
		m.must(again.Recover(t.Context()))
		m.Mover = again
		m.follows(again)
		m.verify(capability.Legacy, 0)
	})
}

// TestACopyThatKeepsTooMuchStaysEnded: it does not begin again by itself, which
// would fill the disk again.
func TestACopyThatKeepsTooMuchStaysEnded(t *testing.T) {
	inEachCapture(t, func(t *testing.T, kind capability.Capture) {
		data := shopData()
		data.Rate = 100 // so that there is time
		m := quietMigration(t, kind, data)
		m.restraint = capability.Restraint{Retain: 24 << 20}
		mover := m.mover(data, 1)
		run := make(chan error, 1)
		go func() { run <- mover.Run(t.Context()) }()
		m.eventually("a copy", func() (bool, string) {
			s := mover.Status()
			return s.Backfill != nil && s.Backfill.Rows > 0, fmt.Sprintf("%+v", s)
		})
		for range 12 {
			m.exec(capability.Legacy, `UPDATE orders SET note = repeat(md5(random()::text), 40)`)
		}
		var halt *migrate.HaltError
		if err := <-run; !errors.As(err, &halt) || !strings.Contains(err.Error(), "data reset") {
			t.Fatalf("got %v", err)
		}
		m.restraint = capability.Restraint{}
		again := m.mover(data, 2)
		if err := again.Run(t.Context()); !errors.As(err, &halt) || !strings.Contains(err.Error(), "data reset") {
			t.Fatalf("it begins again by itself: %v", err)
		}
		m.must(again.Reset(t.Context(), false, func(capability.Progress) {}))
		data.Rate = 0
		m.Mover = m.mover(data, 3)
		m.follows(m.Mover)
		m.settled(capability.Legacy)
		m.verify(capability.Legacy, 0)
	})
}

// TestAPausedMoverLooksAfterWhatIsKept: a pause that is forgotten does not fill the
// source's disk.
func TestAPausedMoverLooksAfterWhatIsKept(t *testing.T) {
	inEachCapture(t, func(t *testing.T, kind capability.Capture) {
		m := quietMigration(t, kind, shopData())
		m.restraint = capability.Restraint{Retain: 24 << 20}
		m.Mover = m.mover(m.Document.Data, 1)
		stop := m.follows(m.Mover)
		stop()
		rest := make(chan error, 1)
		go func() { rest <- m.Rest(t.Context()) }()
		for range 12 {
			m.exec(capability.Legacy, `UPDATE orders SET note = repeat(md5(random()::text), 40)`)
		}
		var halt *migrate.HaltError
		if err := <-rest; !errors.As(err, &halt) || !strings.Contains(err.Error(), "data repair") {
			t.Fatalf("got %v", err)
		}
		if exists, err := m.databases[capability.Legacy].Capture(kind, m.name).StreamExists(t.Context()); err != nil || exists {
			t.Errorf("the stream is still kept: %v, %v", exists, err)
		}
	})
}

// TestARetirementIsNotTakenForACopy: what is left of a move that is being retired is
// the retirement's to remove, and its record is what a second try goes by.
func TestARetirementIsNotTakenForACopy(t *testing.T) {
	inEachCapture(t, func(t *testing.T, kind capability.Capture) {
		m := quietMigration(t, kind, shopData())
		m.restraint = capability.Restraint{Retain: 1}
		extracted := m.databases[capability.Extracted]
		stop := m.follows(m.Mover)
		stop()
		m.exec(capability.Legacy, `UPDATE orders SET note = 'kept'`)
		move, _, err := extracted.Move(t.Context(), m.name)
		m.must(err)
		move.Phase = capability.PhaseRetiring
		m.must(extracted.SaveMove(t.Context(), m.name, move))
		m.must(m.mover(m.Document.Data, 2).Rest(t.Context()))
		if move, _, err = extracted.Move(t.Context(), m.name); err != nil || move.Phase != capability.PhaseRetiring {
			t.Errorf("the move is %s: %v", move.Phase, err)
		}
	})
}
