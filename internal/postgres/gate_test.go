package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
)

// TestSwitchAndBack walks the gates through a cutover and a rollback and asks at
// every point who may write where.
func TestSwitchAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	apps := map[capability.Side]*pgx.Conn{capability.Legacy: w.app(capability.Legacy), capability.Extracted: w.app(capability.Extracted)}
	writes := func(when string, want ...capability.Side) {
		t.Helper()
		for _, side := range capability.Sides {
			_, err := apps[side].Exec(ctx, insert)
			allowed := len(want) > 0 && want[0] == side
			if (err == nil) != allowed {
				t.Errorf("%s: %s takes writes: %v (%v)", when, side, err == nil, err)
			}
		}
	}
	writes("at the start", capability.Legacy)
	from := capability.Legacy
	for range 2 {
		legacy, extracted, err := w.Read(ctx)
		w.must(err)
		gates := map[capability.Side]capability.Gate{capability.Legacy: legacy, capability.Extracted: extracted}
		to := from.Other()
		_, closing, err := capability.Next(gates[from], gates[to], capability.EventClose)
		w.must(err)
		w.must(w.Close(ctx, from, gates[from].Epoch, closing, hour, "n"))
		writes("closing")
		w.must(w.Seal(ctx, from, closing))
		writes("sealed")
		legacy, extracted, err = w.Read(ctx)
		w.must(err)
		verdict := capability.Decide(legacy, extracted)
		if verdict.Action != capability.ActionFinish || verdict.On != to {
			t.Fatalf("in between: %+v", verdict)
		}
		gates = map[capability.Side]capability.Gate{capability.Legacy: legacy, capability.Extracted: extracted}
		_, open, err := capability.Next(gates[to], gates[from], capability.EventOpen)
		w.must(err)
		w.must(w.Open(ctx, to, gates[to].Epoch, open))
		writes("opened", to)
		w.must(w.Disable(ctx, to, open, guardTimeout))
		writes("guards disabled", to)
		from = to
	}
}

// TestEveryKindOfWriteIsRefused includes what a row trigger would not see.
func TestEveryKindOfWriteIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	w.exec(capability.Extracted, `CREATE TABLE parts (id int) PARTITION BY RANGE (id);
		CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
		CREATE TABLE lines (order_id int REFERENCES orders ON DELETE CASCADE);`)
	for _, name := range []string{"parts", "lines"} {
		w.must(w.addGuards(ctx, capability.Extracted, migrate.Relation{Schema: "public", Name: name}))
	}
	app := w.app(capability.Extracted)
	for _, statement := range []string{
		insert, `UPDATE public.orders SET note = 'x' WHERE false`, `DELETE FROM public.orders`, `TRUNCATE public.orders, public.lines`, `COPY public.orders FROM STDIN`,
		`INSERT INTO public.orders SELECT 1, '' ON CONFLICT DO NOTHING`, `MERGE INTO public.orders o USING (SELECT 1 AS i) s ON o.id = s.i WHEN NOT MATCHED THEN INSERT VALUES (1, '')`,
		`INSERT INTO public.parts VALUES (1)`, `INSERT INTO public.parts_1 VALUES (1)`, `UPDATE public.parts_1 SET id = 2`, `TRUNCATE public.parts_1`,
		`WITH w AS (INSERT INTO public.lines VALUES (1) RETURNING 1) SELECT * FROM w`,
	} {
		_, err := app.Exec(ctx, statement)
		if noRight := strings.HasPrefix(statement, "TRUNCATE") && code(err) == "42501"; code(err) != "P0S01" && !noRight {
			t.Errorf("%s: %v", statement, err)
		}
	}
	superuser := w.mover(capability.Extracted, "")
	if _, err := superuser.Exec(ctx, `SET session_replication_role = replica`); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{insert, `TRUNCATE public.orders, public.lines`, `TRUNCATE public.parts_1`} {
		if _, err := superuser.Exec(ctx, statement); code(err) != "P0S01" {
			t.Errorf("as replica: %s: %v", statement, err)
		}
	}
}

