package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
	"testbed"
	"testbed/process"
)

// TestABackfillSurvivesWhateverEndsIt: sessions on both sides are ended at any
// moment, while rows move, and the mover is started again whenever it gives up.
func TestABackfillSurvivesWhateverEndsIt(t *testing.T) {
	inEachCapture(t, testABackfillSurvivesWhateverEndsIt)
}

func testABackfillSurvivesWhateverEndsIt(t *testing.T, kind capability.Capture) {
	data := restlessData()
	m := newRestless(t, kind, data, 300)
	stop := m.restless()
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		for fence := uint64(2); ctx.Err() == nil; fence++ {
			running, end := context.WithCancel(ctx)
			mover := m.mover(data, fence)
			// A stop at a random moment, and the later the more there have been: on a slow machine it would never end.
			life := time.Duration(300+rand.IntN(1500)) * time.Millisecond * time.Duration(10+fence) / 10
			group.Go(func() {
				select {
				case <-running.Done():
				case <-time.After(life):
					if mover.Status().Phase != capability.PhaseFollowing {
						end()
					}
				}
			})
			group.Go(func() {
				for running.Err() == nil {
					if mover.Status().Phase == capability.PhaseFollowing {
						select {
						case <-done:
						default:
							close(done)
						}
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
			if err := mover.Run(running); err != nil {
				t.Log(err)
			}
			end()
		}
	})
	killed, copying := 0, 0
	deadline := time.Now().Add(2 * time.Minute)
	for over := false; !over; {
		if time.Now().After(deadline) {
			cancel()
			group.Wait()
			t.Fatalf("it never ends: %+v", m.move())
		}
		select {
		case <-done:
			over = true
		case <-time.After(time.Duration(rand.IntN(500)) * time.Millisecond):
			// Some ends fall on the preparing, which begins anew each time, most on the copy, and then it may come to an end.
			if m.move().Phase == capability.PhaseBackfill {
				copying++
			} else if killed++; killed > 15 {
				continue
			}
			if copying > 25 {
				continue
			}
			side := capability.Sides[rand.IntN(2)]
			m.exec(side, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'strangler%' AND random() < 0.5`)
		}
	}
	cancel()
	group.Wait()
	if move := m.move(); copying > 5 && move.Horizon <= move.Snapshot {
		t.Errorf("sessions of the copy were ended %d times, and it has had one snapshot: %+v", copying, move)
	}
	m.Mover = m.mover(restlessData(), 1000)
	m.ends(stop)
}

// TestMoverProcess is no test: it is the process that the next one kills.
func TestMoverProcess(t *testing.T) {
	name := os.Getenv("STRANGLER_TEST_MOVER")
	if name == "" {
		t.Skip("only as a child of another test")
	}
	m := &migration{t: t, name: name, chunkBytes: 48 << 10, databases: map[capability.Side]*Database{}}
	fence, err := strconv.ParseUint(os.Getenv("STRANGLER_TEST_FENCE"), 10, 64)
	m.must(err)
	for _, side := range capability.Sides {
		d, err := OpenFenced(t.Context(), side, os.Getenv("STRANGLER_TEST_"+string(side)), Fence{Domain: name, Token: fence})
		m.must(err)
		m.databases[side] = d
	}
	m.gates = NewGates(m.name, m.databases[capability.Legacy], m.databases[capability.Extracted])
	data := &capability.Data{}
	m.must(json.Unmarshal([]byte(os.Getenv("STRANGLER_TEST_DATA")), data))
	for mover := m.mover(data, fence); ; {
		if err := mover.Run(t.Context()); err != nil {
			t.Log(err) // as a controller does, it tries again
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// process starts a mover in a process of its own.
func (m *migration) process(fence uint64, data *capability.Data) *process.Process {
	m.t.Helper()
	return m.processTo(m.t.Output(), fence, data)
}

func (m *migration) processTo(w io.Writer, fence uint64, data *capability.Data) *process.Process {
	m.t.Helper()
	document, err := json.Marshal(data)
	m.must(err)
	cmd := exec.CommandContext(m.t.Context(), os.Args[0], "-test.run=^TestMoverProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "STRANGLER_TEST_MOVER="+m.name, fmt.Sprint("STRANGLER_TEST_FENCE=", fence), "STRANGLER_TEST_DATA="+string(document),
		"STRANGLER_TEST_legacy="+m.urls[capability.Legacy], "STRANGLER_TEST_extracted="+m.urls[capability.Extracted])
	cmd.Stdout, cmd.Stderr = w, w
	child, err := process.Start(cmd, syscall.SIGKILL)
	m.must(err)
	return child
}

// TestABackfillSurvivesTheEndOfItsProcess, at any moment, again and again.
func TestABackfillSurvivesTheEndOfItsProcess(t *testing.T) {
	t.Parallel()
	m := newRestless(t, capability.CaptureWAL, restlessData(), 300)
	stop := m.restless()
	resumed := 0
	for fence := uint64(2); m.move().Phase != capability.PhaseFollowing; fence++ {
		child := m.process(fence, restlessData())
		// Some are killed in the middle of everything, and now and then one may come to an end.
		life := time.Duration(100+rand.IntN(1200)) * time.Millisecond
		if fence > 12 {
			life = 10 * time.Second
		}
		select {
		case <-time.After(life):
		case <-child.Done():
			t.Fatalf("the mover's process ended by itself: %v", child.Err())
		}
		if err := child.Kill(); err != nil {
			t.Log(err)
		}
		if m.move().Phase == capability.PhaseBackfill {
			resumed++
		}
		if fence > 60 {
			t.Fatalf("it never ends: %+v", m.move())
		}
	}
	if move := m.move(); resumed > 0 && move.Horizon <= move.Snapshot {
		t.Errorf("killed %d times in the copy, and it has had one snapshot: %+v", resumed, move)
	}
	m.Mover = m.mover(restlessData(), 1000)
	m.ends(stop)
}

// copied waits until some chunks are finished.
func (m *migration) copied(least int) {
	m.t.Helper()
	m.eventually("chunks are finished", func() (bool, string) {
		chunks, err := m.databases[capability.Extracted].Chunks(m.t.Context(), m.name)
		n := 0
		for _, list := range chunks {
			n += len(list)
		}
		return n >= least, fmt.Sprint(n, err) // at first there is no table of them
	})
}

// TestABackfillGoesOnWithoutItsSnapshot, in the same run, when a snapshot's
// session is ended, or has held the vacuum back for long enough, or the rows get
// other places on disk.
func TestABackfillGoesOnWithoutItsSnapshot(t *testing.T) {
	inEachCapture(t, testABackfillGoesOnWithoutItsSnapshot)
}

func testABackfillGoesOnWithoutItsSnapshot(t *testing.T, kind capability.Capture) {
	for name, test := range map[string]struct {
		happens string
		age     time.Duration
	}{
		"snapshot lost":   {happens: `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'strangler snapshot' AND datname = current_database()`},
		"snapshot old":    {age: 500 * time.Millisecond},
		"table rewritten": {happens: `VACUUM FULL notes`},
		"table truncated": {happens: `BEGIN; TRUNCATE things, notes; ` + restlessRows(200) + `; COMMIT`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := restlessData()
			m := newRestless(t, kind, data, 300)
			m.snapshotAge = test.age
			m.Mover = m.mover(data, 1)
			stop := m.restless()
			end := m.start(m.Mover)
			m.copied(3)
			err := m.try(capability.Legacy, test.happens)
			for sqlstate.Of(err) == "40P01" { // against the writers
				err = m.try(capability.Legacy, test.happens)
			}
			m.must(err)
			m.eventually("another snapshot", func() (bool, string) {
				if s := m.Status(); s.Phase == capability.PhaseFailed {
					t.Fatal(s.Error)
				}
				move := m.move()
				return move.Horizon > move.Snapshot, fmt.Sprintf("%+v", move)
			})
			m.eventually("it follows", func() (bool, string) {
				s := m.Status()
				if s.Phase == capability.PhaseFailed {
					t.Fatal(s.Error)
				}
				return s.Phase == capability.PhaseFollowing, fmt.Sprintf("%+v", s)
			})
			end()
			m.ends(stop)
		})
	}
}

// TestABackfillGoesOnWhenTheSourceStartsAnew, in the same run.
func TestABackfillGoesOnWhenTheSourceStartsAnew(t *testing.T) {
	t.Parallel()
	server := testbed.Cluster(t, map[string]string{"wal_level": "logical"})
	m := newRestlessIn(t, capability.CaptureWAL, server.URL("postgres"), restlessData(), 300)
	stop := m.restless()
	end := m.start(m.Mover)
	m.copied(3)
	// One backend that crashes takes all others with it, and the server recovers.
	conn, err := pgx.Connect(t.Context(), m.urls[capability.Legacy])
	m.must(err)
	m.must(syscall.Kill(int(conn.PgConn().PID()), syscall.SIGKILL)) //nolint:gosec // a process id
	conn.Close(context.Background())
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
	end()
	m.ends(stop)
}

// TestABackfillGivesWayToAChangeOfATable, says so, and goes on.
func TestABackfillGivesWayToAChangeOfATable(t *testing.T) {
	t.Parallel()
	m := newRestless(t, capability.CaptureWAL, restlessData(), 300)
	data := restlessData()
	data.Rate = 400
	m.chunkBytes = 0 // all of a table in one, for some seconds
	m.Mover = m.mover(data, 2)
	stop := m.start(m.Mover)
	m.eventually("things are read", func() (bool, string) {
		return m.Status().Backfill != nil && ask[bool](m, capability.Legacy, `SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'things'::regclass AND mode = 'AccessShareLock' AND granted AND pid <> pg_backend_pid())`), ""
	})
	m.exec(capability.Legacy, `SET application_name = 'migration'; BEGIN; LOCK TABLE things; COMMIT`)
	if b := m.Status().Backfill; b == nil || !b.FinishedAt.IsZero() {
		t.Fatalf("the copy did not give way: %+v", b)
	}
	m.eventually("the status says so", func() (bool, string) {
		b := m.Status().Backfill
		return strings.HasPrefix(b.Throttled, "reading things gave way to pid ") && strings.Contains(b.Throttled, "(migration)"), fmt.Sprintf("%+v", b)
	})
	stop()
	m.chunkBytes = 48 << 10
	m.Mover = m.mover(restlessData(), 3)
	m.ends(func() {})
}
