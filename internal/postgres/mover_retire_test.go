package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// inventory lists everything in a database that a move could leave something in,
// but for rows of the application and what sequences have handed out.
func (m *migration) inventory(side capability.Side) string {
	m.t.Helper()
	return ask[string](m, side, `SELECT string_agg(line, E'\n' ORDER BY line) FROM (
		SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE database = current_database()
		UNION ALL SELECT 'publication ' || pubname FROM pg_publication
		UNION ALL SELECT 'origin ' || roname FROM pg_replication_origin WHERE roname LIKE '%' || $1 || '%'
		UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%'
		UNION ALL SELECT format('relation %s %s %s %s', oid::regclass, relkind, relreplident, reloptions) FROM pg_class WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\_%' OR nspname = 'information_schema')
		UNION ALL SELECT format('function %s', p.oid::regprocedure) FROM pg_proc p WHERE pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\_%' OR nspname = 'information_schema')
		UNION ALL SELECT format('trigger %s of %s', tgname, tgrelid::regclass) FROM pg_trigger WHERE NOT tgisinternal
		UNION ALL SELECT format('event trigger %s', evtname) FROM pg_event_trigger
		UNION ALL SELECT format('constraint %s of %s: %s %s', conname, conrelid::regclass, pg_get_constraintdef(oid), convalidated) FROM pg_constraint WHERE conrelid <> 0
		UNION ALL SELECT format('rule %s of %s', rulename, ev_class::regclass) FROM pg_rewrite WHERE oid >= 16384
		UNION ALL SELECT format('default of %s: %s', adrelid::regclass, pg_get_expr(adbin, adrelid)) FROM pg_attrdef
		UNION ALL SELECT format('setting of role %s: %s', setrole::regrole, setconfig) FROM pg_db_role_setting WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
	) i(line)`, m.name)
}

// gone reports what two inventories do not have in common.
func gone(before, after string) (lines []string) {
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, l := range was {
		if !slices.Contains(is, l) {
			lines = append(lines, "- "+l)
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			lines = append(lines, "+ "+l)
		}
	}
	return lines
}

// watched is a move whose extracted side owns, and everything is equal.
func (m *migration) owned() (stop func()) {
	m.t.Helper()
	stop = m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	m.must(m.DropBorder(m.t.Context()))
	m.switchTo(capability.Extracted)
	return stop
}

func quiet(capability.Progress) {}

// killedBefore takes the steps of a work up to one, before which the process dies;
// done is true where there is no such step.
func killedBefore(t *testing.T, n int, work func(context.Context, func(capability.Progress)) error) (step string, done bool) {
	t.Helper()
	ctx, kill := context.WithCancelCause(t.Context())
	defer kill(nil)
	killed := errors.New("killed")
	begun := 0
	err := work(ctx, func(p capability.Progress) {
		if p.State != "started" {
			return
		}
		if step = p.Message; begun == n {
			kill(killed)
		}
		begun++
	})
	if err != nil && !errors.Is(err, killed) {
		t.Fatal(err)
	}
	return step, err == nil
}

// TestRetireSurvivesAnything: the process dies before each step, and another one
// goes on. In between, a forgotten writer never finds a legacy table that takes
// its writes, no mover begins anything anew, and the service writes on.
func TestRetireSurvivesAnything(t *testing.T) { inEachCapture(t, testRetireSurvivesAnything) }

func testRetireSurvivesAnything(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop, shopData())
	legacy := m.inventory(capability.Legacy)
	m.created()
	extracted := m.inventory(capability.Extracted)
	stop := m.owned()
	m.exec(capability.Extracted, `UPDATE orders SET note = 'the last word' WHERE id = 1`)
	m.settled(capability.Extracted)
	if err := m.Retire(t.Context(), false, quiet); err == nil {
		t.Error("retired while the mover runs")
	}
	stop()

	var planned, steps []string
	plan := func(p capability.Progress) { planned = append(planned, p.Message) }
	m.must(errors.Join(m.Retire(t.Context(), true, plan), m.Forget(t.Context(), true, plan)))
	for _, work := range []func(*migrate.Mover, context.Context, func(capability.Progress)) error{
		func(mover *migrate.Mover, ctx context.Context, report func(capability.Progress)) error {
			return mover.Retire(ctx, false, report)
		},
		func(mover *migrate.Mover, ctx context.Context, report func(capability.Progress)) error {
			return mover.Forget(ctx, false, report)
		},
	} {
		for n := 0; ; n++ {
			mover := m.mover(shopData(), uint64(n+2))
			step, done := killedBefore(t, n, func(ctx context.Context, report func(capability.Progress)) error { return work(mover, ctx, report) })
			if err := m.try(capability.Legacy, `INSERT INTO orders (customer_id) VALUES (1)`); !slices.Contains([]string{"P0S01", "42P01"}, sqlstate.Of(err)) {
				t.Fatalf("before %q a write to legacy: %v", step, err)
			}
			m.exec(capability.Extracted, `INSERT INTO orders (customer_id) VALUES (1)`)
			if retiring, err := mover.Retiring(t.Context()); err != nil || retiring {
				if err := mover.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "strangler retire "+m.name) {
					t.Fatalf("before %q a mover that runs: %v", step, err)
				}
			}
			if done {
				break
			}
			steps = append(steps, step)
		}
	}
	if !slices.Equal(planned, steps) {
		t.Errorf("the dry run said %q, and done was %q", planned, steps)
	}
	m.must(m.Retire(t.Context(), false, quiet))
	m.must(m.Forget(t.Context(), false, quiet)) // may be repeated

	if left := gone(extracted, m.inventory(capability.Extracted)); len(left) > 0 {
		t.Errorf("in extracted:\n%s", strings.Join(left, "\n"))
	}
	archive := migrate.ArchiveSchema(m.name)
	for _, line := range gone(legacy, m.inventory(capability.Legacy)) {
		ours := strings.Contains(line, "orders") || strings.Contains(line, "order_lines")
		if line != "+ schema "+archive && (!ours || strings.HasPrefix(line, "+") && !strings.Contains(line, archive)) {
			t.Errorf("in legacy: %s", line)
		}
	}
	if note := ask[string](m, capability.Legacy, fmt.Sprintf(`SELECT note FROM %s.orders WHERE id = 1`, archive)); note != "the last word" {
		t.Errorf("the archive has %q", note)
	}
	m.exec(capability.Legacy, fmt.Sprintf(`INSERT INTO %s.orders (customer_id) VALUES (1); DELETE FROM customers WHERE id = 1; DROP SCHEMA %s CASCADE`, archive, archive))
}

