package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"testbed"
)

// TestABackfillGoesOnWhileCommitsWait: its snapshot is lost again and again, and
// the source's commits wait for a synchronous standby that comes and goes, so
// that its log is ahead of what anybody sees there.
func TestABackfillGoesOnWhileCommitsWait(t *testing.T) {
	inEachCapture(t, testABackfillGoesOnWhileCommitsWait)
}

func testABackfillGoesOnWhileCommitsWait(t *testing.T, kind capability.Capture) {
	server := testbed.Cluster(t, map[string]string{"wal_level": "logical"})
	m := newRestlessIn(t, kind, server.URL("postgres"), restlessData(), 300)
	m.writers = 16
	stop := m.restless()
	arrives := m.waiting()
	end := m.start(m.Mover)
	for range 3 {
		m.copied(1)
		m.exec(capability.Legacy, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'strangler snapshot'`)
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
	}
	m.eventually("it follows", func() (bool, string) {
		s := m.Status()
		if s.Phase == capability.PhaseFailed {
			t.Fatal(s.Error)
		}
		return s.Phase == capability.PhaseFollowing, fmt.Sprintf("%+v", s)
	})
	if move := m.move(); move.Horizon <= move.Snapshot {
		t.Errorf("one snapshot: %+v", move)
	}
	arrives()
	end()
	m.ends(stop)
}

// waiting lets commits of the source wait for a standby, most of the time and for
// moments only, until it is stopped.
func (m *migration) waiting() (stop func()) {
	m.t.Helper()
	conn, err := pgx.Connect(context.Background(), m.urls[capability.Legacy])
	m.must(err)
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer conn.Close(context.Background()) //nolint:errcheck // test session
		for over := false; !over; {
			for _, turn := range []struct {
				standby string
				lasts   int // milliseconds at most
			}{{"nobody", 60}, {"", 10}} { // it ends with nobody to wait for
				for _, statement := range []string{`ALTER SYSTEM SET synchronous_standby_names = '` + turn.standby + `'`, `SELECT pg_reload_conf()`} {
					if _, err := conn.Exec(context.Background(), statement); err != nil {
						m.t.Error(err)
					}
				}
				select {
				case <-ended:
					over = true
				case <-time.After(time.Duration(rand.IntN(turn.lasts)) * time.Millisecond):
				}
			}
		}
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			close(ended)
			<-done
		}
	}
	m.t.Cleanup(stop)
	return stop
}
