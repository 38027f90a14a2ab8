package postgres

import (
	"slices"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/migrate"
)

const (
	joinedFrom = `CREATE TABLE x (id serial PRIMARY KEY, code int NOT NULL UNIQUE, a text NOT NULL); CREATE TABLE y (of int PRIMARY KEY, b text NOT NULL, c text UNIQUE, CHECK (b <> ''));`
	joinedTo   = `CREATE TABLE t (id int PRIMARY KEY, code int NOT NULL UNIQUE, a text NOT NULL, b text NOT NULL, c text UNIQUE, CHECK (b <> ''));`
)

// TestPlanOfTablesThatBecomeOne: each column comes from one of them, and every row is
// in both.
func TestPlanOfTablesThatBecomeOne(t *testing.T) {
	t.Parallel()
	of := map[string]string{"of": "id"}
	for name, test := range map[string]struct {
		x, y            capability.Table
		legacy, extract string
		want            []string // of each problem; none: it moves
	}{
		"as it is": {y: capability.Table{Columns: of}},
		"a column in both": {legacy: `ALTER TABLE y ADD a text;`, y: capability.Table{Columns: of},
			want: []string{"data.tables.y = \"a\": column \"a\" of t comes from both x and y: nobody could say which of the two values it has; leave it out of one of them by `omit: [a]`"}},
		"a column in both, of which one is left out":  {legacy: `ALTER TABLE y ADD a text;`, y: capability.Table{Columns: of, Omit: []string{"a"}}},
		"a column in both, under another name":        {legacy: `ALTER TABLE y ADD z text;`, y: capability.Table{Columns: map[string]string{"of": "id", "z": "a"}}, want: []string{`column "a" of t comes from both x and y`}},
		"a column in both, once by an expression":     {y: capability.Table{Columns: of, Computed: []capability.Computed{{Column: "a", Forward: "b"}}}, want: []string{`column "a" of t comes from both x and y`}},
		"a column in neither":                         {extract: `ALTER TABLE t ADD d text NOT NULL;`, y: capability.Table{Columns: of}, want: []string{`column "d" of t exists only on the extracted side`, `column "d" of t exists only on the extracted side`}},
		"a column without a place":                    {legacy: `ALTER TABLE y ADD d text;`, y: capability.Table{Columns: of}, want: []string{`data.tables.y = "d": the extracted table t has no column "d" for it`}},
		"no key":                                      {y: capability.Table{Columns: of}, legacy: `ALTER TABLE y DROP CONSTRAINT y_pkey;`, want: []string{"the table has no primary key"}},
		"a key by another name":                       {y: capability.Table{Omit: []string{"of"}}, want: []string{`column "of" is of the primary key of y`, `is not that of the legacy table (of)`}},
		"other keys":                                  {y: capability.Table{Columns: map[string]string{"of": "code"}}, want: []string{"rows of t are known by another key in y than in x (id)"}},
		"a constraint over columns of both":           {y: capability.Table{Columns: of}, extract: `CREATE UNIQUE INDEX mixed ON t (a, b);`, want: []string{"mixed exists only on the extracted side", "mixed exists only on the extracted side"}},
		"a constraint over columns of both, held":     {y: capability.Table{Columns: of}, extract: `CREATE UNIQUE INDEX mixed ON t (a, c);`},
		"a constraint that one of them does not have": {y: capability.Table{Columns: of}, extract: `CREATE UNIQUE INDEX narrow ON t (b);`, want: []string{"data.tables.y: narrow exists only on the extracted side"}},
		"partitions":                                  {y: capability.Table{Columns: of}, legacy: `DROP TABLE y; CREATE TABLE y (of int PRIMARY KEY, b text NOT NULL, c text) PARTITION BY RANGE (of); CREATE TABLE y1 PARTITION OF y DEFAULT;`, extract: `ALTER TABLE t DROP CONSTRAINT t_c_key;`, want: []string{"y is partitioned, and becomes one with x"}},
		"rows without the other half": {y: capability.Table{Columns: of}, legacy: `INSERT INTO x (id, code, a) SELECT n, n, n FROM generate_series(1, 5) n; INSERT INTO y SELECT n, n FROM generate_series(3, 6) n;`,
			want: []string{"data.tables.y: 2 rows of x have no row in y under their key (id), and 1 of y none in x: the two are halves of one table of the other side; give each its other half, or delete it; they are: SELECT * FROM public.x a FULL JOIN public.y b ON a.id = b.of WHERE a.id IS NULL OR b.of IS NULL"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.x.Table, test.x.As, test.x.Line, test.y.Table, test.y.As, test.y.Line = "x", "t", 8, "y", "t", 9
			m := joined(t, capability.CaptureTrigger, joinedFrom+test.legacy, joinedTo+test.extract, &capability.Data{TableLine: 7, Tables: []capability.Table{test.x, test.y}})
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
				if len(problems) > 0 {
					continue
				}
				for _, n := range table.Notes {
					if !strings.Contains(n.Message, "the monolith writes a row of") && !strings.Contains(n.Message, "stays behind") {
						t.Errorf("%s is noted as %s", table.Table, n)
					}
				}
				if !slices.ContainsFunc(table.Notes, func(r migrate.Remark) bool { return strings.Contains(r.Message, "the monolith writes a row of") }) {
					t.Errorf("%s is noted as %v", table.Table, table.Notes)
				}
			}
		})
	}
}

