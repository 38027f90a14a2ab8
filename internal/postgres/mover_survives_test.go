package postgres

import (
	"context"
	"fmt"
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
	"strangler/migrate"
	"testbed"
	"testbed/process"
)

// restlessShop has rows that move between blocks, large values, keys that change,
// and everything that is set aside for a copy.
const restlessShop = `
	CREATE TABLE kinds (name text PRIMARY KEY, rank int NOT NULL UNIQUE);
	CREATE TABLE things (part text, id int, n int NOT NULL, pad text, big text, rank int NOT NULL, kind text NOT NULL REFERENCES kinds,
		PRIMARY KEY (part, id), CONSTRAINT things_rank UNIQUE (part, rank) DEFERRABLE INITIALLY DEFERRED);
	ALTER TABLE things ALTER big SET STORAGE EXTERNAL;
	CREATE INDEX ON things (n);
	CREATE UNIQUE INDEX things_lower ON things (part, lower(part || rank));
	CREATE TABLE notes (id bigserial PRIMARY KEY, part text NOT NULL, thing int NOT NULL, body text, FOREIGN KEY (part, thing) REFERENCES things ON UPDATE CASCADE ON DELETE CASCADE);
	CREATE INDEX ON notes (part, thing);
	INSERT INTO kinds SELECT 'kind ' || n, n FROM generate_series(0, 4) n;`

const restlessThings = 400

func restlessRows(pad int) string {
	return fmt.Sprintf(`INSERT INTO things SELECT p, i, 0, repeat('p', %d), repeat('z', 2200), i, 'kind ' || i %% 5 FROM generate_series(0, %d) i, unnest('{a,b}'::text[]) p;
		INSERT INTO notes (part, thing, body) SELECT part, id, repeat('b', 500) FROM things, generate_series(1, 3);`, pad, restlessThings-1)
}

func restlessData() *capability.Data {
	return &capability.Data{State: capability.DataRunning, Gap: 10000, Rate: 1500,
		Tables: []capability.Table{{Table: "things", As: "stuff", Columns: map[string]string{"n": "times"}}, {Table: "notes"}, {Table: "kinds", Mode: capability.Copy}},
		Border: []capability.Border{{Constraint: "things_kind_fkey", AtSwitch: capability.BorderDrop}}}
}

// restlessWrite is one transaction on things and notes.
func restlessWrite(r *rand.Rand) string {
	id, other, part := r.IntN(restlessThings), r.IntN(restlessThings), string(rune('a'+r.IntN(2)))
	switch r.IntN(10) {
	case 0, 1, 2: // grows, and moves to another block, without its large value
		return fmt.Sprintf(`UPDATE things SET n = n + 1, pad = repeat('p', %d) WHERE id = %d`, 200+r.IntN(900), id)
	case 3:
		return fmt.Sprintf(`UPDATE things SET big = repeat('%c', %d) WHERE id = %d`, 'a'+r.IntN(26), 2100+r.IntN(900), id)
	case 4: // with its notes
		return fmt.Sprintf(`DELETE FROM things WHERE part = '%s' AND id = %d`, part, id)
	case 5:
		return fmt.Sprintf(`INSERT INTO things SELECT '%[1]s', %[2]d, 0, 'new', repeat('n', 2300), 10000 + %[2]d, 'kind 1' ON CONFLICT (part, id) DO NOTHING;
			INSERT INTO notes (part, thing) SELECT part, id FROM things WHERE part = '%[1]s' AND id = %[2]d`, part, id)
	case 6: // another key
		return fmt.Sprintf(`UPDATE things SET id = %[1]d WHERE part = '%[2]s' AND id = %[3]d AND NOT EXISTS (SELECT FROM things o WHERE o.part = '%[2]s' AND o.id = %[1]d)`, other, part, id)
	case 7: // two rows swap what is unique
		return fmt.Sprintf(`UPDATE things SET part = 'x' WHERE part = 'a' AND id = %[1]d; UPDATE things SET rank = -1 - rank WHERE part = 'b' AND id = %[1]d; UPDATE things SET part = 'a' WHERE part = 'x'`, id)
	case 8:
		return fmt.Sprintf(`UPDATE things t SET rank = (SELECT max(rank) FROM things o WHERE o.part IN ('%[1]s') AND o.id IN (%[2]d, %[3]d) AND o.id <> t.id)
			WHERE part = '%[1]s' AND id IN (%[2]d, %[3]d) AND (SELECT count(*) FROM things o WHERE o.part = '%[1]s' AND o.id IN (%[2]d, %[3]d)) = 2 AND %[2]d <> %[3]d`, part, id, other)
	default:
		return fmt.Sprintf(`INSERT INTO notes (part, thing, body) SELECT part, id, repeat('n', %d) FROM things WHERE id = %d; DELETE FROM notes WHERE thing = %d AND length(body) = 500`, r.IntN(900), id, other)
	}
}

