package postgres

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// restless is a table whose rows are wide enough to move between blocks, and have
// values that are stored apart.
const restless = `CREATE TABLE t (part text, id int, n int NOT NULL, pad text, big text, PRIMARY KEY (part, id));
	ALTER TABLE t ALTER big SET STORAGE EXTERNAL; `

// restlessChange makes rows move, change their keys, swap them, go and come back.
func restlessChange(r *rand.Rand, rows int) string {
	id, other := r.IntN(rows), r.IntN(rows)
	part := func() string { return string(rune('a' + r.IntN(2))) }
	big := func() string { return fmt.Sprintf("repeat('%c', %d)", 'a'+r.IntN(26), 2100+r.IntN(500)) }
	switch r.IntN(12) {
	case 0, 1, 2, 3: // grows, without its large value
		return fmt.Sprintf(`UPDATE t SET n = n + 1, pad = repeat('p', %d) WHERE id = %d`, r.IntN(900), id)
	case 4:
		return fmt.Sprintf(`UPDATE t SET big = %s WHERE id = %d`, big(), id)
	case 5:
		return fmt.Sprintf(`DELETE FROM t WHERE id = %d`, id)
	case 6:
		return fmt.Sprintf(`DELETE FROM t WHERE part = '%[1]s' AND id = %[2]d; INSERT INTO t VALUES ('%[1]s', %[2]d, %[3]d, 'new', %[4]s)`, part(), id, r.IntN(1000), big())
	case 7:
		return fmt.Sprintf(`INSERT INTO t VALUES ('%s', %d, 0, 'only if free', %s) ON CONFLICT DO NOTHING`, part(), id, big())
	case 8, 9: // another key, without its large value
		return fmt.Sprintf(`UPDATE t SET id = %d, n = n + 1 WHERE part = '%s' AND id = %d AND NOT EXISTS (SELECT FROM t o WHERE o.part = t.part AND o.id = %[1]d)`, other, part(), id)
	case 10: // two rows swap their keys
		return fmt.Sprintf(`UPDATE t SET part = 'x' || part WHERE id = %[1]d; UPDATE t SET part = CASE part WHEN 'xa' THEN 'b' ELSE 'a' END WHERE id = %[1]d AND part IN ('xa', 'xb')`, id)
	default: // three of them
		return fmt.Sprintf(`UPDATE t SET id = -1 WHERE part = 'a' AND id = %[1]d; UPDATE t SET id = %[1]d WHERE part = 'a' AND id = %[2]d; UPDATE t SET id = %[2]d WHERE part = 'a' AND id = -1`, id, other)
	}
}

// TestEarlyChangesEndInTheSourcesRows: half of the table's blocks are copied at
// one moment, half at a later one, and in between rows move from block to block.
func TestEarlyChangesEndInTheSourcesRows(t *testing.T) {
	inEachCapture(t, testEarlyChangesEndInTheSourcesRows)
}

func testEarlyChangesEndInTheSourcesRows(t *testing.T, kind capability.Capture) {
	for round := range 6 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 1))
			const rows = 60
			restless := restless
			if round%3 == 2 { // no UPDATE may name this one
				restless += `ALTER TABLE t ADD no int GENERATED ALWAYS AS IDENTITY, ADD own text DEFAULT 'own'; `
			}
			if round%3 == 1 {
				restless += `ALTER TABLE t REPLICA IDENTITY FULL; `
			}
			f := newFlow(t, kind, restless+fmt.Sprintf(`INSERT INTO t SELECT p, i, 0, repeat('p', 300), repeat('z', 2200) FROM generate_series(0, %d) i, unnest('{a,b}'::text[]) p`, rows-1), restless, capability.Table{Table: "t"})
			source, target := f.capture(capability.Legacy), f.databases[capability.Extracted]
			f.prepare(capability.Legacy)
			m := f.mappings(capability.Legacy)[0]
			f.must(target.SaveMove(t.Context(), f.name, migrate.Move{Phase: capability.PhaseBackfill}))
			change := func(times int) {
				var script strings.Builder
				for range times {
					script.WriteString("BEGIN; " + restlessChange(r, rows) + "; COMMIT; ")
				}
				f.exec(capability.Legacy, script.String())
			}
			copied := func(blocks string) {
				f.copyBlocks(m, blocks)
			}
			even := r.IntN(2)
			copied(fmt.Sprintf("%%2 = %d", even))
			change(200)
			if round == 3 {
				f.exec(capability.Legacy, `TRUNCATE t`)
				f.exec(capability.Legacy, fmt.Sprintf(`INSERT INTO t SELECT p, i, 0, 'again', repeat('y', 2200) FROM generate_series(0, %d, 2) i, unnest('{a,b}'::text[]) p`, rows-1))
				change(50)
			}
			if round == 4 { // larger than what is sent at once
				f.exec(capability.Legacy, `BEGIN; `+strings.Repeat(`UPDATE t SET n = n + 1; UPDATE t SET id = id + 1000; UPDATE t SET id = id - 1000; `, 20)+`COMMIT`)
			}
			if round%2 == 1 {
				f.exec(capability.Legacy, `VACUUM t`)
			}
			copied(fmt.Sprintf("%%2 = %d", 1-even))
			horizon, err := source.Position(t.Context())
			f.must(err)
			change(200)
			s := migrate.NewStream(migrate.StreamOptions{Capability: f.name, From: capability.Legacy, Mappings: f.mappings(capability.Legacy), Source: source, Target: target,
				Horizon: horizon, Fetcher: asked{f.databases[capability.Legacy], source}, Log: slog.New(slog.DiscardHandler)})
			run := f.start(s)
			change(100)
			f.drain(run)
			f.same("t", "t", "*", "*")
			if move, _, err := target.Move(t.Context(), f.name); err != nil || s.Horizon() > horizon && move.Horizon != s.Horizon() {
				t.Errorf("the stored horizon is %s, not %s (%v)", move.Horizon, s.Horizon(), err)
			}
		})
	}
}

// asked gives rows of a database, and positions as its changes have them.
type asked struct {
	migrate.Rows
	migrate.Capture
}

// copyBlocks copies the rows of some blocks as they are now; what is there stays.
func (f *flow) copyBlocks(m migrate.Mapping, blocks string) {
	f.t.Helper()
	r, w := io.Pipe()
	go func() {
		conn, err := f.databases[capability.Legacy].connect(f.t.Context(), nil)
		if err == nil {
			_, err = conn.PgConn().CopyTo(f.t.Context(), w, `COPY (SELECT `+quote.Idents(m.FromColumns)+` FROM public.t WHERE split_part(trim('(' FROM ctid::text), ',', 1)::int `+blocks+`) TO STDOUT`)
			conn.Close(f.t.Context())
		}
		w.CloseWithError(err)
	}()
	conn, err := f.databases[capability.Extracted].connect(f.t.Context(), nil)
	f.must(err)
	defer conn.Close(f.t.Context())
	_, err = conn.Exec(f.t.Context(), `CREATE TEMP TABLE chunk AS SELECT * FROM public.t WITH NO DATA`)
	f.must(err)
	_, err = conn.PgConn().CopyFrom(f.t.Context(), r, `COPY chunk FROM STDIN`)
	f.must(err)
	_, err = conn.Exec(f.t.Context(), `INSERT INTO public.t OVERRIDING SYSTEM VALUE SELECT * FROM chunk ON CONFLICT DO NOTHING`)
	f.must(err)
}
