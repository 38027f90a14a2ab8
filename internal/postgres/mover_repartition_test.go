package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// listedEvents has no partition for whatever fits no other, so that more can come.
var listedEvents = strings.NewReplacer(
	`CREATE TABLE events_rest PARTITION OF events DEFAULT PARTITION BY HASH (at);`, ``,
	`CREATE TABLE events_rest_0 PARTITION OF events_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);`, ``,
	`CREATE TABLE events_rest_1 PARTITION OF events_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);`, ``,
	`, FOREIGN KEY (event, region, at) REFERENCES events ON UPDATE CASCADE ON DELETE CASCADE`, ``, // it keeps partitions where they are
	`'{a,b,c}'`, `'{a,b}'`).Replace(events)

// TestPartitionsThatChangeStopTheMove where rows come or go with them that no
// stream has. A repair brings the other side up to date.
func TestPartitionsThatChangeStopTheMove(t *testing.T) {
	inEachCapture(t, testPartitionsThatChangeStopTheMove)
}

func testPartitionsThatChangeStopTheMove(t *testing.T, kind capability.Capture) {
	const filled = `CREATE TABLE more (LIKE events INCLUDING DEFAULTS); INSERT INTO more (id, region, at, label) SELECT 5000 + i, 'x', i, 'more' || i FROM generate_series(1, 20) i; `
	for name, test := range map[string]struct {
		side    capability.Side
		happens []string
		says    string
	}{
		"detached":                 {capability.Legacy, []string{`ALTER TABLE events DETACH PARTITION events_b`}, "detached or dropped in the legacy database (events_b)"},
		"detached concurrently":    {capability.Legacy, []string{`ALTER TABLE events_a DETACH PARTITION events_a_1 CONCURRENTLY`}, "detached or dropped in the legacy database (events_a_1)"},
		"detached in between":      {capability.Legacy, []string{`BEGIN; ALTER TABLE events DETACH PARTITION events_a; DELETE FROM events_a WHERE at < 50; ALTER TABLE events ATTACH PARTITION events_a FOR VALUES IN ('a'); COMMIT`}, "events_a"},
		"dropped":                  {capability.Legacy, []string{`DROP TABLE events_a`}, "detached or dropped in the legacy database (events_a, events_a_1, events_a_2)"},
		"attached with rows":       {capability.Legacy, []string{filled, `ALTER TABLE events ATTACH PARTITION more FOR VALUES IN ('x')`}, "attached with rows in the legacy database (more)"},
		"made, filled, attached":   {capability.Legacy, []string{`BEGIN; ` + filled + `ALTER TABLE events ATTACH PARTITION more FOR VALUES IN ('x'); COMMIT`}, "attached with rows in the legacy database (more)"},
		"truncated":                {capability.Legacy, []string{`TRUNCATE events_a`}, "one partition of table events in the legacy database was truncated"},
		"truncated after all":      {capability.Legacy, []string{`TRUNCATE events`, `INSERT INTO events (region, at, label) VALUES ('b', 1, 'one')`, `TRUNCATE events_b`}, "one partition of table events"},
		"detached from the target": {capability.Extracted, []string{`ALTER TABLE events DETACH PARTITION events_b`}, "detached or dropped in the extracted database (events_b)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := eventsData()
			m := newEvents(t, kind, listedEvents, "", data)
			m.exec(capability.Extracted, `CREATE TABLE events_x PARTITION OF events FOR VALUES IN ('x')`)
			ended := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			go func() { ended <- m.Run(ctx) }()
			m.eventually("it follows", func() (bool, string) {
				s := m.Status()
				return s.Phase == capability.PhaseFollowing && len(s.Streams) == 2 && s.Streams[0].Live && s.Streams[1].Live, fmt.Sprintf("%+v", s)
			})
			for _, statement := range test.happens {
				m.exec(test.side, statement)
			}
			err := <-ended
			if halt := new(migrate.HaltError); !errors.As(err, &halt) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "data repair") {
				t.Fatalf("ended with %v, want %q", err, test.says)
			}
			// The next one sees it too, until somebody repairs.
			m.Mover = m.mover(data, 2)
			if says := m.fails(); !strings.Contains(says, test.says) {
				t.Errorf("begun anew: %s", says)
			}
			if test.side == capability.Extracted {
				m.exec(capability.Extracted, `CREATE TABLE events_others PARTITION OF events FOR VALUES IN ('b')`)
			}
			m.Mover = m.mover(data, 3)
			m.must(m.Recover(t.Context()))
			m.follows(m.Mover)
			if a, b := m.try(capability.Legacy, `INSERT INTO events (region, at, label) VALUES ('a', 150, 'after')`), m.try(capability.Legacy, `INSERT INTO events (region, at, label) VALUES ('b', 150, 'after')`); a != nil && b != nil {
				t.Error(a, b)
			}
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
			m.alike(eventColumns)
		})
	}
}

