package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/migrate"
)

const (
	mapFrom = `CREATE TABLE t (id int PRIMARY KEY, a text, b text, n int NOT NULL, at timestamptz, g int GENERATED ALWAYS AS (n * 2) STORED); ALTER TABLE t REPLICA IDENTITY FULL;`
	mapTo   = `CREATE TABLE t (id int PRIMARY KEY, x text, n int NOT NULL); ALTER TABLE t REPLICA IDENTITY FULL;`
)

// forwards is a table with one column that is computed, and everything else left
// behind.
func forwards(sql string) capability.Table {
	return capability.Table{Omit: []string{"a", "b", "at"}, Computed: []capability.Computed{{Column: "x", Forward: sql, Line: 9}}, Lossy: true}
}

func backwards(sql string) capability.Table {
	t := forwards("a")
	t.Computed[0].Reverse = []capability.Reverse{{Column: "a", SQL: sql}}
	return t
}

var mappingRefusals = []struct {
	name            string
	table           capability.Table
	legacy, extract string // besides mapFrom and mapTo
	want            string
}{
	{name: "volatile", table: forwards("random()::text"), want: "generation expression is not immutable"},
	{name: "stable", table: forwards("at::text"), want: "generation expression is not immutable"},
	{name: "now", table: forwards("now()::text"), want: "not immutable"},
	{name: "a setting", table: forwards("current_setting('TimeZone')"), want: "not immutable"},
	{name: "subquery", table: forwards("(SELECT max(a) FROM public.t)"), want: "cannot use subquery"},
	{name: "another table", table: forwards("other.v"), legacy: `CREATE TABLE other (v text);`, want: "missing FROM-clause entry"},
	{name: "aggregate", table: forwards("max(a)"), want: "aggregate functions are not allowed"},
	{name: "window", table: forwards("lag(a) OVER ()"), want: "window functions are not allowed"},
	{name: "rows", table: forwards("unnest(ARRAY[a])"), want: "set-returning functions are not allowed"},
	{name: "no column", table: forwards("c"), want: `column "c" does not exist`},
	{name: "generated input", table: forwards("g::text"), want: `column "g" is generated`},
	{name: "system column", table: forwards("xmin::text"), want: "system column"},
	{name: "table's number", table: forwards("tableoid::int::text"), want: "tableoid"},
	{name: "breaks out", table: forwards("a) STORED, ADD COLUMN y int DEFAULT (1"), want: "not one expression"},
	{name: "statement", table: forwards("a; DROP TABLE public.t"), want: "not one expression"},
	{name: "comment", table: forwards("a) --"), want: "not one expression"},
	{name: "open comment", table: forwards("a /*"), want: "unterminated /* comment"},
	{name: "two values", table: forwards("a, b"), want: "columns.x: "},
	{name: "parameter", table: forwards("a || $1"), want: "columns.x: "},
	{name: "another type", table: forwards("a"), extract: `ALTER TABLE t ALTER x TYPE uuid USING NULL;`, want: "it is of type text, and uuid is wanted; write (a)::uuid"},
	{name: "cut", table: forwards("a || b"), extract: `ALTER TABLE t ALTER x TYPE varchar(5);`, want: "write (a || b)::character varying(5), if that is meant"},
	{name: "no such column there", table: capability.Table{Computed: []capability.Computed{{Column: "z", Forward: "a", Line: 9}}}, want: "the extracted table t has no such column"},
	{name: "function of one side", table: forwards("public.f(a)"), legacy: `CREATE FUNCTION f(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';`, want: "the extracted database does not take it: function public.f(text) does not exist"},
	{name: "type of one side", table: forwards("lower(e::text)"), legacy: `CREATE DOMAIN d AS text; ALTER TABLE t ADD e d DEFAULT '';`, want: `the extracted database does not take it: type "public.d" does not exist`},
	{name: "stable there", table: forwards("public.f(a)"), legacy: `CREATE FUNCTION f(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';`, extract: `CREATE FUNCTION f(text) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1 || now()';`, want: "the extracted database does not take it: generation expression is not immutable"},
	{name: "constant", table: capability.Table{Omit: []string{"a", "b", "at"}, Computed: []capability.Computed{{Column: "x", Constant: "abcdef", Line: 9}}}, extract: `ALTER TABLE t ALTER x TYPE varchar(5);`, want: "value too long for type character varying(5)"},
	{name: "constant of another type", table: capability.Table{Omit: []string{"a", "b", "at"}, Computed: []capability.Computed{{Column: "x", Constant: "abc", Line: 9}}}, extract: `ALTER TABLE t ALTER x TYPE int USING 1;`, want: "invalid input syntax for type integer"},
	{name: "no way back", table: capability.Table{Omit: []string{"at"}, Computed: []capability.Computed{{Column: "x", Forward: "a || b", Reverse: []capability.Reverse{{Column: "a", SQL: "x"}}, Line: 9}}}, want: "computed from b, and nothing computes that back"},
	{name: "way back of another type", table: backwards("x::jsonb"), legacy: `ALTER TABLE t ALTER a TYPE uuid USING NULL;`, want: "columns.x.reverse.a: it is of type jsonb, and uuid is wanted"},
	{name: "way back is volatile", table: backwards("x || random()"), want: "columns.x.reverse.a: generation expression is not immutable"},
	{name: "way back to nothing", table: capability.Table{Computed: []capability.Computed{{Column: "x", Forward: "a", Reverse: []capability.Reverse{{Column: "c", SQL: "x"}}, Line: 9}}}, want: "the legacy table t has no such column"},
	{name: "way back to the key", table: capability.Table{Computed: []capability.Computed{{Column: "x", Forward: "a", Reverse: []capability.Reverse{{Column: "id", SQL: "1"}}, Line: 9}}}, want: "it is of the primary key"},
	{name: "way back twice", table: capability.Table{Computed: []capability.Computed{{Column: "x", Forward: "a", Reverse: []capability.Reverse{{Column: "a", SQL: "x"}, {Column: "a", SQL: "x"}}, Line: 9}}}, want: "it comes back twice"},
	{name: "way back beside the name", table: capability.Table{Omit: []string{"a", "b", "at"}, Computed: []capability.Computed{{Column: "x", Forward: "a", Reverse: []capability.Reverse{{Column: "n", SQL: "1"}}, Line: 9}}}, want: `column "n" of t is filled twice`},
	{name: "key is computed", table: capability.Table{Lossy: true, Omit: []string{"a", "b", "at"}, Computed: []capability.Computed{{Column: "id", Forward: "n", Line: 9}, {Column: "x", Constant: "1", Line: 10}}}, want: "it cannot be computed"},
	{name: "key stays behind", table: capability.Table{Omit: []string{"id"}}, want: "take it out of omit:"},
	{name: "stays behind and is needed", table: func() capability.Table { t := forwards("a"); t.Omit = append(t.Omit, "n"); return t }(), extract: `ALTER TABLE t ALTER n SET DEFAULT 1;`, want: "ALTER TABLE public.t ALTER n DROP NOT NULL"},
	{name: "stays behind by a wrong name", table: func() capability.Table { t := forwards("a"); t.Omit = append(t.Omit, "q"); return t }(), want: `has no column "q" to leave behind`},
	{name: "lost without a word", table: capability.Table{Omit: []string{"a", "b"}, Computed: []capability.Computed{{Column: "x", Constant: "1", Line: 9}}}, want: "omit: [at]"},
	{name: "computed and generated", table: forwards("a"), extract: `ALTER TABLE t DROP x, ADD x text GENERATED ALWAYS AS ('x' || n) STORED;`, want: "ALTER TABLE public.t ALTER x DROP EXPRESSION"},
	{name: "where is no condition", table: func() capability.Table { t := forwards("a"); t.Where = "n"; return t }(), want: "where: it is of type integer, and boolean is wanted"},
	{name: "where of the time", table: func() capability.Table { t := forwards("a"); t.Where = "at < now()"; return t }(), want: "where: generation expression is not immutable"},
	{name: "where without old rows", table: func() capability.Table { t := forwards("a"); t.Where = "n > 1"; return t }(), legacy: `ALTER TABLE t REPLICA IDENTITY DEFAULT;`, want: "ALTER TABLE public.t REPLICA IDENTITY FULL"},
	{name: "large inputs", table: forwards("a || b"), legacy: `ALTER TABLE t REPLICA IDENTITY DEFAULT;`, want: "ALTER TABLE public.t REPLICA IDENTITY FULL"},
	{name: "large inputs on the way back", table: backwards("x || n"), extract: `ALTER TABLE t REPLICA IDENTITY DEFAULT;`, want: "the log of the extracted database does not bring old rows of t whole"},
}

