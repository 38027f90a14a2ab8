package postgres

import (
	"fmt"
	"strings"
	"testing"

	"strangler/capability"
)

// computedValues are expressions over the columns of measures, with results of many
// types.
var computedValues = []string{
	`f * 3.7`, `sqrt(abs(f))`, `f / 3`, `r * 1.1::real`, `(f + r)::numeric`, `n / 7`, `n * 1.10`, `round(n, 2)`, `n::float8`, `(n * 100)::numeric(60,3)`,
	`t || '''\' || coalesce(u, 'NULL')`, `upper(t)`, `quote_literal(t)`, `split_part(t, E'\n', 2)`, `regexp_replace(t, '[^a-z]', '\\', 'g')`, `nullif(t, '')`, `length(t)`, `md5(t)::uuid`,
	`ts + interval '1 month 2 days 03:04:05.000006'`, `date_trunc('hour', ts)`, `tz AT TIME ZONE 'Europe/Berlin'`, `ts AT TIME ZONE 'America/New_York'`, `extract(epoch FROM ts)`, `ts::date`, `iv * 1.5`, `justify_hours(iv)`, `age(ts, '2000-01-01')`,
	`j -> 'a'`, `j ->> 'b'`, `j || '{"c": [1.0, null]}'`, `j @> '{"a": 1}'`, `CASE WHEN array_ndims(arr) = 1 THEN array_append(arr, t) END`, `arr[2]`, `encode(b, 'base64')`, `b || '\x00ff'`, `CASE WHEN n IS NULL THEN 'none' WHEN n = 'NaN' THEN 'nan' ELSE sign(n)::text END`,
	`isempty(span)`, `upper(span)`, `host(ip)`, `ROW(t, n) IS NULL`, `f IS NOT DISTINCT FROM 'NaN'`, `m * 2`, `bits || B'1'`, `point(f, r)`, `t COLLATE "C" < u COLLATE "C"`, `(t || u)::char(7)`, `left(t, 3)::varchar(3)`,
}

const measures = `CREATE TABLE measures (id int PRIMARY KEY, f float8, r real, n numeric, t text, u text COLLATE "C", ts timestamp, tz timestamptz, iv interval, j jsonb, arr text[], b bytea, span int4range, ip inet, m money, bits bit varying);
	ALTER TABLE measures REPLICA IDENTITY FULL;`

const measured = `INSERT INTO measures VALUES
	(%[1]d + 1, 'NaN', 'Infinity', 'NaN', E'it''s\ta \\ "line"\nand another', '', 'infinity', '-infinity', '-1 year 2 days 03:04:05.000006', 'null', '{NULL,"NULL","a,b"}', '\x00ff', '[1,5)', '::1/64', 12.5, B'101'),
	(%[1]d + 2, '-0', 1.17549435e-38, 1.00, '', NULL, '2020-02-29 12:00:00.000001', '2021-03-28 01:30:00+00', '0', '{"a": 1.0, "b": "\"\\"}', '{}', '', 'empty', '10.0.0.1', -0.01, B''),
	(%[1]d + 3, 0.1::float8 + 0.2::float8, 0.1, 1e-30, repeat('ä\', 3000), E'x\ry', '4713-01-01 BC', '0044-03-15 12:00+00 BC', '178000 years', '{"a": [1, null]}', '{{1,2},{3,4}}', decode(repeat('00ff', 3000), 'hex'), '(,3)', 'fe80::1', 0, NULL),
	(%[1]d + 4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(%[1]d + 5, 1e300, 3e38, 123456789012345678901234567890.123456789, '(NULL)', '\N', '1999-12-31 23:59:59.999999', '2000-01-01 00:00:00+14', '1 mon -1 day', '{"a": 1}', ARRAY['(1)', '\'], '\x5c', '[5,)', '192.168.0.0/16', 9, B'0');
	INSERT INTO measures SELECT %[1]d + n, random() * 10 ^ (n %% 40 - 20), random(), random()::numeric ^ (n %% 5) / 3, chr(n + 30) || md5(n::text), chr(300 + n), '2000-01-01'::timestamp + n * interval '37 hours', '1970-01-01'::timestamptz + n * interval '1 day 1.5 s', n * interval '1.1 h',
		to_jsonb(n), ARRAY[n::text, NULL], int4send(n), int4range(n, n * 2), '10.0.0.0'::inet + n, n::money, n::bit(9) FROM generate_series(6, 400) n;`

// TestBothServersComputeTheSame: what is copied, computed in the source, and what
// is streamed, computed in the target, are the same bytes, whatever settings the
// applications have.
func TestBothServersComputeTheSame(t *testing.T) {
	inEachCapture(t, testBothServersComputeTheSame)
}

func testBothServersComputeTheSame(t *testing.T, kind capability.Capture) {
	table := capability.Table{Table: "measures", Lossy: true, Line: 8}
	var list []string
	for i, sql := range computedValues {
		name := fmt.Sprintf("c%d", i)
		table.Computed = append(table.Computed, capability.Computed{Column: name, Forward: sql, Line: 9 + i})
		list = append(list, "("+sql+")")
	}
	m := newMigration(t, kind, measures+fmt.Sprintf(measured, 0), &capability.Data{State: capability.DataRunning, TableLine: 7, Tables: []capability.Table{table}})
	m.created()
	_, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	m.exec(capability.Legacy, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = ''German''', current_database()); EXECUTE format('ALTER DATABASE %I SET extra_float_digits = -5', current_database());
		EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database()); EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', current_database()); EXECUTE format('ALTER DATABASE %I SET intervalstyle = ''iso_8601''', current_database()); END $$`)
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	// The same rows again, through the stream, one by one and many at once.
	m.exec(capability.Legacy, `CREATE TEMP TABLE again AS SELECT * FROM measures; UPDATE again SET id = id + 1000; INSERT INTO measures SELECT * FROM again WHERE id < 1006; UPDATE measures SET n = n WHERE id = 1001; INSERT INTO measures SELECT * FROM again WHERE id >= 1006`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	names := make([]string, len(list))
	for i := range names {
		names[i] = fmt.Sprintf("a.c%[1]d::text IS DISTINCT FROM b.c%[1]d::text AND '%[1]d' || a.id IS NOT NULL", i)
	}
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM measures a LEFT JOIN measures b ON b.id = a.id + 1000 WHERE a.id < 1000 AND (`+strings.Join(names, " OR ")+`)`); n != 0 {
		t.Errorf("%d of 400 rows were computed differently by copy and stream", n)
	}
	const settings = `SET datestyle = 'ISO'; SET extra_float_digits = 3; SET timezone = 'UTC'; SET bytea_output = 'hex'; SET intervalstyle = 'postgres'; `
	digest := func(side capability.Side, columns string) string {
		m.exec(side, settings+`CREATE TABLE digest AS SELECT count(*) || md5(string_agg(format('%s %s', id, ROW(`+columns+`)::text), ',' ORDER BY id)) AS d FROM measures`)
		return ask[string](m, side, `SELECT d FROM digest`)
	}
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i)
	}
	if legacy, extracted := digest(capability.Legacy, strings.Join(list, ", ")), digest(capability.Extracted, strings.Join(names, ", ")); legacy != extracted {
		t.Errorf("legacy computes %s, extracted has %s", legacy, extracted)
	}
}
