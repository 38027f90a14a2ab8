package postgres

import (
	"slices"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/migrate"
)

const (
	dividedFrom = `CREATE TABLE t (id serial PRIMARY KEY, code int NOT NULL UNIQUE, a text NOT NULL, b text NOT NULL, c text);`
	dividedTo   = `CREATE TABLE x (id int PRIMARY KEY, a text NOT NULL); CREATE TABLE y (id int PRIMARY KEY, code int NOT NULL, b text NOT NULL, c text);`
)

// TestPlanOfADividedTable: each column comes back from one of the parts.
func TestPlanOfADividedTable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		x, y            capability.Table
		legacy, extract string
		want            []string // of each problem; none: it moves
	}{
		"as it is": {},
		"a column in both": {extract: `ALTER TABLE x ADD c text;`,
			want: []string{"data.tables.t (as y) = \"c\": column \"c\" of t goes to both parts, x and y: nobody could say which of the two values comes back; leave it out of one of them by `omit: [c]`"}},
		"a column in both, of which one is left out":    {extract: `ALTER TABLE x ADD c text;`, y: capability.Table{Omit: []string{"c"}}},
		"a column in both, under another name":          {x: capability.Table{Columns: map[string]string{"c": "d"}}, extract: `ALTER TABLE x ADD d text;`, want: []string{`column "c" of t goes to both parts`}},
		"a column in neither":                           {legacy: `ALTER TABLE t ADD d text;`, want: []string{`data.tables.t (as x) = "d": the extracted table x has no column "d" for it`}},
		"a column left out of both":                     {x: capability.Table{Omit: []string{"c"}}, y: capability.Table{Omit: []string{"c"}}},
		"a column that is needed, and left out of both": {y: capability.Table{Omit: []string{"b"}}, x: capability.Table{Omit: []string{"b"}}, extract: `ALTER TABLE y DROP b;`, want: []string{`column "b" of t does not move, is NOT NULL and has no default`, `column "b" of t does not move, is NOT NULL and has no default`}},
		"it comes back in both":                         {x: capability.Table{Computed: []capability.Computed{{Column: "e", Forward: "b", Reverse: []capability.Reverse{{Column: "b", SQL: "e"}}}}}, extract: `ALTER TABLE x ADD e text;`, want: []string{`column "b" of t goes to both parts`}},
		"other keys":                                    {extract: `ALTER TABLE y DROP CONSTRAINT y_pkey, DROP id, ADD id int NOT NULL, ADD UNIQUE (code);`, want: []string{"rows of t are known by another key in y than in x (id)"}},
		"no primary key":                                {legacy: `ALTER TABLE t DROP CONSTRAINT t_pkey, DROP id;`, extract: `ALTER TABLE x DROP id, ADD code int NOT NULL UNIQUE; ALTER TABLE y DROP id, ADD UNIQUE (code);`},
		"no key":                                        {extract: `ALTER TABLE y DROP CONSTRAINT y_pkey;`, want: []string{"data.tables.t (as y): the primary key of the extracted table y is not that of the legacy table"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.x.Table, test.x.As, test.x.Line, test.y.Table, test.y.As, test.y.Line = "t", "x", 8, "t", "y", 9
			m := newMigration(t, capability.CaptureTrigger, dividedFrom+test.legacy, &capability.Data{TableLine: 7, Tables: []capability.Table{test.x, test.y}})
			m.exec(capability.Extracted, dividedTo+test.extract)
			plan, problems, err := m.Plan(t.Context())
			m.must(err)
			for i, p := range problems {
				if i >= len(test.want) || !strings.Contains(p.String(), test.want[i]) {
					t.Errorf("problem %d: %s", i, p)
				}
			}
			if len(problems) != len(test.want) {
				t.Errorf("%d problems, want %d", len(problems), len(test.want))
			}
			for _, table := range plan.Tables {
				refused := slices.ContainsFunc(problems, func(p capability.Problem) bool { return strings.Contains(p.Path, "(as "+table.As+")") })
				if (table.Verdict == migrate.VerdictRefused) != refused {
					t.Errorf("%s as %s: %s, %v", table.Table, table.As, table.Verdict, table.Reasons)
				}
				if !refused && len(problems) == 0 && !slices.ContainsFunc(table.Notes, func(r migrate.Remark) bool { return strings.Contains(r.Message, "the service writes a row of") }) {
					t.Errorf("%s is noted as %v", table.As, table.Notes)
				}
			}
		})
	}
}

// TestPartsAreMade as the document divides the columns: each index and constraint
// with what it is over, and one of the keys with its numbers.
func TestPartsAreMade(t *testing.T) {
	t.Parallel()
	data := &capability.Data{TableLine: 7, Tables: []capability.Table{
		{Table: "t", As: "x", Omit: []string{"code", "b"}}, {Table: "t", As: "y", Omit: []string{"a", "c"}, Columns: map[string]string{"id": "of"}}, {Table: "u"}}}
	m := newMigration(t, capability.CaptureTrigger, dividedFrom+`CREATE INDEX by_a ON t (a); CREATE INDEX by_b ON t (b) WHERE code > 1; ALTER TABLE t ADD CHECK (b <> ''), ADD n int GENERATED ALWAYS AS IDENTITY;
		CREATE TABLE u (id int PRIMARY KEY, t int REFERENCES t, code int REFERENCES t (code));`, data)
	if _, err := m.Create(t.Context()); err == nil || !strings.Contains(err.Error(), `column "n" of t goes to both parts`) {
		t.Fatalf("made with a column in both: %v", err)
	}
	data.Tables[0].Omit = append(data.Tables[0].Omit, "n")
	m.Mover = m.mover(data, 1)
	m.created()
	const structure = `SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") FROM (
		SELECT format('%s.%s %s %s', attrelid::regclass, attname, attidentity, coalesce(pg_get_expr(adbin, adrelid), '')) AS line FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
			WHERE attrelid IN ('x'::regclass, 'y'::regclass) AND attnum > 0 AND NOT attisdropped
		UNION ALL SELECT 'index ' || indrelid::regclass || ' ' || pg_get_indexdef(indexrelid, 1, true) || coalesce(' ' || pg_get_expr(indpred, indrelid), '') FROM pg_index WHERE indrelid IN ('x'::regclass, 'y'::regclass)
		UNION ALL SELECT 'check ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0
		UNION ALL SELECT 'key ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f') s`
	want := `check y CHECK ((b <> ''::text))
index x a
index x id
index y b (code > 1)
index y code
index y of
key u FOREIGN KEY (code) REFERENCES y(code)
key u FOREIGN KEY (t) REFERENCES x(id)
x.a  
x.c  
x.id  nextval('t_id_seq'::regclass)
y.b  
y.code  
y.n a 
y.of  `
	if made := ask[string](m, capability.Extracted, structure); made != want {
		t.Errorf("made:\n%s\nwant:\n%s", made, want)
	}
	if _, problems, err := m.Plan(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("what was made does not do: %v, %v", problems, err)
	}
}