// restless writes until it is stopped, and vacuums now and then. Transactions
// that the tables refuse are part of it.
func (m *migration) restless() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	seed := rand.Uint64()
	m.t.Logf("seed %d", seed)
	for w := range uint64(2) {
		group.Go(func() {
			r := rand.New(rand.NewPCG(seed, w))
			var conn *pgx.Conn
			for round := 0; ctx.Err() == nil; round++ {
				if conn == nil || conn.IsClosed() { // the server may start anew
					var err error
					if conn, err = pgx.Connect(context.Background(), m.urls[capability.Legacy]); err != nil {
						time.Sleep(10 * time.Millisecond)
						continue
					}
				}
				_, err := conn.PgConn().Exec(context.Background(), `BEGIN; `+restlessWrite(r)+`; COMMIT; SELECT pg_sleep(0.002)`).ReadAll()
				if err != nil && !conn.IsClosed() {
					if code := sqlstate(err); !strings.HasPrefix(code, "23") && code != "40P01" && !strings.HasPrefix(code, "57") {
						m.t.Errorf("writer: %v", err)
						return
					}
					conn.PgConn().Exec(context.Background(), `ROLLBACK`).ReadAll()
				}
				if round%150 == 149 {
					conn.PgConn().Exec(context.Background(), `VACUUM things, notes`).ReadAll()
				}
			}
			if conn != nil {
				conn.Close(context.Background())
			}
		})
	}
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); group.Wait() }) }
	m.t.Cleanup(stop)
	return stop
}

// same compares the tables by a query of its own, and what was set aside.
func (m *migration) same() {
	m.t.Helper()
	const sum = `SELECT count(*) || ' ' || coalesce(sum(('x' || left(md5(r::text), 15))::bit(60)::bigint)::text, '') FROM `
	for _, q := range [][2]string{
		{`(SELECT part, id, n, pad, big, rank, kind FROM things) r`, `(SELECT part, id, times, pad, big, rank, kind FROM stuff) r`},
		{`(SELECT id, part, thing, body FROM notes) r`, `(SELECT id, part, thing, body FROM notes) r`},
		{`kinds r`, `kinds r`},
	} {
		legacy, extracted := ask[string](m, capability.Legacy, sum+q[0]), ask[string](m, capability.Extracted, sum+q[1])
		if legacy != extracted || strings.HasPrefix(legacy, "0 ") {
			m.t.Errorf("%s: %s and %s", q[0], legacy, extracted)
		}
	}
	if left := ask[int](m, capability.Extracted, `SELECT count(*) FROM strangler.aside`); left != 0 {
		m.t.Errorf("%d things are still set aside", left)
	}
	if now := ask[string](m, capability.Extracted, secondaries); now != m.secondaries {
		m.t.Errorf("indexes and constraints are\n%s\nand were\n%s", now, m.secondaries)
	}
}

// secondaries describes everything that a copy sets aside.
const secondaries = `SELECT coalesce(string_agg(what, E'\n' ORDER BY what), '') FROM (
	SELECT pg_get_indexdef(indexrelid) || ' valid ' || indisvalid || ' clustered ' || indisclustered || ' comment ' || coalesce(obj_description(indexrelid, 'pg_class'), '')
	       || ' statistics ' || (SELECT string_agg(attstattarget::text, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = indexrelid)
	FROM pg_index WHERE indrelid::regclass::text IN ('stuff', 'notes', 'kinds')
	UNION ALL SELECT conname || ' ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid) || ' comment ' || coalesce(obj_description(oid, 'pg_constraint'), '')
	FROM pg_constraint WHERE conrelid::regclass::text IN ('stuff', 'notes', 'kinds')) d(what)`

// newRestless is a migration of the restless shop, with its target made.
func newRestless(t *testing.T, data *capability.Data, pad int) *migration {
	t.Helper()
	return newRestlessIn(t, testbed.Database(t), data, pad)
}

