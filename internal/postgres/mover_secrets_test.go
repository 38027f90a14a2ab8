package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
)

// TestErrorsTellNoValues: what PostgreSQL says of a row that cannot be computed, in a copy
// and in a stream, comes without its values.
func TestErrorsTellNoValues(t *testing.T) { inEachCapture(t, testErrorsTellNoValues) }

func testErrorsTellNoValues(t *testing.T, kind capability.Capture) {
	for name, forward := range map[string]string{"cast": "code::int", "raise": "public.strict(code)"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const strict = `CREATE FUNCTION public.strict(code text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN IF code !~ '^\d+$' THEN RAISE EXCEPTION 'code % is no number', code; END IF; RETURN code::int; END $$;`
			m := newMigration(t, kind, strict+`CREATE TABLE codes (id int PRIMARY KEY, code text); INSERT INTO codes VALUES (1, '7'), (2, 'hush-hush')`,
				&capability.Data{State: capability.DataRunning, Tables: []capability.Table{{Table: "codes", Lossy: true, Omit: []string{"code"}, Computed: []capability.Computed{{Column: "number", Forward: forward, Line: 9}}}}})
			m.exec(capability.Extracted, strict+`CREATE TABLE codes (id int PRIMARY KEY, number int)`)
			var written syncBuffer
			m.log = slog.New(slog.NewTextHandler(&written, nil))
			m.Mover = m.mover(m.Document.Data, 1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := m.Run(ctx)
			cancel()
			if err == nil || !strings.Contains(err.Error(), "SQLSTATE") {
				t.Fatalf("copied what cannot be computed: %v", err)
			}
			text := err.Error() + written.String()
			m.exec(capability.Legacy, `DELETE FROM codes WHERE id = 2`)
			m.Mover = m.mover(m.Document.Data, 2)
			why := m.untilItEnds()
			m.exec(capability.Legacy, `INSERT INTO codes VALUES (3, 'hush-hush')`)
			text += why() + m.Status().Error + written.String()
			if strings.Contains(text, "hush") {
				t.Errorf("a value is told:\n%s", text)
			}
		})
	}
}

// TestOthersStatementsAreNotShown: whoever is in a switch's way is named with what
// finds his statement, which may have anything in it.
func TestOthersStatementsAreNotShown(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, shop, shopData()).created()
	m.follows(m.Mover)
	url := m.urls[capability.Legacy]
	conn, err := pgx.Connect(t.Context(), url)
	m.must(err)
	defer conn.Close(context.Background()) //nolint:errcheck // test session
	_, err = conn.PgConn().Exec(t.Context(), `SET application_name = 'till'; BEGIN; UPDATE orders SET note = 'hush-hush' WHERE id = 1`).ReadAll()
	m.must(err)
	pid := conn.PgConn().PID()
	look := func(text string) {
		t.Helper()
		if strings.Contains(text, "hush") || strings.Contains(text, "UPDATE") {
			t.Errorf("a statement is shown: %s", text)
		}
		for _, want := range []string{"till", "idle in transaction", "SELECT query FROM pg_stat_activity WHERE pid = " + fmt.Sprint(pid)} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in: %s", want, text)
			}
		}
	}
	legacy, extracted, err := m.gates.Read(t.Context())
	m.must(err)
	err = m.gates.Close(t.Context(), capability.Legacy, legacy.Epoch, max(legacy.Epoch, extracted.Epoch)+1, time.Second, "nonce")
	if !errors.Is(err, capability.ErrBusy) {
		t.Fatalf("closed over a writer: %v", err)
	}
	look(err.Error())
	m.eventually("the writer has written for five seconds", func() (bool, string) {
		obstacles, err := m.gates.Obstacles(t.Context(), capability.Legacy)
		m.must(err)
		if len(obstacles) == 0 {
			return false, ""
		}
		look(strings.Join(obstacles, "\n"))
		return true, ""
	})
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
