package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strangler/capability"
	"strangler/migrate"
	"testbed"
)

// world is a capability "orders" with one table in two databases, prepared, and
// an application role of its own in each.
type world struct {
	*Gates
	t    testing.TB
	urls map[capability.Side]string
	role string
}

// newWorld prepares the gates, with the gate's SQL changed by mutate.
func newWorld(t testing.TB, mutate func(sql string) string) *world {
	t.Helper()
	w := &world{t: t, urls: map[capability.Side]string{capability.Legacy: testbed.Database(t), capability.Extracted: testbed.Other(t)}}
	databases := map[capability.Side]*Database{}
	for _, side := range capability.Sides {
		d, err := Open(t.Context(), side, w.urls[side])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		databases[side] = d
		w.role = "app_" + d.config.Database
		w.exec(side, fmt.Sprintf(`CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE ROLE %q LOGIN PASSWORD 'app' IN ROLE pg_read_all_data, pg_write_all_data; GRANT CREATE ON DATABASE %q TO PUBLIC`, "app_"+d.config.Database, d.config.Database))
		t.Cleanup(func() {
			w.exec(side, fmt.Sprintf(`DROP OWNED BY %q; DROP ROLE %q`, "app_"+d.config.Database, "app_"+d.config.Database))
		})
	}
	w.Gates = NewGates("orders", databases[capability.Legacy], databases[capability.Extracted])
	orders := []migrate.Relation{{Schema: "public", Name: "orders"}}
	if err := w.Prepare(t.Context(), orders, orders); err != nil {
		t.Fatal(err)
	}
	if mutate != nil {
		mutant := mutate(gateSQL)
		if mutant == gateSQL {
			t.Fatal("the mutation changes nothing: the rule's text has moved")
		}
		for _, side := range capability.Sides {
			if err := databases[side].install(t.Context(), mutant); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

// without returns a mutation that takes a piece out of the gate's SQL.
func without(piece string) func(string) string { return replacing(piece, "") }

func replacing(old, with string) func(string) string {
	return func(sql string) string { return strings.ReplaceAll(sql, old, with) }
}

// exec runs a script as the superuser, outside the product.
func (w *world) exec(side capability.Side, script string) {
	w.t.Helper()
	conn, err := pgconn.Connect(context.Background(), w.urls[side])
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // test session
	if _, err := conn.Exec(context.Background(), script).ReadAll(); err != nil {
		w.t.Fatal(err)
	}
}

// app connects as the application, which is not the mover.
func (w *world) app(side capability.Side) *pgx.Conn {
	w.t.Helper()
	config, err := pgx.ParseConfig(w.urls[side])
	if err != nil {
		w.t.Fatal(err)
	}
	config.User, config.Password = "app_"+config.Database, "app"
	return w.dial(config)
}

// mover connects as the mover's role with the given pass.
func (w *world) mover(side capability.Side, pass string) *pgx.Conn {
	w.t.Helper()
	config, err := pgx.ParseConfig(w.urls[side])
	if err != nil {
		w.t.Fatal(err)
	}
	config.RuntimeParams["strangler.mover"] = pass
	return w.dial(config)
}

func (w *world) dial(config *pgx.ConnConfig) *pgx.Conn {
	w.t.Helper()
	conn, err := pgx.ConnectConfig(w.t.Context(), config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// rows counts a side's orders.
func (w *world) rows(side capability.Side) (n int) {
	w.t.Helper()
	if err := w.databases[side].pool.QueryRow(w.t.Context(), `SELECT count(*) FROM public.orders`).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// gate reads one side's gate.
func (w *world) gate(side capability.Side) capability.Gate {
	w.t.Helper()
	gate, err := w.read(w.t.Context(), side)
	w.must(err)
	return gate
}

// expire lets the lease of a closing gate run out at once.
func (w *world) expire(side capability.Side) {
	w.t.Helper()
	w.exec(side, `UPDATE strangler.gate SET lease_until = clock_timestamp() - interval '1 ms' WHERE state = 'closing'`)
}

func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// blocked waits until the session waits for a lock.
func (w *world) blocked(side capability.Side, pid uint32) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		var waits bool
		w.must(w.databases[side].pool.QueryRow(w.t.Context(),
			`SELECT cardinality(pg_blocking_pids($1)) > 0`, int32(pid)).Scan(&waits))
		if waits {
			return
		}
	}
	w.t.Fatal("the session never waited")
}

const insert = `INSERT INTO public.orders VALUES ((random() * 1e9)::int, '')`