// TestTheJoinedTableIsMade of both: each index and constraint with what it is over,
// and one key with the numbers of the first.
func TestTheJoinedTableIsMade(t *testing.T) {
	t.Parallel()
	data := &capability.Data{TableLine: 7, Tables: []capability.Table{
		{Table: "x", As: "t", Columns: map[string]string{"a": "of"}}, {Table: "u"}, // a name that the other one has for its key
		{Table: "y", As: "t", Columns: map[string]string{"of": "id", "b": "a", "d": "b"}, Omit: []string{"a"}}}}
	m := newMigration(t, capability.CaptureTrigger, joinedFrom+`CREATE INDEX by_a ON x (a); ALTER TABLE y ADD d int CHECK (d > of), ADD code text, ADD n int GENERATED ALWAYS AS IDENTITY, ADD s serial, ADD g int GENERATED ALWAYS AS (of + 1) STORED, ADD a text;
		CREATE INDEX by_b ON y (b, of) WHERE of > 1; CREATE INDEX by_code ON y (code); ALTER TABLE y ADD FOREIGN KEY (of) REFERENCES x; CREATE TABLE u (id int PRIMARY KEY, y int REFERENCES y, c text REFERENCES y (c));`, data)
	if _, err := m.Create(t.Context()); err == nil || !strings.Contains(err.Error(), `column "code" of t comes from both x and y`) {
		t.Fatalf("made with a column of both: %v", err)
	}
	data.Tables[2].Omit = append(data.Tables[2].Omit, "code")
	m.Mover = m.mover(data, 1)
	m.created()
	const structure = `SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") FROM (
		SELECT format('%s.%s %s %s', attrelid::regclass, attname, attidentity, coalesce(pg_get_expr(adbin, adrelid), '')) AS line FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
			WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped
		UNION ALL SELECT 'index ' || CASE WHEN indisunique THEN 'unique ' ELSE '' END || pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 't'::regclass
		UNION ALL SELECT 'check ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0
		UNION ALL SELECT 'key ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f') s`
	want := `check CHECK ((a <> ''::text))
check CHECK ((b > id))
index CREATE INDEX by_a ON public.t USING btree (of)
index CREATE INDEX t_b_of_idx ON public.t USING btree (a, id) WHERE (id > 1)
index unique CREATE UNIQUE INDEX t_c_key ON public.t USING btree (c)
index unique CREATE UNIQUE INDEX x_code_key ON public.t USING btree (code)
index unique CREATE UNIQUE INDEX x_pkey ON public.t USING btree (id)
key u FOREIGN KEY (c) REFERENCES t(c)
key u FOREIGN KEY (y) REFERENCES t(id)
t.a  
t.b  
t.c  
t.code  
t.g  (id + 1)
t.id  nextval('x_id_seq'::regclass)
t.n a 
t.of  
t.s  nextval('y_s_seq'::regclass)`
	if made := ask[string](m, capability.Extracted, structure); made != want {
		t.Errorf("made:\n%s\nwant:\n%s", made, want)
	}
	if _, problems, err := m.Plan(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("what was made does not do: %v, %v", problems, err)
	}
}
