package postgres

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
)

func TestPlanOfWhatCanMove(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, shop+`ANALYZE`, shopData())
	_, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) != 3 {
		t.Errorf("problems without target tables: %v", problems)
	}
	for _, p := range problems {
		if p.File != "routes/orders.yaml" || p.Line < 8 || !strings.Contains(p.Mend, "data plan "+m.name+" --create") {
			t.Errorf("problem: %s", p)
		}
	}
	m.created()
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
	if plan.Rows != 9100 || len(plan.Tables) != 3 || len(plan.Border) != 2 || !slices.Equal(plan.Sequences, []string{"orders_id_seq"}) || plan.Begun {
		t.Errorf("plan: %+v", plan)
	}
	if items := plan.Tables[1]; items.As != "items" || items.Verdict != migrate.VerdictMoves || items.Renames["unit_price_cents"] != "price_cents" {
		t.Errorf("items: %+v", items)
	}
	m.follows(m.Mover)
	if plan, problems, err := m.Plan(t.Context()); err != nil || len(problems) > 0 || !plan.Begun {
		t.Errorf("a move that runs: %v, %v, %v", plan.Begun, problems, err)
	}
}

// refusal is one schema that does not move.
type refusal struct {
	name, legacy, extracted string
	columns                 map[string]string
	border                  []capability.Border
	want                    string // of message and mend
}

// plain is a table that does.
const plain = `CREATE TABLE t (id int PRIMARY KEY, v text);`

