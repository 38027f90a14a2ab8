package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/migrate"
)

// crossed is a legacy schema in which everything that can cross the border does.
const crossed = `
	CREATE TABLE customers (id int PRIMARY KEY, orders int);
	CREATE SEQUENCE numbers;
	CREATE TABLE orders (id int PRIMARY KEY DEFAULT nextval('numbers'), customer_id int CONSTRAINT "to customers" REFERENCES customers ON DELETE CASCADE ON UPDATE SET NULL, v text);
	CREATE TABLE payments (id int PRIMARY KEY DEFAULT nextval('numbers'), order_id int CONSTRAINT to_orders REFERENCES orders ON DELETE SET NULL ON UPDATE CASCADE);
	CREATE TABLE refunds (order_id int CONSTRAINT refunded REFERENCES orders);
	CREATE TABLE audit (what text);
	CREATE VIEW open_orders AS SELECT id FROM orders;
	CREATE VIEW few AS SELECT count(*) FROM open_orders;
	CREATE MATERIALIZED VIEW "Report" AS SELECT count(*) FROM orders;
	CREATE FUNCTION reader() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.orders';
	CREATE FUNCTION writer(int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'UPDATE orders SET v = NULL'; END $$;
	CREATE FUNCTION atomic() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM orders; END;
	CREATE FUNCTION innocent() RETURNS text LANGUAGE sql AS $$ SELECT 'reorders' /* UPDATE orders */ $$;
	CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE customers SET orders = orders + 1; INSERT INTO audit VALUES ('order'); RETURN NEW; END $$;
	CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM orders WHERE id = OLD.id; RETURN OLD; END $$;
	CREATE TRIGGER count_orders AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION counted();
	CREATE TRIGGER touch_orders AFTER DELETE ON refunds FOR EACH ROW EXECUTE FUNCTION touched();
	CREATE TRIGGER sleeping AFTER DELETE ON audit FOR EACH ROW EXECUTE FUNCTION touched();
	ALTER TABLE audit DISABLE TRIGGER sleeping;
	CREATE RULE follow AS ON DELETE TO audit DO ALSO DELETE FROM orders WHERE v = OLD.what;
	CREATE POLICY own ON payments USING (order_id IN (SELECT id FROM orders));
	ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
	CREATE POLICY mine ON orders USING (true);
	CREATE PUBLICATION lake FOR TABLE orders;
	SELECT lo_create(0);`

func TestPlanTellsTheBorder(t *testing.T) {
	t.Parallel()
	data := tables("orders")
	m := newMigration(t, capability.CaptureWAL, crossed, data)
	m.exec(capability.Extracted, `CREATE TABLE other (id int PRIMARY KEY); CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES other, v text)`)
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) != 3 {
		t.Errorf("problems: %v", problems)
	}
	keys := map[string]string{}
	for _, k := range plan.Border {
		keys[k.Constraint] = k.Actions + ": " + strings.Join(k.Loses, "; ")
	}
	for constraint, want := range map[string]string{
		"to customers": "ON DELETE CASCADE ON UPDATE SET NULL: a row of orders may name a row of customers that is not there; deleting from customers no longer deletes from orders; a changed key of customers no longer sets NULL in orders",
		"to_orders":    "ON DELETE SET NULL ON UPDATE CASCADE: a row of payments may name a row of orders that is not there; deleting from orders no longer sets NULL in payments; a changed key of orders no longer carries over to payments",
		"refunded":     ": a row of refunds may name a row of orders that is not there; rows of orders that refunds names can be deleted",
	} {
		if keys[constraint] != want {
			t.Errorf("%s: %q", constraint, keys[constraint])
		}
	}
	found := map[string]bool{}
	for _, d := range plan.Dependents {
		found[fmt.Sprintf("%s %s/%s %s %s %s", d.Kind, d.Name, d.On, d.Access, d.Table, d.Found)] = true
		if d.Means == "" {
			t.Errorf("nothing becomes of %+v", d)
		}
	}
	want := []string{
		"view public.open_orders/ reads and may write orders catalog", "view public.few/ reads orders catalog", `materialized view public."Report"/ reads orders catalog`,
		"function public.reader()/ reads orders text", "function public.writer(integer)/ writes orders text", "function public.atomic()/ writes orders catalog",
		"trigger count_orders/orders writes customers text", "trigger count_orders/orders writes audit text", "trigger touch_orders/refunds writes orders text",
		"rule follow/public.audit names orders catalog", "policy own/public.payments reads orders catalog", "sequence public.numbers/public.payments draws from orders catalog",
	}
	for _, w := range want {
		if !found[w] {
			t.Errorf("nothing of %s", w)
		}
	}
	if len(found) != len(want) {
		t.Errorf("%d found, %d wanted: %v", len(found), len(want), found)
	}
	text := fmt.Sprint(plan.Tables[0].Notes, plan.Notes, plan.Settings)
	for _, w := range []string{"publications lake", "policies mine on the legacy table, none", "orders_customer_id_fkey of orders to other is not checked", "large objects", "orders.id draws from a sequence", "count_orders"} {
		if !strings.Contains(text, w) {
			t.Errorf("nothing of %q in %s", w, text)
		}
	}
}

