package postgres

import (
	"context"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
)

// things is a table to alter. Whoever writes to it meanwhile knows id and n.
const things = `
	CREATE TYPE mood AS ENUM ('sad', 'ok');
	CREATE TABLE things (id bigserial PRIMARY KEY, n int NOT NULL DEFAULT 0, a text DEFAULT 'A', b text DEFAULT 'B', code varchar(10), feel mood DEFAULT 'ok');
	CREATE TABLE others (id bigserial PRIMARY KEY, n int NOT NULL DEFAULT 0);
	INSERT INTO things (n, a, b, code) SELECT n, 'a' || n, 'b' || n, n FROM generate_series(1, 500) n;`

func thingsData() *capability.Data {
	return &capability.Data{State: capability.DataRunning, Gap: 10000, TableLine: 7, Tables: []capability.Table{{Table: "things", Line: 8}, {Table: "others", Line: 9}}}
}

// altering is a move of things that is followed, with somebody who writes on.
func altering(t *testing.T, kind capability.Capture) (m *migration, rest func()) {
	t.Helper()
	m = newMigration(t, kind, things, thingsData()).created()
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	return m, m.busy(capability.Legacy)
}

// script runs statements one by one, each in its transaction.
func (m *migration) script(side capability.Side, statements string) {
	m.t.Helper()
	for statement := range strings.SplitSeq(statements, ";") {
		m.exec(side, statement)
	}
}

// busy writes to things on a side until the test ends or it is stopped.
func (m *migration) busy(side capability.Side) (stop func()) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	load.Go(func() {
		conn, err := pgx.Connect(ctx, m.urls[side])
		if err != nil {
			m.t.Error(err)
			return
		}
		defer conn.Close(context.Background()) //nolint:errcheck // test session
		for n := int64(1); ctx.Err() == nil; n++ {
			_, err := conn.PgConn().Exec(ctx, `INSERT INTO things (n) VALUES (1); UPDATE things SET n = n + 1 WHERE id IN (7, currval('things_id_seq') - 3); UPDATE things SET id = id + 1000000 WHERE id = currval('things_id_seq') - 7;
				DELETE FROM things WHERE id = currval('things_id_seq') - 5; INSERT INTO others (n) VALUES (1)`).ReadAll()
			if err != nil && ctx.Err() == nil && sqlstate.Of(err) != "40P01" {
				m.t.Errorf("write on: %v", err)
				return
			}
		}
	})
	stop = func() {
		cancel()
		load.Wait()
	}
	m.t.Cleanup(stop)
	return stop
}

// toRun finds the statements in what a status tells.
var toRun = regexp.MustCompile(`run in the (legacy|extracted) database: (.*?)(?:; or |; and |; then |; run in |; make |; change |\. |$)`)

// waits waits until the move waits, and returns what it tells.
func (m *migration) waits() string {
	m.t.Helper()
	var told string
	m.eventually("the move waits", func() (bool, string) {
		s := m.Status()
		if s.Phase == capability.PhaseFailed {
			m.t.Fatalf("failed: %s", s.Error)
		}
		told = s.Error
		return s.Phase == capability.PhaseWaiting, string(s.Phase) + " " + s.Error
	})
	return told
}

// obeys runs exactly what it is told to run, until both streams are live again, and
// returns all that it was told.
func (m *migration) obeys() string {
	m.t.Helper()
	var told string
	m.eventually("the move goes on", func() (bool, string) {
		s := m.Status()
		switch {
		case s.Phase == capability.PhaseFailed:
			m.t.Fatalf("failed: %s", s.Error)
		case s.Phase != capability.PhaseWaiting || strings.Contains(told, s.Error):
			return m.live(), string(s.Phase) + " " + s.Error
		}
		told += s.Error + "\n"
		found := toRun.FindAllStringSubmatch(s.Error, -1)
		if len(found) == 0 {
			m.t.Fatalf("nothing to run in: %s", s.Error)
		}
		for _, f := range found {
			m.exec(capability.Side(f[1]), f[2])
		}
		return false, s.Error
	})
	return told
}

func (m *migration) live() bool {
	s := m.Status()
	return s.Phase == capability.PhaseFollowing && len(s.Streams) == 2 && s.Streams[0].Live && s.Streams[1].Live
}

// says holds a text to what it must contain.
func says(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in: %s", part, text)
		}
	}
}
