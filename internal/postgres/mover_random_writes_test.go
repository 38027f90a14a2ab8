package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
)

// ledgerSlots is how many rows of the ledger a writer has.
const ledgerSlots = 20

// historyKept is how many statements a writer remembers, for a test that fails.
const historyKept = 60

// randomWriter is a session of the owner's application. Each of its transactions
// writes into the ledger as well; it keeps what was acknowledged.
type randomWriter struct {
	t      testing.TB
	m      *migration
	schema randomSchema
	id     int
	r      *rand.Rand
	side   capability.Side // that it takes for the owner
	conn   *pgx.Conn

	mu        sync.Mutex
	n         int64
	committed [ledgerSlots]int64   // last acknowledged; guarded by mu
	perhaps   [ledgerSlots][]int64 // may have been committed since; guarded by mu
	history   []string             // guarded by mu
	done      int                  // transactions acknowledged; guarded by mu
}

// randomStatement is a statement, and whether it may break a primary key.
type randomStatement struct {
	sql   string
	fresh bool // its keys come from defaults, and are nobody's
}

// run writes until ctx ends.
func (w *randomWriter) run(ctx context.Context) {
	for ctx.Err() == nil {
		if w.conn == nil || w.conn.IsClosed() {
			var err error
			if w.conn, err = pgx.Connect(context.Background(), w.m.urls[w.side]); err != nil {
				w.t.Error(err)
				return
			}
		}
		if err := w.transaction(); err != nil {
			w.t.Errorf("writer %d: %v", w.id, err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(5+w.r.IntN(40)) * time.Millisecond):
		}
	}
	if w.conn != nil {
		w.conn.Close(context.Background())
	}
}

func (w *randomWriter) say(sql string) error {
	w.mu.Lock()
	w.history = append(w.history[max(0, len(w.history)-historyKept):], sql)
	w.mu.Unlock()
	_, err := w.conn.PgConn().Exec(context.Background(), sql).ReadAll()
	if err != nil {
		w.mu.Lock()
		w.history[len(w.history)-1] += " -- " + sqlstate.Of(err) + " " + err.Error()
		w.mu.Unlock()
	}
	return err
}

// refused says whether a database may refuse a statement so: constraints, and
// what sessions do to one another.
func refused(err error) bool {
	code := sqlstate.Of(err)
	return strings.HasPrefix(code, "23") || strings.HasPrefix(code, "40") || slices.Contains([]string{
		"55006", // TRUNCATE after changes of the same transaction, captured by triggers
		"55P03", "P0S01",
	}, code)
}

// transaction is one: statements, some taken back, and the ledger's.
func (w *randomWriter) transaction() error {
	isolation := []string{"READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"}[w.r.IntN(4)]
	if err := w.say("BEGIN ISOLATION LEVEL " + isolation); err != nil {
		return err
	}
	var err error
	for range w.r.IntN(5) {
		table := w.schema.tables[w.r.IntN(len(w.schema.tables))]
		statement := w.statement(table)
		if err = w.say("SAVEPOINT s"); err != nil {
			break
		}
		if err = w.say(statement.sql); err != nil {
			if wrong := w.judge(statement, err); wrong != nil {
				return wrong
			}
			if sqlstate.Of(err) == "P0S01" {
				break
			}
			if err = w.say("ROLLBACK TO s"); err != nil {
				break
			}
			continue
		}
		if w.r.IntN(6) == 0 {
			err = w.say("ROLLBACK TO s")
		} else if w.r.IntN(2) == 0 {
			err = w.say("RELEASE s")
		}
		if err != nil {
			break
		}
	}
	slot := w.r.IntN(ledgerSlots)
	w.n++
	if err == nil {
		err = w.say(fmt.Sprintf("INSERT INTO ledger AS l VALUES (%d, %d, %d, repeat('%[3]d ', %d)) ON CONFLICT (writer, slot) DO UPDATE SET n = excluded.n, body = CASE WHEN random() < 0.5 THEN excluded.body ELSE l.body END", w.id, slot, w.n, w.r.IntN(900)))
	}
	if err == nil && w.r.IntN(10) > 0 {
		w.mu.Lock()
		w.perhaps[slot] = append(w.perhaps[slot], w.n)
		w.mu.Unlock()
		if err = w.say("COMMIT"); err == nil {
			w.mu.Lock()
			w.committed[slot], w.perhaps[slot] = w.n, nil
			w.done++
			w.mu.Unlock()
			return nil
		}
		if !w.conn.IsClosed() { // the server has said no
			w.mu.Lock()
			w.perhaps[slot] = slices.DeleteFunc(w.perhaps[slot], func(n int64) bool { return n == w.n })
			w.mu.Unlock()
		}
	}
	if err != nil && !refused(err) {
		return fmt.Errorf("%w, after %s", err, strings.Join(w.recent(3), "; "))
	}
	if sqlstate.Of(err) == "P0S01" { // the other side has become the owner, or is about to
		w.side = w.side.Other()
		return w.conn.Close(context.Background())
	}
	return w.say("ROLLBACK")
}

// judge returns an error for a refusal that must not be.
func (w *randomWriter) judge(s randomStatement, err error) error {
	var refusal *pgconn.PgError
	if !refused(err) {
		return fmt.Errorf("%w: %s", err, s.sql)
	}
	if s.fresh && sqlstate.Of(err) == "23505" && errors.As(err, &refusal) && strings.HasSuffix(refusal.ConstraintName, "_pkey") {
		return fmt.Errorf("a sequence has given a key that is there already: %w: %s", err, s.sql)
	}
	return nil
}