// TestPlanRefusesMappings: each with its line, and the mend.
func TestPlanRefusesMappings(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, "", &capability.Data{})
	for _, test := range mappingRefusals {
		t.Run(test.name, func(t *testing.T) {
			table := test.table
			table.Table, table.Line = "t", 8
			_, problems, err := m.anew(mapFrom+test.legacy, mapTo+test.extract, table).Plan(t.Context())
			m.must(err)
			if !slices.ContainsFunc(problems, func(p capability.Problem) bool {
				return strings.Contains(p.Message+"; "+p.Mend, test.want) && p.File == "routes/orders.yaml" && p.Line >= 8 && p.Path == "data.tables.t" && p.Mend != ""
			}) {
				t.Errorf("nothing says %q: %v", test.want, problems)
			}
		})
	}
}

// TestNoTableIsMadeOfHalfAMapping: it would be there without the column for good.
func TestNoTableIsMadeOfHalfAMapping(t *testing.T) {
	t.Parallel()
	table := forwards("now()::text")
	table.Table, table.Line = "t", 8
	m := newMigration(t, capability.CaptureWAL, mapFrom, &capability.Data{State: capability.DataRunning, TableLine: 7, Tables: []capability.Table{table}})
	if _, err := m.Create(t.Context()); err == nil || !strings.Contains(err.Error(), "routes/orders.yaml:9") || !strings.Contains(err.Error(), "not immutable") {
		t.Errorf("made: %v", err)
	}
	if ask[bool](m, capability.Extracted, `SELECT to_regclass('t') IS NOT NULL`) {
		t.Error("the table is there")
	}
}