// TestClosingIsBounded: a long transaction of the monolith is not waited for, and
// its writers do not notice the attempt.
func TestClosingIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	tx, err := w.app(capability.Legacy).Begin(ctx)
	w.must(err)
	_, err = tx.Exec(ctx, insert)
	w.must(err)
	began := time.Now()
	err = w.Close(ctx, capability.Legacy, 1, 2, hour, "")
	if !errors.Is(err, capability.ErrBusy) {
		t.Fatalf("closing over an open transaction: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it gave up after %s", took)
	}
	if gate := w.gate(capability.Legacy); gate.State != capability.Open || gate.Epoch != 1 {
		t.Errorf("the gate is %+v after a closing that failed", gate)
	}
	w.must(tx.Commit(ctx))
	_, err = w.app(capability.Legacy).Exec(ctx, insert)
	w.must(err)
	w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, ""))
	// The session that closed must serve others without its limit.
	var limit string
	w.must(w.databases[capability.Legacy].pool.QueryRow(ctx, `SHOW statement_timeout`).Scan(&limit))
	if limit != "0" {
		t.Errorf("statement_timeout is %s after closing", limit)
	}
}

// TestMarkerIsBehindEveryWrite: a writer in flight when the closing begins is
// before the marker in the change stream, and nothing is behind it.
func TestMarkerIsBehindEveryWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	_, err := w.databases[capability.Legacy].pool.Exec(ctx, `SELECT pg_create_logical_replication_slot('peek', 'test_decoding')`)
	w.must(err)
	_, err = w.app(capability.Legacy).Exec(ctx, insert)
	w.must(err)
	w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, "nonce-1"))
	if _, err := w.app(capability.Legacy).Exec(ctx, insert); code(err) != "P0S01" {
		t.Fatalf("a write behind the marker: %v", err)
	}
	rows, err := w.databases[capability.Legacy].pool.Query(ctx,
		`SELECT data FROM pg_logical_slot_get_changes('peek', NULL, NULL) WHERE data LIKE 'message%' OR data LIKE 'table public.orders%'`)
	w.must(err)
	changes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	w.must(err)
	if len(changes) != 2 || changes[1] != `message: transactional: 1 prefix: strangler, sz: 7 content:nonce-1` {
		t.Errorf("change stream: %q", changes)
	}
}

// TestLateDisablingCannotUnlock: guards of a side that was sealed since stay.
func TestLateDisablingCannotUnlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, ""))
	w.must(w.Open(ctx, capability.Legacy, 2, 3))
	w.must(w.Close(ctx, capability.Legacy, 3, 4, hour, ""))
	if err := w.Disable(ctx, capability.Legacy, 3, guardTimeout); !errors.Is(err, capability.ErrGate) {
		t.Errorf("disabled the guards of a closing gate: %v", err)
	}
	if _, err := w.app(capability.Legacy).Exec(ctx, insert); code(err) != "P0S01" {
		t.Errorf("a write into a closing side: %v", err)
	}
}