var refusals = []refusal{
	{name: "no such table", extracted: plain, want: "the legacy database has no table t"},
	{name: "no primary key", legacy: `CREATE TABLE t (id int, v text)`, extracted: plain, want: "ADD PRIMARY KEY"},
	{name: "another key", legacy: plain, extracted: `CREATE TABLE t (id int, v text PRIMARY KEY)`, want: "same key columns"},
	{name: "another type", legacy: plain, extracted: `CREATE TABLE t (id int PRIMARY KEY, v varchar(5))`, want: "make the types the same"},
	{name: "a lost column", legacy: plain, extracted: `CREATE TABLE t (id int PRIMARY KEY)`, want: "has no column"},
	{name: "an unfilled column", legacy: plain, extracted: `CREATE TABLE t (id int PRIMARY KEY, v text, w int NOT NULL)`, want: "give it a default"},
	{name: "replica identity of a partition", legacy: `CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t DEFAULT; ALTER TABLE t1 REPLICA IDENTITY NOTHING`,
		extracted: plain, want: "ALTER TABLE public.t1 REPLICA IDENTITY DEFAULT"},
	{name: "always trigger of a partition", legacy: plain, extracted: `CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t DEFAULT;
		CREATE TRIGGER loud BEFORE UPDATE ON t1 FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); ALTER TABLE t1 ENABLE ALWAYS TRIGGER loud`, want: "ALTER TABLE public.t1 ENABLE TRIGGER loud"},
	{name: "unlogged partition", legacy: `CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE UNLOGGED TABLE t1 PARTITION OF t DEFAULT`, extracted: plain, want: "ALTER TABLE public.t1 SET LOGGED"},
	{name: "an invalid index of partitions", legacy: `CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t DEFAULT; CREATE INDEX half ON ONLY t (v)`, extracted: plain, want: "indexes of t in the legacy database are not valid"},
	{name: "a partition", legacy: `CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE t PARTITION OF p DEFAULT`, extracted: plain, want: "is a partition of public.p; name the table itself: public.p"},
	{name: "inheritance", legacy: plain + `CREATE TABLE child () INHERITS (t)`, extracted: plain, want: "parents or children"},
	{name: "unlogged", legacy: `CREATE UNLOGGED TABLE t (id int PRIMARY KEY, v text)`, extracted: plain, want: "SET LOGGED"},
	{name: "view", legacy: `CREATE VIEW t AS SELECT 1 AS id, ''::text AS v`, extracted: plain, want: "no ordinary table"},
	{name: "deferrable key", legacy: `CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, v text)`, extracted: plain, want: "NOT DEFERRABLE"},
	{name: "replica identity", legacy: plain + `ALTER TABLE t REPLICA IDENTITY NOTHING`, extracted: plain, want: "REPLICA IDENTITY DEFAULT"},
	{name: "replica identity there", legacy: plain, extracted: plain + `ALTER TABLE t REPLICA IDENTITY NOTHING`, want: "REPLICA IDENTITY DEFAULT"},
	{name: "rule", legacy: plain, extracted: plain + `CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING`, want: "DROP RULE r ON public.t"},
	{name: "always trigger", legacy: plain, extracted: plain + `CREATE TRIGGER loud BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); ALTER TABLE t ENABLE ALWAYS TRIGGER loud`, want: "loud"},
	{name: "large object", legacy: `CREATE TABLE t (id int PRIMARY KEY, v oid)`, extracted: `CREATE TABLE t (id int PRIMARY KEY, v oid)`, want: "mean nothing in another database"},
	{name: "other labels", legacy: `CREATE TYPE e AS ENUM ('a', 'b'); CREATE TABLE t (id int PRIMARY KEY, v e[])`, extracted: `CREATE TYPE e AS ENUM ('a'); CREATE TABLE t (id int PRIMARY KEY, v e[])`, want: "other labels"},
	{name: "not empty", legacy: plain, extracted: plain + `INSERT INTO t VALUES (1)`, want: "is not empty"},
	{name: "border in", legacy: plain + `CREATE TABLE pay (id int PRIMARY KEY REFERENCES t)`, extracted: plain, want: "- {constraint: pay_id_fkey, at_switch: drop}"},
	{name: "border out", legacy: `CREATE TABLE o (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY REFERENCES o, v text)`, extracted: plain, want: "- {constraint: t_id_fkey, at_switch: drop}"},
	{name: "kept inwards", legacy: plain + `CREATE TABLE pay (id int PRIMARY KEY REFERENCES t)`, extracted: plain,
		border: []capability.Border{{Constraint: "pay_id_fkey", AtSwitch: capability.BorderKeep, Line: 33}}, want: "cannot be kept"},
	{name: "kept with an action", legacy: `CREATE TABLE o (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY REFERENCES o ON DELETE CASCADE, v text)`, extracted: plain,
		border: []capability.Border{{Constraint: "t_id_fkey", AtSwitch: capability.BorderKeep, Line: 33}}, want: "cannot be kept"},
	{name: "agreed to nothing", legacy: plain, extracted: plain,
		border: []capability.Border{{Constraint: "nothing_fkey", AtSwitch: capability.BorderDrop, Line: 33}}, want: "no foreign key of this name"},
	{name: "unlogged there", legacy: plain, extracted: `CREATE UNLOGGED TABLE t (id int PRIMARY KEY, v text)`, want: "ALTER TABLE public.t SET LOGGED"},
	{name: "foreign table", legacy: `CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE t (id int, v text) SERVER s`, extracted: plain, want: "no ordinary table"},
	{name: "replica trigger", legacy: plain, extracted: plain + `CREATE TRIGGER "Loud" BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); ALTER TABLE t ENABLE REPLICA TRIGGER "Loud"`,
		want: `ALTER TABLE public.t ENABLE TRIGGER "Loud"`},
	{name: "rule with its mend", legacy: plain + `CREATE RULE "R" AS ON DELETE TO t DO INSTEAD NOTHING`, extracted: plain, want: `DROP RULE "R" ON public.t`},
	{name: "children by name", legacy: plain + `CREATE TABLE child () INHERITS (t)`, extracted: plain, want: "public.child"},
	{name: "invalid index", legacy: plain + `INSERT INTO t VALUES (1, 'a'); CREATE INDEX broken ON t (v); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass`, extracted: plain, want: "REINDEX INDEX public.broken"},
	{name: "unique only there", legacy: plain, extracted: plain + `CREATE UNIQUE INDEX u ON t (v)`, want: "CREATE UNIQUE INDEX CONCURRENTLY ON public.t (v)"},
	{name: "unique constraint only there", legacy: `CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL)`, columns: map[string]string{"v": "order"},
		extracted: `CREATE TABLE t (id int PRIMARY KEY, "order" text NOT NULL, CONSTRAINT "U" UNIQUE ("order"))`, want: `ON public.t (v); -- or, in the extracted database: ALTER TABLE public.t DROP CONSTRAINT "U"; -- until retire`},
	{name: "partial unique on legacy, whole there", legacy: plain + `CREATE UNIQUE INDEX ON t (v) WHERE id > 5`, extracted: plain + `CREATE UNIQUE INDEX u ON t (v)`, want: "only on the extracted side"},
	{name: "nulls distinct on legacy", legacy: plain + `CREATE UNIQUE INDEX ON t (v)`, extracted: plain + `CREATE UNIQUE INDEX u ON t (v) NULLS NOT DISTINCT`, want: "only on the extracted side"},
	{name: "unique expression only there", legacy: plain + `CREATE UNIQUE INDEX ON t (v)`, extracted: plain + `CREATE UNIQUE INDEX u ON t (lower(v))`, want: "u exists only on the extracted side"},
	{name: "unique over a default", legacy: plain, extracted: `CREATE TABLE t (id int PRIMARY KEY, v text, w int DEFAULT 1 UNIQUE)`, want: "t_w_key exists only"},
	{name: "exclusion only there", legacy: plain, extracted: plain + `ALTER TABLE t ADD CONSTRAINT x EXCLUDE USING btree (v WITH =)`, want: "DROP CONSTRAINT x"},
	{name: "deferrable only on legacy", legacy: plain + `ALTER TABLE t ADD UNIQUE (v) DEFERRABLE`, extracted: plain + `ALTER TABLE t ADD UNIQUE (v)`,
		want: "ALTER TABLE public.t DROP CONSTRAINT t_v_key, ADD CONSTRAINT t_v_key UNIQUE (v) DEFERRABLE"},
	{name: "generated only on legacy", legacy: `CREATE TABLE t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id * 2) STORED)`, extracted: `CREATE TABLE t (id int PRIMARY KEY, v int)`,
		want: "ALTER TABLE public.t DROP v, ADD v integer GENERATED ALWAYS AS ((id * 2)) STORED"},
	{name: "generated only there", legacy: `CREATE TABLE t (id int PRIMARY KEY, v int)`, extracted: `CREATE TABLE t (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id * 2) STORED)`, want: "ALTER v DROP EXPRESSION"},
	{name: "another domain", legacy: `CREATE DOMAIN d AS int; CREATE TABLE t (id int PRIMARY KEY, v d)`, extracted: `CREATE DOMAIN d AS int CHECK (VALUE > 0); CREATE TABLE t (id int PRIMARY KEY, v d)`, want: "type public.d differs"},
	{name: "another composite, nested", legacy: `CREATE TYPE e AS ENUM ('a', 'b'); CREATE TYPE c AS (x e[]); CREATE TABLE t (id int PRIMARY KEY, v c)`,
		extracted: `CREATE TYPE e AS ENUM ('b', 'a'); CREATE TYPE c AS (x e[]); CREATE TABLE t (id int PRIMARY KEY, v c)`, want: "type public.e has other labels"},
	{name: "made by hand", legacy: plain + `CREATE OPERATOR CLASS odd FOR TYPE text USING btree AS OPERATOR 1 <, OPERATOR 3 =, FUNCTION 1 bttextcmp(text, text); CREATE INDEX ON t (v odd)`, extracted: ``, want: "make it there by hand"},
	{name: "renamed nothing", legacy: plain, extracted: plain, columns: map[string]string{"w": "x"}, want: `no column "w"`},
}

