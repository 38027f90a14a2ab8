package postgres

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
	"testbed"
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
	for w := range cmp.Or(m.writers, 2) {
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
					if code := sqlstate.Of(err); !strings.HasPrefix(code, "23") && code != "40P01" && !strings.HasPrefix(code, "57") {
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
	FROM pg_constraint WHERE conrelid::regclass::text IN ('stuff', 'notes', 'kinds') AND contype <> 't') d(what)` // constraint triggers are a stream's

// newRestless is a migration of the restless shop, with its target made.
func newRestless(t *testing.T, kind capability.Capture, data *capability.Data, pad int) *migration {
	t.Helper()
	return newRestlessIn(t, kind, testbed.Database(t), data, pad)
}

func newRestlessIn(t *testing.T, kind capability.Capture, url string, data *capability.Data, pad int) *migration {
	t.Helper()
	data.Capture = kind
	m := newMigrationIn(t, kind, url, testbed.Other(t), restlessShop+restlessRows(pad), data).created()
	for _, side := range capability.Sides { // a plan refuses it where one side has it alone
		m.exec(side, `CREATE EXTENSION btree_gist; ALTER TABLE notes ADD CONSTRAINT apart EXCLUDE USING gist (id WITH =) WITH (fillfactor = 70)`)
	}
	m.exec(capability.Extracted, `CREATE INDEX partial ON notes USING brin (id) WHERE body IS NOT NULL; CREATE INDEX expression ON notes ((length(body))); ALTER INDEX expression ALTER COLUMN 1 SET STATISTICS 77;
		COMMENT ON INDEX expression IS 'it''s mine'; COMMENT ON CONSTRAINT apart ON notes IS 'kept apart'; ALTER TABLE stuff CLUSTER ON things_lower`)
	m.watched()
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
	for sqlstate.Of(err) == "57P01" { // a session of the pool that the test has ended
		move, _, err = m.databases[capability.Extracted].Move(m.t.Context(), m.name)
	}
	m.must(err)
	return move
}