// TestPartitionsThatComeEmptyAreTakenUp: rows, guards and truncations of theirs.
func TestPartitionsThatComeEmptyAreTakenUp(t *testing.T) {
	inEachCapture(t, testPartitionsThatComeEmptyAreTakenUp)
}

func testPartitionsThatComeEmptyAreTakenUp(t *testing.T, kind capability.Capture) {
	m := newEvents(t, kind, listedEvents, "", eventsData())
	m.follows(m.Mover)
	m.exec(capability.Extracted, `CREATE TABLE events_c PARTITION OF events FOR VALUES IN ('c'); CREATE TABLE events_x PARTITION OF events FOR VALUES IN ('x')`)
	m.exec(capability.Legacy, `CREATE TABLE events_c PARTITION OF events FOR VALUES IN ('c') PARTITION BY RANGE (at); CREATE TABLE events_c_1 PARTITION OF events_c DEFAULT; INSERT INTO events (region, at, label) SELECT 'c', i, 'c' || i FROM generate_series(1, 50) i`)
	m.exec(capability.Legacy, `CREATE TABLE events_x (LIKE events INCLUDING DEFAULTS); ALTER TABLE events ATTACH PARTITION events_x FOR VALUES IN ('x'); INSERT INTO events_x (id, region, at, label) VALUES (9000, 'x', 1, 'x1')`)
	for _, side := range capability.Sides {
		m.eventually("the partitions are taken up", func() (bool, string) {
			n := ask[int](m, side, `SELECT count(*) FROM strangler.partition WHERE name LIKE 'events_c%' OR name = 'events_x'`)
			return n == map[capability.Side]int{capability.Legacy: 3, capability.Extracted: 2}[side], fmt.Sprint(n)
		})
		if n := ask[int](m, side, `SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'strangler_guard%' AND tgrelid::regclass::text IN ('events_c', 'events_c_1', 'events_x')`); n != map[capability.Side]int{capability.Legacy: 6, capability.Extracted: 4}[side] {
			t.Errorf("%d guards on the %s side", n, side)
		}
	}
	for _, statement := range []string{`TRUNCATE events_c`, `INSERT INTO events_c VALUES (1, 'c', 1, 0, NULL, 'no')`, `TRUNCATE events`, `DELETE FROM events_a_1`} {
		if err := m.try(capability.Extracted, statement); sqlstate.Of(err) != "P0S01" && sqlstate.Of(err) != "0A000" {
			t.Errorf("%s on the sealed side: %v", statement, err)
		}
	}
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.must(m.DropBorder(t.Context()))
	m.switchTo(capability.Extracted)
	if err := m.try(capability.Legacy, `UPDATE events_x SET n = 3`); sqlstate.Of(err) != "P0S01" {
		t.Errorf("straight into a partition that came: %v", err)
	}
	// One that comes behind a shut gate is closed as soon as it is seen.
	m.exec(capability.Legacy, `CREATE TABLE events_y PARTITION OF events FOR VALUES IN ('y')`)
	if err := m.try(capability.Legacy, `INSERT INTO events (region, at, label) VALUES ('y', 1, 'y')`); sqlstate.Of(err) != "P0S01" {
		t.Errorf("through the root: %v", err)
	}
	m.eventually("it is closed", func() (bool, string) {
		err := m.try(capability.Legacy, `UPDATE events_y SET n = 3`)
		return sqlstate.Of(err) == "P0S01", fmt.Sprint(err)
	})
	m.exec(capability.Extracted, `INSERT INTO events (region, at, label) VALUES ('x', 150, 'back'); UPDATE events SET region = 'a' WHERE id = 9000`)
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	m.alike(eventColumns)
}

// TestPartitionsChangeWhileTheyAreCopied: one that comes with rows is copied, one
// that goes makes the copy start over, and whatever ends it, it ends in the
// source's rows.
func TestPartitionsChangeWhileTheyAreCopied(t *testing.T) {
	inEachCapture(t, testPartitionsChangeWhileTheyAreCopied)
}