// TestRetireWithPartitions archives them, whatever schema they are in.
func TestRetireWithPartitions(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, events+`CREATE SCHEMA old; ALTER TABLE events_a_2 SET SCHEMA old;`, eventsData()).created()
	stop := m.owned()
	m.exec(capability.Extracted, `UPDATE events SET n = n + 1`)
	m.settled(capability.Extracted)
	stop()
	// What is in the way is found beforehand, and if it comes too late nothing has moved.
	archive := migrate.ArchiveSchema(m.name)
	m.exec(capability.Legacy, fmt.Sprintf(`CREATE SCHEMA %s; CREATE TABLE %s.events_b ()`, archive, archive))
	if _, err := m.Uses(t.Context()); err == nil || !strings.Contains(err.Error(), "events_b") {
		t.Errorf("a name that is taken: %v", err)
	}
	if err := m.Retire(t.Context(), false, quiet); err == nil || ask[int](m, capability.Legacy, `SELECT count(*) FROM pg_class WHERE relnamespace = $1::regnamespace`, archive) != 1 {
		t.Errorf("half an archive: %v", err)
	}
	if err := m.try(capability.Legacy, `UPDATE events SET n = 0`); sqlstate.Of(err) != "P0S01" {
		t.Errorf("a write after a failed step: %v", err)
	}
	m.exec(capability.Legacy, fmt.Sprintf(`DROP TABLE %s.events_b`, archive))
	m.must(m.Retire(t.Context(), false, quiet))
	m.must(m.Forget(t.Context(), false, quiet))
	if elsewhere := ask[string](m, capability.Legacy, `SELECT coalesce(string_agg(oid::regclass::text, ' '), '') FROM pg_class WHERE (relname LIKE 'events%' OR relname LIKE 'marks%') AND relnamespace <> $1::regnamespace`, archive); elsewhere != "" {
		t.Errorf("not archived: %s", elsewhere)
	}
	if n := ask[int](m, capability.Legacy, fmt.Sprintf(`SELECT count(*) FROM %s.events WHERE n = 1`, archive)); n != 900 {
		t.Errorf("%d rows in the archive", n)
	}
}

// TestRetireNames tells what still needs the legacy tables, and does not take the
// mover's own readings for somebody's.
func TestRetireNames(t *testing.T) { inEachCapture(t, testRetireNames) }

func testRetireNames(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, shop+`
		CREATE VIEW open_orders AS SELECT * FROM orders WHERE status = 'pending';
		CREATE FUNCTION spent(c bigint) RETURNS numeric LANGUAGE sql AS 'SELECT sum(total) FROM public.orders WHERE customer_id = c';
		CREATE PUBLICATION others FOR TABLE order_lines;`, shopData()).created()
	stop := m.owned()
	m.exec(capability.Legacy, `ALTER TABLE payments ADD CONSTRAINT again FOREIGN KEY (order_id) REFERENCES orders NOT VALID`)
	m.verify(capability.Extracted, 0) // the mover reads every row of legacy
	m.exec(capability.Extracted, `UPDATE orders SET note = 'x' WHERE id < 100`)
	m.settled(capability.Extracted)
	stop()

	uses, err := m.Uses(t.Context())
	m.must(err)
	var said []string
	for _, u := range uses {
		said = append(said, string(u.Kind)+": "+u.What)
	}
	text := strings.Join(said, "\n")
	for _, want := range []string{"dependents: foreign key again of public.payments refers to public.orders", "dependents: view open_orders reads and may write", "dependents: function spent(bigint) reads",
		"dependents: publication others has order_lines", "copies: customers"} {
		if !strings.Contains(text, want) && !strings.Contains(strings.ReplaceAll(text, "public.", ""), strings.ReplaceAll(want, "public.", "")) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if len(uses) != 5 {
		t.Errorf("uses:\n%s", text)
	}

	seen, err := m.Watch(t.Context(), time.Second, quiet)
	if err != nil || len(seen) > 0 {
		t.Errorf("nobody has read: %+v, %v", seen, err)
	}
	read := false
	seen, err = m.Watch(t.Context(), time.Second, func(p capability.Progress) {
		if !read && strings.Contains(p.Message, "may read") {
			read = true
			m.exec(capability.Legacy, `SELECT count(*) FROM orders`)
		}
	})
	if err != nil || len(seen) != 1 || seen[0].Kind != capability.UseScans || !strings.Contains(seen[0].What, "orders was read") {
		t.Errorf("somebody has read: %+v, %v", seen, err)
	}
}
