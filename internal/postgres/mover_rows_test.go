package postgres

import (
	"testing"

	"strangler/capability"
)

// torture holds values whose text is easy to get wrong, keys of every order, and
// names that need quotes.
const torture = `
	CREATE SCHEMA "Odd Schema";
	CREATE TYPE "Odd Schema".mood AS ENUM ('sad', 'ok', 'happy, very');
	CREATE TYPE pair AS (a int, b text);
	CREATE DOMAIN positive AS numeric(30,10) DEFAULT 1 CHECK (VALUE > 0);
	CREATE DOMAIN very_positive AS positive CONSTRAINT "more than ten" CHECK (VALUE > 10);
	CREATE TABLE "Odd Schema"."All ""Types""" (
		"Id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), "select" float8, r real, n numeric, ts timestamptz, d date, i interval, tz timetz,
		j jsonb, raw json, b bytea, arr text[], nested int[][], mood "Odd Schema".mood, moods "Odd Schema".mood[], p pair, pos positive, very very_positive,
		c char(10), bits bit varying(20), x xml, ip inet, span int4range, tsv tsvector, money money, point point, flag boolean,
		doubled numeric GENERATED ALWAYS AS (n * 2) STORED, t text COLLATE "C");
	INSERT INTO "Odd Schema"."All ""Types""" ("select", r, n, ts, d, i, tz, j, raw, b, arr, nested, mood, moods, p, pos, very, c, bits, x, ip, span, tsv, money, point, flag, t) VALUES
		('NaN', 'Infinity', 'NaN', 'infinity', '-infinity', '-1 year 2 days 03:04:05.000006', '12:00:00+05:30', 'null', '{"a": 1,  "a":2}', '\x00ff5c0a09', ARRAY['NULL', NULL, '', 'a,b', '"q"', '\'], '{{1,2},{3,NULL}}', 'happy, very', '{sad,"happy, very"}', ROW(1, 'x,"y"'), 0.0000000001, 11, 'pad', B'101', '<a>&amp;</a>', '::1/64', '[1,5)', 'a:1 b:2', 12.5, '(1.5,-2)', true, E'tab\tnewline\nback\\slash\r\x01'),
		('-0', 1.17549435e-38, 1.00, '0044-03-15 12:00:00.000001+00 BC', '4713-01-01 BC', '0', '00:00:00-15:59', '{"b": 1.0, "a": [null]}', 'null', '', '{}', NULL, 'sad', NULL, ROW(NULL, ''), 1, 99999999999999999999.9999999999, '', B'', NULL, '10.0.0.1', 'empty', '', -1, '(NaN,Infinity)', false, ''),
		(0.1::float8 + 0.2::float8, 3.4028235e38, 1e100, '294276-12-31 23:59:59.999999+00', '5874897-12-31', '178000000 years', '24:00:00', '"\u0001"', ' [1] ', decode(repeat('00ff', 5000), 'hex'), ARRAY[repeat('ä', 3000)], '{}', NULL, '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '\N'),
		(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
	CREATE TABLE keys (at timestamptz, name text, size numeric, small smallint, mood "Odd Schema".mood, big bigint GENERATED ALWAYS AS IDENTITY, v text, PRIMARY KEY (small, name, at, mood, size, big));
	INSERT INTO keys (at, name, size, small, mood, v)
		SELECT '2000-01-01'::timestamptz + n * interval '1 year', (ARRAY['a', 'B', 'b', 'ä', E'x\ty', '', 'Z', '\', ' '])[1 + abs(n) % 9], n / 3.0, n % 7 - 3, (enum_range(NULL::"Odd Schema".mood))[1 + abs(n) % 3], 'v' || n
		FROM generate_series(-300, 300) n;
	CREATE TABLE codes (code char(5) PRIMARY KEY, v float8); INSERT INTO codes SELECT 'k' || n, random() FROM generate_series(1, 500) n;`

func tortureData() *capability.Data {
	return &capability.Data{State: capability.DataRunning, Tables: []capability.Table{
		{Table: `Odd Schema.All "Types"`, As: `New Place.Some "Types"`, Columns: map[string]string{"select": "From", "n": "N N", "doubled": "twice"}},
		{Table: "keys", Columns: map[string]string{"small": "Small", "name": "order"}},
		{Table: "codes"},
	}}
}