// TestPlanNotes: what does not stand against a move and should be known before it.
func TestPlanNotes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, legacy, extracted string
		want                    string // of the message or the mend; empty: no note on the table
		columns                 map[string]string
	}{
		{name: "nothing", legacy: plain, extracted: plain},
		{name: "not null there", legacy: plain, extracted: `CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL)`, want: "ALTER TABLE public.t ALTER v DROP NOT NULL"},
		{name: "not null here", legacy: `CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL)`, extracted: plain, want: "stops the stream back"},
		{name: "check there", legacy: plain, extracted: plain + `ALTER TABLE t ADD CHECK (v <> '')`, want: "ALTER TABLE public.t DROP CONSTRAINT t_v_check"},
		{name: "check here", legacy: plain + `ALTER TABLE t ADD CHECK (v <> '')`, extracted: plain, want: "only on the legacy side"},
		{name: "the same check under other names", legacy: plain + `ALTER TABLE t ADD CHECK (v <> 'v')`, extracted: `CREATE TABLE t (id int PRIMARY KEY, "W" text CONSTRAINT c CHECK ("W" <> 'v'))`, columns: map[string]string{"v": "W"}},
		{name: "the same unique expression under other names", legacy: plain + `CREATE UNIQUE INDEX ON t (lower(v)) WHERE v > 'a'`,
			extracted: `CREATE TABLE t (id int PRIMARY KEY, "W" text); CREATE UNIQUE INDEX ON t (lower("W")) WHERE "W" > 'a'`, columns: map[string]string{"v": "W"}},
		{name: "unique by the key", legacy: plain, extracted: plain + `CREATE UNIQUE INDEX ON t (v, id)`},
		{name: "unique only here", legacy: plain + `CREATE UNIQUE INDEX ON t (v)`, extracted: plain, want: "stop the stream back"},
		{name: "unique over what stays NULL", legacy: plain, extracted: `CREATE TABLE t (id int PRIMARY KEY, v text, w text UNIQUE)`, want: "column w exists only"},
		{name: "deferrable there", legacy: plain + `ALTER TABLE t ADD UNIQUE (v)`, extracted: plain + `ALTER TABLE t ADD UNIQUE (v) DEFERRABLE`, want: "not checked for rows that the mover writes"},
		{name: "another expression", legacy: `CREATE TABLE t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id * 2) STORED)`, extracted: `CREATE TABLE t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id * 3) STORED)`, want: "computed differently"},
		{name: "the same expression", legacy: `CREATE TABLE t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id * 2) STORED)`, extracted: `CREATE TABLE t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id * 2) STORED)`},
		{name: "numbers of its own", legacy: `CREATE TABLE t (id serial PRIMARY KEY)`, extracted: `CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)`, want: "ALTER TABLE public.t ALTER id SET GENERATED BY DEFAULT"},
		{name: "whole rows", legacy: plain + `ALTER TABLE t REPLICA IDENTITY FULL`, extracted: plain, want: "every old row"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			data := tables("t")
			data.Tables[0].Columns = test.columns
			m := newMigration(t, capability.CaptureWAL, test.legacy, data)
			m.exec(capability.Extracted, test.extracted)
			plan, problems, err := m.Plan(t.Context())
			m.must(err)
			if len(problems) > 0 {
				t.Errorf("refused: %v", problems)
			}
			table := plan.Tables[0]
			if test.want == "" {
				if len(table.Notes) > 0 || table.Verdict != migrate.VerdictMoves {
					t.Errorf("%s: %v", table.Verdict, table.Notes)
				}
			} else if text := fmt.Sprint(table.Notes); !strings.Contains(text, test.want) || table.Verdict != migrate.VerdictNoted {
				t.Errorf("%s: nothing of %q in %s", table.Verdict, test.want, text)
			}
		})
	}
}