// anew makes the tables of both databases, in place of those that were there, and
// a mover of one of them.
func (m *migration) anew(legacy, extracted string, table capability.Table) *migrate.Mover {
	m.t.Helper()
	const clear = `DROP SCHEMA public CASCADE; CREATE SCHEMA public; `
	m.exec(capability.Legacy, clear+legacy)
	m.exec(capability.Extracted, clear+extracted)
	return m.mover(&capability.Data{State: capability.DataRunning, Capture: m.kind, TableLine: 7, Tables: []capability.Table{table}}, 1)
}

// TestPlanTakesMappings: what may be computed, as PostgreSQL has understood it.
func TestPlanTakesMappings(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, "", &capability.Data{})
	for _, test := range []struct{ sql, column, want string }{
		{"a || ' ' || b", "text", "((a || ' '::text) || b)"},
		{"n", "bigint", "(n)::bigint"},
		{"n / 3.0", "numeric(10,2)", "(((n)::numeric / 3.0))::numeric(10,2)"},
		{"(a || b)::varchar(5)", "varchar(5)", "((a || b))::character varying(5)"},
		{"a", "varchar", "(a)::character varying"},
		{"at AT TIME ZONE 'UTC'", "timestamp", "(at AT TIME ZONE 'UTC'::text)"},
		{"CASE WHEN n > 0 THEN a END", "text", "CASE WHEN (n > 0) THEN a ELSE NULL::text END"},
		{"'a;b)' || '''' || a -- and so on", "text", "(('a;b)'::text || ''''::text) || a)"},
		{"null", "text", "NULL::text"},
		{"md5(a)::uuid", "uuid", "(md5(a))::uuid"},
		{"CASE WHEN a ~ '^[0-9]+$' THEN a::int END", "int", "CASE WHEN (a ~ '^[0-9]+$'::text) THEN (a)::integer ELSE NULL::integer END"},
		{"at AT TIME ZONE 'UTC'", "timestamp(3)", "((at AT TIME ZONE 'UTC'::text))::timestamp(3) without time zone"},
		{"ARRAY[a, b]", "text[]", "ARRAY[a, b]"},
		{`upper("A b")`, "text", `upper("A b")`},
	} {
		t.Run(test.sql, func(t *testing.T) {
			table := capability.Table{Table: "t", Line: 8, Lossy: true, Computed: []capability.Computed{{Column: "x", Forward: test.sql, Line: 9}}}
			plan, problems, err := m.anew(mapFrom+`ALTER TABLE t ADD "A b" text`, mapFrom+`ALTER TABLE t ADD "A b" text, ADD x `+test.column, table).Plan(t.Context())
			m.must(err)
			if fmt.Sprint(problems) != "[]" || len(plan.Tables[0].Computed) != 1 {
				t.Fatal(problems)
			}
			squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
			if got := plan.Tables[0].Computed[0]; squeeze(got.SQL) != test.want || got.Side != capability.Extracted {
				t.Errorf("%s, want %s", got.SQL, test.want)
			}
		})
	}
}