func testPartitionsChangeWhileTheyAreCopied(t *testing.T, kind capability.Capture) {
	const drop = `ALTER TABLE events DETACH PARTITION events_b`
	for name, test := range map[string]struct {
		happens string
		over    bool // from the beginning
	}{
		"attached with rows": {happens: `CREATE TABLE more (LIKE events INCLUDING DEFAULTS); INSERT INTO more (id, region, at, label) SELECT 5000 + i, 'y', i, 'more' || i FROM generate_series(1, 20) i;
			ALTER TABLE events ATTACH PARTITION more FOR VALUES IN ('y')`},
		"attached empty": {happens: `CREATE TABLE more PARTITION OF events FOR VALUES IN ('y'); INSERT INTO events (id, region, at, label) VALUES (5000, 'y', 1, 'more')`},
		"detached":       {happens: drop, over: true},
		"dropped":        {happens: drop + `; DROP TABLE events_b`, over: true},
		"rewritten":      {happens: `VACUUM FULL events_a_1`},
		"sessions ended": {happens: `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'strangler%' AND datname = current_database()`},
		"all truncated":  {happens: `TRUNCATE events, marks; INSERT INTO events (region, at, label) VALUES ('b', 1, 'one'); INSERT INTO marks (event, region, at) SELECT id, region, at FROM events`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := eventsData()
			data.Rate = 250 // so that it happens while rows are copied, also beside a busy machine
			m := newEvents(t, kind, strings.Replace(events, `, FOREIGN KEY (event, region, at) REFERENCES events ON UPDATE CASCADE ON DELETE CASCADE`, ``, 1), "", data)
			m.exec(capability.Legacy, `INSERT INTO regions VALUES ('y'); DELETE FROM events WHERE region = 'y'`)
			m.exec(capability.Extracted, `CREATE TABLE more PARTITION OF events FOR VALUES IN ('y')`)
			stop := m.writing(capability.Legacy, func(r *rand.Rand) string {
				return strings.NewReplacer("events_b", "events").Replace(eventWrite(r))
			})
			m.start(m.Mover)
			m.copied(3)
			err := m.try(capability.Legacy, test.happens)
			for sqlstate.Of(err) == "40P01" { // against the writers
				err = m.try(capability.Legacy, test.happens)
			}
			m.must(err)
			m.eventually("it follows", func() (bool, string) {
				s := m.Status()
				if s.Phase == capability.PhaseFailed { // the source was away
					if name != "sessions ended" {
						t.Fatal(s.Error)
					}
					m.Mover = m.mover(data, 2)
					m.start(m.Mover)
				}
				return s.Phase == capability.PhaseFollowing, fmt.Sprintf("%+v", s)
			})
			stop()
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
			m.alike(eventColumns, markColumns)
			if move := m.move(); test.over != (move.Horizon == 0) && name != "attached empty" {
				t.Errorf("started over: want %t: %+v", test.over, move)
			}
		})
	}
}

// TestARowWithoutAPartitionWaitsForIt: it stops the stream, which goes on when
// somebody has made the partition.
func TestARowWithoutAPartitionWaitsForIt(t *testing.T) {
	inEachCapture(t, testARowWithoutAPartitionWaitsForIt)
}

func testARowWithoutAPartitionWaitsForIt(t *testing.T, kind capability.Capture) {
	data := eventsData()
	m := newEvents(t, kind, listedEvents, "", data)
	plan, _, err := m.Plan(t.Context())
	m.must(err)
	if notes := fmt.Sprint(plan.Tables[0].Notes); !strings.Contains(notes, "fits no partition on the extracted side stops the stream") || !strings.Contains(notes, "PARTITION OF public.events DEFAULT") {
		t.Errorf("notes: %s", notes)
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Run(t.Context()) }()
	m.eventually("it follows", func() (bool, string) {
		s := m.Status()
		return s.Phase == capability.PhaseFollowing, fmt.Sprintf("%+v", s)
	})
	m.exec(capability.Legacy, `CREATE TABLE events_x PARTITION OF events FOR VALUES IN ('x'); INSERT INTO events (region, at, label) SELECT 'x', i, 'x' || i FROM generate_series(1, 20) i`)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), `a row fits no partition of events in the extracted database`) {
		t.Fatalf("ended with %v", err)
	}
	m.exec(capability.Extracted, `CREATE TABLE others PARTITION OF events DEFAULT`)
	m.Mover = m.mover(data, 2)
	end := m.follows(m.Mover)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	end()
	m.must(m.Reset(t.Context(), false, nil))
	for _, side := range capability.Sides {
		if left := ask[string](m, side, `SELECT coalesce(string_agg(tgname || ' on ' || tgrelid::regclass, ', '), '') || coalesce(to_regclass('strangler.partition')::text, '') FROM pg_trigger WHERE tgname LIKE 'strangler%'`); left != "" {
			t.Errorf("left on the %s side: %s", side, left)
		}
	}
}

// TestABackfillThatStartsOverCopiesEverything, also what it had finished before.
func TestABackfillThatStartsOverCopiesEverything(t *testing.T) {
	inEachCapture(t, testABackfillThatStartsOverCopiesEverything)
}

func testABackfillThatStartsOverCopiesEverything(t *testing.T, kind capability.Capture) {
	data := eventsData()
	data.Rate = 500
	m := newEvents(t, kind, events, "", data)
	stop := m.start(m.Mover)
	m.copied(3)
	stop()
	m.must(m.databases[capability.Legacy].Capture(kind, m.name).DropStream(t.Context()))
	data.Rate = 0
	m.Mover = m.mover(data, 2)
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	m.alike(eventColumns, markColumns)
}