// TestDisablingWithoutWaiting: nobody queues behind guards that are to go; what is locked is left as it is, in one piece, or
// done table by table by who may make writers wait.
func TestDisablingWithoutWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	w.exec(capability.Legacy, `CREATE TABLE lines (id int)`)
	w.must(w.addGuards(ctx, capability.Legacy, migrate.Relation{Schema: "public", Name: "lines"}))
	w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, ""))
	w.must(w.Open(ctx, capability.Legacy, 2, 3))
	app := w.app(capability.Legacy)
	guards := func() (n int) {
		t.Helper()
		w.must(app.QueryRow(ctx, `SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'strangler_guard%' AND tgenabled <> 'D'`).Scan(&n))
		return n
	}
	writer, err := w.app(capability.Legacy).Begin(ctx)
	w.must(err)
	_, err = writer.Exec(ctx, `INSERT INTO lines VALUES (1)`)
	w.must(err)
	if err := w.Disable(ctx, capability.Legacy, 3, 0); !errors.Is(err, capability.ErrBusy) || guards() != 4 {
		t.Errorf("beside a writer: %v, and %d guards", err, guards())
	}
	if err := w.Disable(ctx, capability.Legacy, 3, time.Millisecond); !errors.Is(err, capability.ErrBusy) || guards() != 2 {
		t.Errorf("waiting for a writer: %v, and %d guards", err, guards())
	}
	w.must(writer.Commit(ctx))
	for _, epoch := range []uint64{2, 4} {
		if err := w.Disable(ctx, capability.Legacy, epoch, 0); !errors.Is(err, capability.ErrGate) || guards() != 2 {
			t.Errorf("as opened at %d: %v, and %d guards", epoch, err, guards())
		}
	}
	w.must(w.Disable(ctx, capability.Legacy, 3, 0))
	if n := guards(); n != 0 {
		t.Errorf("%d guards are left", n)
	}
}

// TestWritersAfterTheLease: many at once find the lease over; all get through,
// the gate is opened once, and none deadlocks.
func TestWritersAfterTheLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, ""))
	w.expire(capability.Legacy)
	errs := make(chan error)
	for i := range 8 {
		app := w.app(capability.Legacy)
		go func() {
			_, err := app.Exec(ctx, fmt.Sprintf(`INSERT INTO public.orders VALUES (%d, '')`, i))
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if gate := w.gate(capability.Legacy); gate.State != capability.Open || gate.Epoch != 3 {
		t.Errorf("the gate is %+v", gate)
	}
	if n := w.rows(capability.Legacy); n != 8 {
		t.Errorf("%d rows of 8", n)
	}
}

// TestPrepareAgain: what exists stays as it is, what is new is guarded as the
// gate's state wants it, and Drop leaves nothing.
func TestPrepareAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, ""))
	w.must(w.Seal(ctx, capability.Legacy, 2))
	for _, side := range capability.Sides {
		w.exec(side, `CREATE TABLE "Cart Lines" (id int)`)
	}
	tables := []migrate.Relation{{Schema: "public", Name: "orders"}, {Schema: "public", Name: "Cart Lines"}}
	w.must(w.Prepare(ctx, tables, tables))
	for _, side := range capability.Sides {
		if _, err := w.app(side).Exec(ctx, `INSERT INTO public."Cart Lines" VALUES (1)`); code(err) != "P0S01" {
			t.Errorf("%s: the new table is not guarded: %v", side, err)
		}
	}
	if gate := w.gate(capability.Legacy); gate.Epoch != 3 || gate.State != capability.Sealed {
		t.Errorf("preparing again changed the gate: %+v", gate)
	}
	for _, side := range capability.Sides {
		w.must(w.Drop(ctx, side))
		w.must(w.Drop(ctx, side))
		if _, err := w.app(side).Exec(ctx, insert); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := w.Read(ctx); !errors.Is(err, capability.ErrNoGate) {
		t.Errorf("reading gates that are gone: %v", err)
	}
}

// TestYield: a vacuum's lock is waited for without standing in a writer's way.
func TestYield(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	w.must(w.Yield(ctx, capability.Legacy))
	tx, err := w.mover(capability.Legacy, "").Begin(ctx)
	w.must(err)
	_, err = tx.Exec(ctx, `LOCK TABLE public.orders IN SHARE UPDATE EXCLUSIVE MODE`)
	w.must(err)
	yielded := make(chan error, 1)
	go func() { yielded <- w.Yield(ctx, capability.Legacy) }()
	_, err = w.app(capability.Legacy).Exec(ctx, insert)
	w.must(err)
	if err := <-yielded; code(err) != "55P03" {
		t.Errorf("maintenance that does not give way: %v", err)
	}
	w.must(tx.Rollback(ctx))
	w.must(w.Yield(ctx, capability.Legacy))
}