// TestTablesAreMadeThroughTheMapping without what stays behind, and with what is
// computed under the type that it has.
func TestTablesAreMadeThroughTheMapping(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, `CREATE TABLE places (id int PRIMARY KEY);
		CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, b text, secret text UNIQUE, price numeric, place int REFERENCES places, g int GENERATED ALWAYS AS (length(secret)) STORED, CHECK (length(secret) > 1), CHECK (length(b) > 2));
		ALTER TABLE t REPLICA IDENTITY FULL; CREATE INDEX ON t (b); CREATE INDEX ON t (a, b); INSERT INTO t VALUES (1, 'x', 'bbb', 'sss', 1.5)`,
		&capability.Data{State: capability.DataRunning, TableLine: 7, Tables: []capability.Table{{Table: "places", Line: 20}, {Table: "t", As: "u", Line: 8, Where: "id > 0", Omit: []string{"secret", "place"}, Columns: map[string]string{"b": "a"},
			Computed: []capability.Computed{
				{Column: "loud", Forward: "upper(a) || '!'", Reverse: []capability.Reverse{{Column: "a", SQL: "lower(rtrim(loud, '!'))"}}, Line: 10},
				{Column: "price", Forward: "(price * 100)::bigint", Reverse: []capability.Reverse{{Column: "price", SQL: "price / 100.0"}}, Line: 11},
				{Column: "source", Constant: "legacy", Line: 12},
			}}}})
	ddl, err := m.DDL(t.Context())
	m.must(err)
	if !slices.ContainsFunc(ddl.Omitted, func(s string) bool { return strings.HasPrefix(s, "column secret of u, and the indexes") }) || !slices.ContainsFunc(ddl.Omitted, func(s string) bool { return strings.Contains(s, "over columns that stay behind") }) {
		t.Errorf("omitted: %q", ddl.Omitted)
	}
	m.created()
	if columns := ask[string](m, capability.Extracted, `SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attname) FROM pg_attribute WHERE attrelid = 'u'::regclass AND attnum > 0 AND NOT attisdropped`); columns != "a text, id integer, loud text, price bigint, source text" {
		t.Errorf("columns: %s", columns)
	}
	if indexes := ask[string](m, capability.Extracted, `SELECT string_agg(pg_get_indexdef(indexrelid), '; ' ORDER BY 1) FROM pg_index WHERE indrelid = 'u'::regclass`); !strings.Contains(indexes, "btree (a)") || strings.Count(indexes, ";") != 1 {
		t.Errorf("indexes: %s", indexes)
	}
	m.exec(capability.Extracted, `ALTER TABLE u REPLICA IDENTITY FULL`)
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if notes := fmt.Sprint(plan.Tables[1].Notes); !strings.Contains(notes, "column a is NOT NULL on the legacy side and computed") || !strings.Contains(notes, "column secret of the legacy table stays behind") {
		t.Errorf("notes: %s", notes)
	}
	if u := plan.Tables[1]; u.Where != "(id > 0)" || !slices.Equal(u.Omitted, []string{"a", "secret", "price", "place"}) || len(u.Computed) != 5 || u.Verdict != migrate.VerdictNoted {
		t.Errorf("plan: %+v", u)
	}
}
