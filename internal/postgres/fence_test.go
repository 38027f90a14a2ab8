package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"testbed"
)

// Whoever comes with a higher token keeps those before him out: what they have not
// committed is gone, and they cannot come back.
func TestFence(t *testing.T) {
	t.Parallel()
	dsn := testbed.Database(t)
	open := func(token uint64) *Database {
		d, err := OpenFenced(t.Context(), capability.Legacy, dsn, Fence{Domain: "ours", Token: token})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		return d
	}
	first := open(1)
	if err := first.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	open(1) // for another capability
	pooled, err := first.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pooled.Exec(t.Context(), `INSERT INTO strangler.move (capability, phase, fingerprint) VALUES ('late', 'x', 'y')`); err != nil {
		t.Fatal(err)
	}
	own, err := first.connect(t.Context(), map[string]string{"application_name": "strangler " + strings.Repeat("é", 40)})
	if err != nil {
		t.Fatal(err)
	}
	logical, err := first.replication(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := OpenFenced(t.Context(), capability.Legacy, dsn, Fence{Domain: "theirs", Token: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	theirs, err := stranger.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Release()

	second := open(12) // which is more than 2 as a number only
	if err := pooled.Commit(t.Context()); err == nil {
		t.Error("the first one commits what it had begun")
	}
	if _, err := own.Exec(t.Context(), `SELECT`); err == nil {
		t.Error("a session of the first one lives")
	}
	if _, err := logical.Exec(t.Context(), `IDENTIFY_SYSTEM`).ReadAll(); err == nil {
		t.Error("a replication connection of the first one lives")
	}
	if err := theirs.Ping(t.Context()); err != nil {
		t.Errorf("a session of somebody else is ended: %v", err)
	}
	for name, try := range map[string]func() error{
		"pool":        func() error { return first.pool.Ping(t.Context()) },
		"session":     func() error { _, err := first.connect(t.Context(), nil); return err },
		"replication": func() error { _, err := first.replication(t.Context()); return err },
		"opening": func() error {
			_, err := OpenFenced(t.Context(), capability.Legacy, dsn, Fence{Domain: "ours", Token: 2})
			return err
		},
	} {
		if err := try(); !errors.As(err, new(*FencedError)) || !strings.Contains(err.Error(), "another one leads") {
			t.Errorf("%s of the first one: %v", name, err)
		}
	}
	var found bool
	if err := second.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM strangler.move)`).Scan(&found); err != nil || found {
		t.Errorf("there is what the first one had not committed: %v %v", found, err)
	}
	open(12)
	if err := second.pool.Ping(t.Context()); err != nil {
		t.Errorf("it has ended itself: %v", err)
	}
}

// Where nothing is installed yet there is no fence. The sessions of a predecessor are
// ended all the same, and whoever installs is fenced by it.
func TestFenceOfAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	dsn := testbed.Database(t)
	var movers []*Database
	for token := range uint64(2) {
		d, err := OpenFenced(t.Context(), capability.Extracted, dsn, Fence{Domain: "ours", Token: token + 1})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		movers = append(movers, d)
		if token == 0 {
			if err := d.pool.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // test session
	var alive int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'strangler #ours.1'`).Scan(&alive); err != nil || alive != 0 {
		t.Errorf("%d sessions of the first one live: %v", alive, err)
	}
	_ = movers[0].pool.Ping(t.Context()) // which may still have to learn that its session is gone
	if err := movers[0].pool.Ping(t.Context()); err != nil {
		t.Errorf("nothing keeps the first one out yet: %v", err)
	}
	if err := movers[1].Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := movers[0].Install(t.Context()); !errors.As(err, new(*FencedError)) {
		t.Errorf("the first one installs: %v", err)
	}
}

// A process that stands still while others take over, wherever it is, and then goes on:
// the bytes of the tables and the record of the move are as if it had died.
func TestAPausedMoverDoesNoHarm(t *testing.T) {
	inEachCapture(t, testAPausedMoverDoesNoHarm)
}

func testAPausedMoverDoesNoHarm(t *testing.T, kind capability.Capture) {
	m := newRestless(t, kind, restlessData(), 300)
	data := restlessData()
	data.Capture = kind
	stop := m.restless()
	for fence := uint64(2); fence < 6; fence += 2 {
		said := &heard{}
		late := m.processTo(said, fence, data)
		m.raised(fence)
		select {
		case <-time.After(time.Duration(rand.IntN(1500)) * time.Millisecond): // anywhere, which is the point
		case <-late.Done():
			t.Fatalf("the mover's process ended by itself: %v", late.Err())
		}
		m.must(syscall.Kill(late.PID(), syscall.SIGSTOP))
		next := m.process(fence+1, data)
		if fence == 4 { // the last one is to come to an end
			m.eventually("it follows", func() (bool, string) { return m.move().Phase == capability.PhaseFollowing, string(m.move().Phase) })
		} else {
			m.raised(fence + 1)
		}
		m.must(syscall.Kill(late.PID(), syscall.SIGCONT))
		m.eventually("it learns that it is late", func() (bool, string) {
			return strings.Contains(said.String(), "another one leads"), said.String()
		})
		for _, p := range []interface{ Kill() error }{late, next} {
			if err := p.Kill(); err != nil {
				t.Log(err)
			}
		}
	}
	m.Mover = m.mover(data, 1000)
	m.ends(stop)
}

// raised waits until a mover has the extracted database.
func (m *migration) raised(token uint64) {
	m.t.Helper()
	m.eventually("it has taken over", func() (bool, string) {
		if !ask[bool](m, capability.Extracted, `SELECT to_regclass('strangler.fence') IS NOT NULL`) {
			return false, "nothing is installed"
		}
		raised := ask[int64](m, capability.Extracted, `SELECT coalesce(max(token), 0) FROM strangler.fence`)
		return uint64(raised) == token, fmt.Sprint("token ", raised) //nolint:gosec // small
	})
}

// heard is what a process says.
type heard struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said.String()
}