func (w *randomWriter) recent(n int) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.history[max(0, len(w.history)-n):])
}

// statement draws one about a table, under its names on the writer's side.
func (w *randomWriter) statement(t *randomTable) randomStatement {
	r, table, side := w.r, t.names[w.side], w.side
	some := fmt.Sprintf(`ctid = ANY (ARRAY(SELECT ctid FROM %s ORDER BY random() LIMIT %d))`, table, 1+r.IntN(4))
	switch n := r.IntN(100); {
	case n < 25:
		return t.insert(r, side, 1)
	case n < 30:
		return t.insert(r, side, 2+r.IntN(60))
	case n < 31:
		return t.insert(r, side, 300+r.IntN(900))
	case n < 60:
		var set []string
		for _, c := range t.plain() {
			if len(set) == 0 || r.IntN(3) == 0 {
				set = append(set, c.names[side]+" = "+c.expression(r, side))
			}
		}
		r.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
		return randomStatement{sql: fmt.Sprintf("UPDATE %s SET %s WHERE %s", table, strings.Join(set[:1+r.IntN(len(set))], ", "), some)}
	case n < 68:
		key := t.columns[t.keys-1]
		value := key.value
		if key.always {
			value = "DEFAULT"
		}
		return randomStatement{sql: fmt.Sprintf("UPDATE %s SET %s = %s WHERE %s", table, key.names[side], value, some), fresh: key.always}
	case n < 74 && t.swaps != nil:
		return randomStatement{sql: fmt.Sprintf(`WITH p AS (SELECT array_agg(ctid) AS c, array_agg(%[2]s) AS u FROM (SELECT ctid, %[2]s FROM %[1]s ORDER BY random() LIMIT 2) x)
			UPDATE %[1]s AS t SET %[2]s = CASE WHEN t.ctid = p.c[1] THEN p.u[2] ELSE p.u[1] END FROM p WHERE t.ctid = ANY (p.c)`, table, t.swaps.names[side])}
	case n < 80 && !t.columns[t.keys-1].always: // two rows change their keys
		key := t.columns[t.keys-1]
		return randomStatement{sql: fmt.Sprintf(`DO $do$ DECLARE a %[1]s%%ROWTYPE; b %[1]s%%ROWTYPE; c %[1]s%%ROWTYPE; BEGIN
			SELECT * INTO a FROM %[1]s ORDER BY random() LIMIT 1; SELECT * INTO b FROM %[1]s WHERE %[2]s <> a.%[2]s%[4]s ORDER BY random() LIMIT 1; c.%[2]s := %[3]s;
			IF b.%[2]s IS NULL THEN RETURN; END IF;
			UPDATE %[1]s SET %[2]s = c.%[2]s WHERE %[2]s = a.%[2]s%[4]s; UPDATE %[1]s SET %[2]s = a.%[2]s WHERE %[2]s = b.%[2]s%[4]s; UPDATE %[1]s SET %[2]s = b.%[2]s WHERE %[2]s = c.%[2]s%[4]s; END $do$`,
			table, key.names[side], key.value, t.samePart(side))}
	case n < 92:
		return randomStatement{sql: fmt.Sprintf("DELETE FROM %s WHERE %s", table, some)}
	case n < 94:
		return randomStatement{sql: fmt.Sprintf("UPDATE %s SET %[2]s = %[2]s + 1", table, t.columns[t.keys].names[side])}
	case n < 97:
		return randomStatement{sql: fmt.Sprintf("DELETE FROM %s WHERE random() < 0.7", table)}
	case n < 98:
		return randomStatement{sql: "TRUNCATE " + table + []string{" CASCADE", " RESTART IDENTITY CASCADE"}[r.IntN(2)]}
	default:
		return t.insert(r, side, 1)
	}
}

// samePart keeps a statement about composite keys to one part of them.
func (t *randomTable) samePart(side capability.Side) string {
	if t.keys == 1 {
		return ""
	}
	part := t.columns[0].names[side]
	return fmt.Sprintf(" AND %s = a.%[1]s", part)
}

// expression gives a value of a column.
func (c *randomColumn) expression(r *rand.Rand, side capability.Side) string {
	switch {
	case c.refers != nil && r.IntN(5) > 0:
		return fmt.Sprintf("(SELECT %s FROM %s ORDER BY random() LIMIT 1)", c.refers.columns[0].names[side], c.refers.names[side])
	case c.refers != nil, r.IntN(12) == 0 && !strings.Contains(c.typ, "NOT NULL"):
		return "NULL"
	}
	return c.value
}

// insert makes rows, with keys of their own or by default.
func (t *randomTable) insert(r *rand.Rand, side capability.Side, rows int) randomStatement {
	var names, values []string
	fresh, overriding := true, ""
	for i, c := range t.columns {
		switch {
		case i < t.keys && c.auto && r.IntN(5) > 0:
			continue
		case i < t.keys:
			fresh = false
			if c.always {
				overriding = " OVERRIDING SYSTEM VALUE"
			}
			names, values = append(names, c.names[side]), append(values, c.value)
		case c.value != "" || c.refers != nil:
			names, values = append(names, c.names[side]), append(values, c.expression(r, side))
		}
	}
	return randomStatement{fresh: fresh, sql: fmt.Sprintf("INSERT INTO %s (%s)%s SELECT %s FROM generate_series(1, %d)", t.names[side], strings.Join(names, ", "), overriding, strings.Join(values, ", "), rows)}
}
