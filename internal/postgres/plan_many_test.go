package postgres

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"strangler/capability"
)

// counter counts the statements that a pool sends.
type counter struct{ atomic.Int64 }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.Add(1)
	return ctx
}

func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestPlanAsksOnceForAllTables: a plan over many tables asks no more questions
// than one over a few, and so does the making of their statements.
func TestPlanAsksOnceForAllTables(t *testing.T) {
	t.Parallel()
	asked := map[int]int64{}
	for _, n := range []int{2, 60} {
		var data []string
		m := newMigration(t, capability.CaptureWAL, "", nil)
		script := `CREATE TYPE mood AS ENUM ('a', 'b'); CREATE FUNCTION ok(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';`
		for i := range n {
			script += fmt.Sprintf(`CREATE TABLE t%d (id serial PRIMARY KEY, b bigint GENERATED ALWAYS AS IDENTITY, up int REFERENCES t0, m mood[], c int CHECK (ok(c)), d text COLLATE "C" UNIQUE); CREATE VIEW v%d AS SELECT * FROM t%d;`, i, i, i)
			data = append(data, fmt.Sprintf("t%d", i))
		}
		m.exec(capability.Legacy, script)
		m.Document.Data = tables(data...)
		count := new(counter)
		counted := *m
		counted.databases = map[capability.Side]*Database{}
		for _, side := range capability.Sides {
			config := m.databases[side].pool.Config()
			config.ConnConfig.Tracer = count
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			m.must(err)
			defer pool.Close()
			counted.databases[side] = &Database{side: side, pool: pool, config: config.ConnConfig}
		}
		mover := counted.mover(m.Document.Data, 1)
		_, err := mover.DDL(t.Context())
		m.must(err)
		m.created()
		began := time.Now()
		plan, problems, err := mover.Plan(t.Context())
		m.must(err)
		if len(problems) > 0 || len(plan.Tables) != n || len(plan.Dependents) < n {
			t.Errorf("%d tables: %v", len(plan.Tables), problems)
		}
		asked[n] = count.Load()
		t.Logf("%d tables: %d questions, %v for plan and statements", n, asked[n], time.Since(began))
	}
	if asked[2] != asked[60] {
		t.Errorf("questions by number of tables: %v", asked)
	}
}