// TestPlanRefuses: each is told with the mend, and nothing is begun.
func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, capability.CaptureWAL, test.legacy, &capability.Data{State: capability.DataRunning, TableLine: 7, Border: test.border,
				Tables: []capability.Table{{Table: "t", Columns: test.columns, Line: 8}}})
			m.exec(capability.Extracted, test.extracted)
			_, problems, err := m.Plan(t.Context())
			m.must(err)
			if !slices.ContainsFunc(problems, func(p capability.Problem) bool {
				return strings.Contains(p.Message+"; "+p.Mend, test.want) && p.File == "routes/orders.yaml" && p.Line >= 7
			}) {
				t.Errorf("nothing says %q: %v", test.want, problems)
			}
			if err := m.Run(t.Context()); err == nil {
				t.Error("the move began")
			}
			if s := m.Status(); s.Phase != capability.PhaseFailed || s.Error == "" {
				t.Errorf("status: %+v", s)
			}
			if ask[bool](m, capability.Legacy, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'strangler')`) {
				t.Error("something was installed")
			}
		})
	}
}

// TestPlanSeesSubscriptionsAndForcedPolicies: what takes a table fed from
// elsewhere, and rows that the mover's role would not see.
func TestPlanSeesSubscriptionsAndForcedPolicies(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, plain, tables("t"))
	role := pgx.Identifier{"Seeing " + m.name}.Sanitize()
	m.exec(capability.Extracted, plain+`CREATE SUBSCRIPTION feed CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE);
		INSERT INTO pg_subscription_rel SELECT oid, 't'::regclass, 'r', NULL FROM pg_subscription WHERE subname = 'feed'`)
	t.Cleanup(func() { m.exec(capability.Extracted, `DROP SUBSCRIPTION feed`) })
	m.exec(capability.Legacy, `CREATE ROLE `+role+` LOGIN PASSWORD 'seeing'; ALTER TABLE t OWNER TO `+role+`; ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`)
	t.Cleanup(func() { m.exec(capability.Legacy, `DROP OWNED BY `+role+`; DROP ROLE `+role) })
	u, err := url.Parse(m.urls[capability.Legacy])
	m.must(err)
	u.User = url.UserPassword("Seeing "+m.name, "seeing")
	d, err := Open(t.Context(), capability.Legacy, u.String())
	m.must(err)
	defer d.Close()
	_, problems, err := m.through(capability.Legacy, d).Plan(t.Context())
	m.must(err)
	text := fmt.Sprint(problems)
	for _, want := range []string{"t in the extracted database is fed by a subscription", "row level security may hide rows of t in the legacy database", "ALTER ROLE " + role + " BYPASSRLS"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing of %q in %s", want, text)
		}
	}
	m.exec(capability.Legacy, `ALTER ROLE `+role+` BYPASSRLS`)
	if _, problems, err = m.through(capability.Legacy, d).Plan(t.Context()); err != nil || strings.Contains(fmt.Sprint(problems), "row level") {
		t.Errorf("after the mend: %v, %v", problems, err)
	}
}