func newRestlessIn(t *testing.T, url string, data *capability.Data, pad int) *migration {
	t.Helper()
	m := newMigrationIn(t, url, restlessShop+restlessRows(pad), data).created()
	m.exec(capability.Extracted, `CREATE EXTENSION btree_gist; ALTER TABLE notes ADD CONSTRAINT apart EXCLUDE USING gist (id WITH =) WITH (fillfactor = 70);
		CREATE INDEX partial ON notes USING brin (id) WHERE body IS NOT NULL; CREATE INDEX expression ON notes ((length(body))); ALTER INDEX expression ALTER COLUMN 1 SET STATISTICS 77;
		COMMENT ON INDEX expression IS 'it''s mine'; COMMENT ON CONSTRAINT apart ON notes IS 'kept apart'; ALTER TABLE stuff CLUSTER ON things_lower`)
	m.chunkBytes = 48 << 10
	m.Mover = m.mover(data, 1)
	m.secondaries = ask[string](m, capability.Extracted, secondaries)
	return m
}

// ends lets the mover follow, stops the writers, and compares both sides.
func (m *migration) ends(stop func()) {
	m.t.Helper()
	m.follows(m.Mover)
	stop()
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.same()
}

// move is the record of the move.
func (m *migration) move() migrate.Move {
	m.t.Helper()
	move, _, err := m.databases[capability.Extracted].Move(m.t.Context(), m.name)
	m.must(err)
	return move
}

// TestABackfillSurvivesWhateverEndsIt: sessions on both sides are ended at any
// moment, while rows move, and the mover is started again whenever it gives up.
func TestABackfillSurvivesWhateverEndsIt(t *testing.T) {
	t.Parallel()
	m := newRestless(t, restlessData(), 300)
	stop := m.restless()
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		for fence := uint64(2); ctx.Err() == nil; fence++ {
			running, end := context.WithCancel(ctx)
			mover := m.mover(restlessData(), fence)
			group.Go(func() { // a stop at a random moment
				select {
				case <-running.Done():
				case <-time.After(time.Duration(300+rand.IntN(1500)) * time.Millisecond):
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
	killed := 0
	for over := false; !over; {
		select {
		case <-done:
			over = true
		case <-time.After(time.Duration(rand.IntN(500)) * time.Millisecond):
			if killed++; killed > 40 {
				continue // it may end now
			}
			side := capability.Sides[rand.IntN(2)]
			m.exec(side, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'strangler%' AND random() < 0.5`)
		}
	}
	cancel()
	group.Wait()
	if move := m.move(); move.Horizon <= move.Snapshot {
		t.Errorf("the backfill has had one snapshot: %+v", move)
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
	for _, side := range capability.Sides {
		d, err := Open(t.Context(), side, os.Getenv("STRANGLER_TEST_"+string(side)))
		m.must(err)
		m.databases[side] = d
	}
	m.gates = NewGates(m.name, m.databases[capability.Legacy], m.databases[capability.Extracted])
	fence, err := strconv.ParseUint(os.Getenv("STRANGLER_TEST_FENCE"), 10, 64)
	m.must(err)
	for mover := m.mover(restlessData(), fence); ; {
		if err := mover.Run(t.Context()); err != nil {
			t.Log(err) // as a controller does, it tries again
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// TestABackfillSurvivesTheEndOfItsProcess, at any moment, again and again.
func TestABackfillSurvivesTheEndOfItsProcess(t *testing.T) {
	t.Parallel()
	m := newRestless(t, restlessData(), 300)
	stop := m.restless()
	resumed := 0
	for fence := uint64(2); m.move().Phase != capability.PhaseFollowing; fence++ {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMoverProcess$", "-test.v")
		cmd.Env = append(os.Environ(), "STRANGLER_TEST_MOVER="+m.name, fmt.Sprint("STRANGLER_TEST_FENCE=", fence),
			"STRANGLER_TEST_legacy="+m.urls[capability.Legacy], "STRANGLER_TEST_extracted="+m.urls[capability.Extracted])
		cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
		child, err := process.Start(cmd, syscall.SIGKILL)
		m.must(err)
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
	t.Parallel()
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
			m := newRestless(t, restlessData(), 300)
			m.snapshotAge = test.age
			m.Mover = m.mover(restlessData(), 1)
			stop := m.restless()
			end := m.start(m.Mover)
			m.copied(3)
			m.exec(capability.Legacy, test.happens)
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
	m := newRestlessIn(t, server.URL("postgres"), restlessData(), 300)
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