// TestEveryValueArrivesAsItIs by backfill and by stream, under other names, and
// both comparisons see it so.
func TestEveryValueArrivesAsItIs(t *testing.T) { inEachCapture(t, testEveryValueArrivesAsItIs) }

func testEveryValueArrivesAsItIs(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, torture, tortureData()).created()
	m.follows(m.Mover)
	if v := m.verify(capability.Legacy, 0); v.Rows != 4+601+500 {
		t.Errorf("compared %d rows", v.Rows)
	}
	if again := ask[string](m, capability.Extracted, `SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE attname = 'twice'`); again != `("N N" * (2)::numeric)` {
		t.Errorf("the generated column computes %s", again)
	}
	// The same rows again, through the stream this time, and compared by key.
	m.exec(capability.Legacy, `
		CREATE TEMP TABLE t AS SELECT * FROM "Odd Schema"."All ""Types"""; ALTER TABLE t DROP doubled; UPDATE t SET "Id" = gen_random_uuid();
		INSERT INTO "Odd Schema"."All ""Types""" ("Id", "select", r, n, ts, d, i, tz, j, raw, b, arr, nested, mood, moods, p, pos, very, c, bits, x, ip, span, tsv, money, point, flag, t) SELECT * FROM t;
		UPDATE keys SET v = 'changed' WHERE small > 0; DELETE FROM keys WHERE small = -1; UPDATE codes SET v = 1.0::float8 / 3 WHERE code LIKE 'k1%'`)
	m.settled(capability.Legacy)
	m.eventually("all changed rows are compared", func() (bool, string) {
		return m.UnverifiedKeys(capability.Legacy) == 0, m.Status().Error
	})
	if v := m.verify(capability.Legacy, 0); v.Rows == 0 {
		t.Errorf("%+v", v)
	}
}

// TestDefinitionsReproduceThemselves: the tables that were made from the
// definitions of others have the same definitions.
func TestDefinitionsReproduceThemselves(t *testing.T) {
	t.Parallel()
	data := tortureData()
	for i := range data.Tables {
		data.Tables[i].As, data.Tables[i].Columns = "", nil
	}
	m := newMigration(t, capability.CaptureWAL, torture+`
		CREATE TABLE "Parent" (id int PRIMARY KEY, a int, b int, UNIQUE (a, b), UNIQUE (b, a) DEFERRABLE INITIALLY DEFERRED, CHECK (a < b), EXCLUDE USING btree (b WITH =));
		CREATE TABLE child (id int GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 5 MAXVALUE 1000 CYCLE CACHE 3) PRIMARY KEY, a int, b int, n serial, lower_t text DEFAULT lower('X'),
			FOREIGN KEY (a, b) REFERENCES "Parent" (a, b) MATCH FULL ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE,
			CONSTRAINT "to itself" FOREIGN KEY (id) REFERENCES child);
		CREATE UNIQUE INDEX "Partly USING it" ON child (lower(lower_t), a DESC NULLS LAST) INCLUDE (b) WHERE a > 1;
		CREATE INDEX ON child USING gin (to_tsvector('simple', lower_t));`, data)
	data.Tables = append(data.Tables, capability.Table{Table: "Parent"}, capability.Table{Table: "child"})
	first, err := m.DDL(t.Context())
	m.must(err)
	m.created()
	if left, err := m.DDL(t.Context()); err != nil || len(left.Statements) > 0 {
		t.Errorf("left to make: %v, %v", left, err)
	}
	// The same question to the copy: as if it were the legacy database.
	copied := newMigration(t, capability.CaptureWAL, "", data)
	copied.databases[capability.Legacy] = m.databases[capability.Extracted]
	second, err := copied.mover(data, 1).DDL(t.Context())
	m.must(err)
	if len(first.Statements) != len(second.Statements) {
		t.Fatalf("%d statements, then %d", len(first.Statements), len(second.Statements))
	}
	for i := range first.Statements {
		if first.Statements[i] != second.Statements[i] {
			t.Errorf("%s\nbecame\n%s", first.Statements[i], second.Statements[i])
		}
	}
}
