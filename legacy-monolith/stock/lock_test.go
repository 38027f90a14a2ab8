package stock

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"testbed"

	"legacy-monolith/database"
)

func TestMain(m *testing.M) { testbed.Main(m) }

// Whoever waits for the first product must not hold the second one yet: two
// transactions that lock in different orders would wait for each other.
func TestStockIsLockedInOrderOfProduct(t *testing.T) {
	t.Parallel()
	quantities := map[int64]int64{2: 1, 1: 1}
	for name, act := range map[string]func(context.Context, pgx.Tx) error{
		"take":   func(ctx context.Context, tx pgx.Tx) error { return Ledger{}.Take(ctx, tx, 12, quantities) },
		"return": func(ctx context.Context, tx pgx.Tx) error { return Ledger{}.Return(ctx, tx, 11) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := stocked(t, quantities)
			holder := begin(t, pool)
			exec(t, holder, `select from stock where product_id = 1 for update`)

			waiter := begin(t, pool)
			ended := make(chan error, 1)
			go func() { ended <- act(t.Context(), waiter) }()
			awaitWaiter(t, pool, waiter)
			other := begin(t, pool)
			exec(t, other, `select from stock where product_id = 2 for update nowait`)

			for _, tx := range []pgx.Tx{other, holder} {
				if err := tx.Rollback(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-ended; err != nil {
				t.Errorf("%s failed after its wait: %v", name, err)
			}
		})
	}
}

// stocked is a database where order 11 has taken the quantities. The products lie
// on disk in the wrong order, so that a scan of the table finds the second first.
func stocked(t *testing.T, quantities map[int64]int64) *pgxpool.Pool {
	t.Helper()
	pool, err := database.Connect(t.Context(), testbed.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := database.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	err = database.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		exec(t, tx, `insert into products (id, sku, name, description, category, price_cents)
			select id, id, 'thing', '', '', 100 from generate_series(1, 2) id`)
		exec(t, tx, `insert into stock (product_id, quantity) values (2, 100), (1, 100)`)
		return Ledger{}.Take(t.Context(), tx, 11, quantities)
	})
	if err != nil {
		t.Fatal(err)
	}
	exec(t, pool, `vacuum full stock`)
	exec(t, pool, `update stock set quantity = quantity where product_id = 1`)
	exec(t, pool, `analyze stock`)
	return pool
}

func begin(t *testing.T, pool *pgxpool.Pool) pgx.Tx {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The test's own context has ended when this runs.
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return tx
}

type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// awaitWaiter blocks until the transaction's backend waits for a lock.
func awaitWaiter(t *testing.T, pool *pgxpool.Pool, tx pgx.Tx) {
	t.Helper()
	pid := tx.Conn().PgConn().PID()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		var waits bool
		err := pool.QueryRow(t.Context(), `select coalesce(wait_event_type = 'Lock', false) from pg_stat_activity where pid = $1`, pid).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
		if waits {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("nobody waits for the lock")
		}
	}
}

func exec(t *testing.T, on execer, statement string) {
	t.Helper()
	if _, err := on.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