// TestPlanComparesWhatTablesCall: functions, extensions and collations on both sides.
func TestPlanComparesWhatTablesCall(t *testing.T) {
	t.Parallel()
	const uses = `CREATE TABLE t (id int PRIMARY KEY, v int CHECK (public.small(v)), w public.citext, x text COLLATE "de-x-icu");`
	m := newMigration(t, capability.CaptureWAL, `CREATE EXTENSION citext VERSION '1.5'; CREATE FUNCTION helper(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n';
		CREATE FUNCTION small(n int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN helper(n) < 10; END';`+uses+`ALTER TABLE t ADD s float CHECK (s > 0);`, tables("t"))
	m.exec(capability.Extracted, `CREATE EXTENSION citext; CREATE FUNCTION small(n int) RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = public AS 'BEGIN RETURN n < 10; END';`+uses+`ALTER TABLE t ADD s float CHECK (s > 0);`)
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
	text := fmt.Sprint(plan.Notes)
	for _, want := range []string{"function public.small(integer) differs", "ALTER FUNCTION public.small(integer) SET search_path = public", "names helper without its schema", "extension citext is 1.5 in the legacy database", "ALTER EXTENSION citext UPDATE TO '1.5'"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing of %q in %s", want, text)
		}
	}
	if strings.Count(text, "search_path") != 1 {
		t.Errorf("a function with its own search_path is told of: %s", text)
	}
	// What was warned of does happen.
	m.exec(capability.Legacy, `INSERT INTO t (id, v) VALUES (1, 1)`)
	m.exec(capability.Extracted, `ALTER FUNCTION small(int) RESET search_path; CREATE OR REPLACE FUNCTION small(n int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN helper(n) < 10; END'; CREATE FUNCTION helper(n int) RETURNS int LANGUAGE sql AS 'SELECT n'`)
	if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "helper") {
		t.Errorf("the mover's writes found it: %v", err)
	}
	m.exec(capability.Extracted, `ALTER FUNCTION small(int) SET search_path = public`)
	m.follows(m.mover(tables("t"), 2))
}

// TestPlanSeesWhoNamesPartitions: a view, a function, a trigger and a foreign key
// that use one and not its table.
func TestPlanSeesWhoNamesPartitions(t *testing.T) {
	t.Parallel()
	data := eventsData()
	m := newEvents(t, capability.CaptureWAL, events+`
		CREATE VIEW seen AS SELECT id FROM events_a_2;
		CREATE FUNCTION purge() RETURNS void LANGUAGE sql AS 'DELETE FROM events_rest_1 WHERE at < 3';
		CREATE TABLE totals (n int);
		CREATE FUNCTION total() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE totals SET n = n + 1; RETURN NULL; END';
		CREATE TRIGGER total AFTER INSERT ON events_b FOR EACH ROW EXECUTE FUNCTION total();
		ALTER TABLE events_b ADD CONSTRAINT b_label UNIQUE (label);
		CREATE TABLE badges (label text REFERENCES events_b (label))`, "", data)
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	var uses []string
	for _, d := range plan.Dependents {
		uses = append(uses, fmt.Sprintf("%s %s %s %s", d.Kind, d.Name, d.Access, d.Table))
	}
	want := []string{"view public.seen reads and may write events_a_2", "function public.purge() writes events_rest_1", "trigger total writes totals"}
	if !slices.Equal(uses, want) {
		t.Errorf("%q", uses)
	}
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "badges_label_fkey from badges to events crosses the border") {
		t.Errorf("%v", problems)
	}
	ddl, err := m.databases[capability.Legacy].Define(t.Context(), []migrate.Definition{{From: migrate.Table{Relation: migrate.Relation{Schema: "public", Name: "events"}}, To: migrate.Relation{Schema: "new", Name: "happenings"}}})
	m.must(err)
	if omitted := strings.Join(ddl.Omitted, "\n"); !strings.Contains(omitted, "what partition events_b of new.happenings has for itself: indexes, constraints, triggers") {
		t.Errorf("omitted:\n%s", omitted)
	}
}
