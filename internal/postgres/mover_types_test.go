package postgres

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/internal/postgres/quote"
)

// oddly are settings that change how a session reads and writes values: what an
// application has set must not change what is moved.
const oddly = `SET datestyle = 'SQL, DMY'; SET intervalstyle = 'sql_standard'; SET timezone = 'Asia/Kathmandu'; SET extra_float_digits = -15; SET bytea_output = 'escape'; SET xmlbinary = 'hex'; `

// extensions makes those that the server has, and returns their samples.
func (m *migration) extensions() (samples []sample) {
	m.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(extended)) {
		if !ask[bool](m, capability.Legacy, `SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = $1)`, name) {
			m.t.Logf("NOT TESTED: the server has no extension %s; install postgresql-contrib", name)
			continue
		}
		m.exec(capability.Legacy, `CREATE EXTENSION `+name)
		samples = append(samples, extended[name]...)
	}
	return samples
}

// arrayed is a sample of arrays of a type: flat and of two dimensions, with NULLs,
// with bounds of their own, and empty.
func arrayed(s sample) sample {
	base, _, _ := strings.Cut(s.typ, " COLLATE")
	a := sample{name: s.name + "_array", typ: base + "[]"}
	first, last := s.values[0], s.values[len(s.values)-1]
	add := func(format string, args ...any) { a.values = append(a.values, fmt.Sprintf(format, args...)+"::"+a.typ) }
	if s.typ == "int2vector" { // ARRAY[] makes one of two dimensions of those
		add(`'{"1 2",NULL,""}'`)
		return a
	}
	add(`ARRAY[%s, NULL]`, strings.Join(s.values, ", "))
	add(`'{}'`)
	add(`ARRAY[ARRAY[%s, NULL], ARRAY[%s, %s]]`, first, last, first)
	if strings.HasPrefix(base, "own.") {
		add(`('[-2:0]=' || ARRAY[%s, NULL, %s]::%s::text)`, last, first, a.typ)
	} else { // PostgreSQL does not always read what it writes as text
		add(`array_cat(array_fill(NULL::%s, ARRAY[1], ARRAY[-2]), ARRAY[%s, NULL, %s]::%s)`, base, last, first, a.typ)
	}
	return a
}

// TestEveryTypeIsAccountedFor: each type that the running server has, and that a
// column can have, has samples, or a plan refuses it. A type that a new version
// brings fails here until somebody has decided.
func TestEveryTypeIsAccountedFor(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, "", nil)
	known := map[string]bool{}
	for _, s := range builtin {
		known[strings.Trim(s.typ, `"`)] = true
	}
	// Pseudo-types are no column's. Row types of catalogs hold OIDs.
	all := ask[[]string](m, capability.Legacy, `SELECT array_agg(CASE WHEN n.nspname <> 'pg_catalog' THEN n.nspname || '.' ELSE '' END || t.typname ORDER BY t.typname) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
		WHERE n.nspname IN ('pg_catalog', 'information_schema') AND t.typtype NOT IN ('p', 'c') AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)`)
	var refused []string
	data := &capability.Data{State: capability.DataRunning}
	for _, name := range all {
		switch {
		case known[name] && refusedTypes[name] != "":
			t.Errorf("%s is both tested and refused", name)
		case refusedTypes[name] != "":
			refused = append(refused, name)
		case !known[name]:
			t.Errorf("the server has a type %s: add samples of it, or let a plan refuse it", name)
		}
	}
	var script strings.Builder
	reasons := map[string]string{}
	refuse := func(table, typ, reason string) {
		fmt.Fprintf(&script, "CREATE TABLE %s (id int PRIMARY KEY, v %s); ", table, typ)
		data.Tables = append(data.Tables, capability.Table{Table: table})
		reasons["data.tables."+table] = reason
	}
	for _, name := range refused {
		refuse("r_"+name, "pg_catalog."+quote.Ident(name), refusedTypes[name])
		if ask[bool](m, capability.Legacy, `SELECT typarray <> 0 FROM pg_type WHERE typname = $1 AND typnamespace = 'pg_catalog'::regnamespace`, name) {
			refuse("a_"+name, "pg_catalog."+quote.Ident(name)+"[]", refusedTypes[name])
		}
	}
	// Within others they are no better.
	script.WriteString(`CREATE DOMAIN number AS oid; CREATE TYPE row_of AS (a int, b number[]); CREATE TYPE range_of AS RANGE (subtype = oid); `)
	refuse("within_domain", "number", "mean nothing")
	refuse("within_row", "row_of", "mean nothing")
	refuse("within_rows", "row_of[]", "mean nothing")
	refuse("within_range", "range_of", "mean nothing")
	refuse("within_multirange", "multirange_of", "mean nothing")
	refuse("within_catalog", "pg_catalog.pg_class", "mean nothing")
	script.WriteString(`CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN moody AS mood; CREATE TABLE key_of_mood (v moody PRIMARY KEY)`)
	data.Tables = append(data.Tables, capability.Table{Table: "key_of_mood"})
	reasons["data.tables.key_of_mood"] = "cannot compare"
	m = newMigration(t, capability.CaptureWAL, script.String(), data).created()
	_, problems, err := m.Plan(t.Context())
	m.must(err)
	for path, reason := range reasons {
		if !slices.ContainsFunc(problems, func(p capability.Problem) bool {
			return p.Path == path && strings.Contains(p.Message, reason) && p.Mend != ""
		}) {
			t.Errorf("%s is not refused because its values %s", path, reason)
		}
	}
}

// typesTable is a table with a column for each sample, rows that show every value
// of each, and what has to happen to them.
type typesTable struct {
	name    string
	samples []sample
	rows    int
}

func newTypesTable(name string, samples []sample) typesTable {
	t := typesTable{name: name, samples: samples}
	for _, s := range samples {
		t.rows = max(t.rows, len(s.values))
	}
	return t
}

func (t typesTable) definition() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (id int PRIMARY KEY", t.name)
	for _, s := range t.samples {
		fmt.Fprintf(&b, ", %s %s", quote.Ident(s.name), s.typ)
	}
	return b.String() + "); "
}

// value is what a column has in a row; every one comes up.
func (s sample) value(row int) string { return s.values[row%len(s.values)] }

// inserts are statements for rows from a number on, one with every value of each
// column, and one of nothing but NULLs.
func (t typesTable) inserts(first int) (statements []string) {
	for row := range t.rows {
		names, values := make([]string, len(t.samples)), make([]string, len(t.samples))
		for i, s := range t.samples {
			names[i], values[i] = quote.Ident(s.name), s.value(row)
		}
		statements = append(statements, fmt.Sprintf("INSERT INTO %s (id, %s) VALUES (%d, %s)", t.name, strings.Join(names, ", "), first+row, strings.Join(values, ", ")))
	}
	return append(statements, fmt.Sprintf("INSERT INTO %s (id) VALUES (%d)", t.name, first+t.rows))
}

// updates change each column alone, in one row and then in all.
func (t typesTable) updates(first int) (statements []string) {
	for i, s := range t.samples {
		column := quote.Ident(s.name)
		statements = append(statements,
			fmt.Sprintf("UPDATE %s SET %s = %s WHERE id = %d", t.name, column, s.value(i+1), first+i%t.rows),
			fmt.Sprintf("UPDATE %s SET %s = %s WHERE id BETWEEN %d AND %d", t.name, column, s.value(i+2), first+1, first+t.rows/2),
			fmt.Sprintf("UPDATE %s SET %s = NULL WHERE id = %d", t.name, column, first+t.rows/2+i%max(1, t.rows/2)),
			fmt.Sprintf("UPDATE %s SET %s = %s WHERE id = %d", t.name, column, s.value(i), first+t.rows))
	}
	return statements
}

// large are values far too large for a row, up to a megabyte, in every way of storing them: a type with what
// makes a column of it so, and a value that differs by a number.
var large = map[string][3]string{
	"plain":    {"text", "SET STORAGE PLAIN", `left(much(%d, 99), 3000)`}, // no more fits
	"external": {"text", "SET STORAGE EXTERNAL", `much(%d, 30000)`},
	"extended": {"text", "SET STORAGE EXTENDED", `much(%d, 3000)`},
	"main":     {"text", "SET STORAGE MAIN", `much(%d, 3000)`},
	"pglz":     {"text", "SET COMPRESSION pglz", `repeat(much(%d, 9), 3000)`},
	"lz4":      {"text", "SET COMPRESSION lz4", `repeat(much(%d, 9), 3000)`},
	"raw":      {"bytea", "SET STORAGE EXTERNAL", `sha512(convert_to(much(%[1]d, 9), 'UTF8')) || convert_to(much(%[1]d, 3000), 'UTF8')`},
	"doc":      {"jsonb", "SET STORAGE EXTENDED", `jsonb_build_object('a', much(%d, 3000))`},
	"list":     {"text[]", "SET STORAGE EXTERNAL", `ARRAY[much(%[1]d, 2000), NULL, much(%[1]d + 1, 1000)]`},
}

// much is a text that does not compress.
const much = `CREATE FUNCTION much(seed int, n int) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5((seed * 100000 + i)::text), E'\t\\' ) FROM generate_series(1, n) i $$;`

func largeInsert(name string, id int) string {
	return fmt.Sprintf("INSERT INTO large_%s VALUES (%d, 0, %s)", name, id, fmt.Sprintf(large[name][2], id))
}

// largeUpdates leave the large value alone, change it, and change the key.
func largeUpdates(name string, id int) []string {
	return []string{
		fmt.Sprintf("UPDATE large_%s SET n = n + 1 WHERE id = %d", name, id),
		fmt.Sprintf("UPDATE large_%s SET v = %s WHERE id = %d", name, fmt.Sprintf(large[name][2], id+50), id),
		fmt.Sprintf("UPDATE large_%s SET id = -id WHERE id = %d", name, id),
	}
}

// TestEveryTypeArrives as it is, by backfill and by either stream, whatever
// changes, and whatever the application has set.
func TestEveryTypeArrives(t *testing.T) { inEachCapture(t, testEveryTypeArrives) }

func testEveryTypeArrives(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, ownTypes+much, nil)
	m.exec(capability.Extracted, much)
	samples := m.extensions()
	groups := map[string][]sample{"builtins": builtin, "modifieds": modified, "owns": own, "extendeds": samples}
	var tables []typesTable
	data := &capability.Data{State: capability.DataRunning, Capture: kind}
	var stored []string
	for _, name := range slices.Sorted(maps.Keys(large)) {
		if err := m.try(capability.Legacy, fmt.Sprintf("BEGIN; CREATE TABLE large_%s (id int PRIMARY KEY, n int, v %s); ALTER TABLE large_%[1]s ALTER v %[3]s; COMMIT", name, large[name][0], large[name][1])); err != nil {
			t.Logf("NOT TESTED: %s: %v", large[name][1], err) // a server may be built without lz4
			continue
		}
		m.exec(capability.Legacy, largeInsert(name, 1))
		stored = append(stored, name)
		data.Tables = append(data.Tables, capability.Table{Table: "large_" + name})
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		list := make([]sample, 0, len(groups[name]))
		for _, s := range groups[name] {
			list = append(list, arrayed(s))
		}
		tables = append(tables, newTypesTable(name, groups[name]), newTypesTable(name+"_arrays", list))
		data.Tables = append(data.Tables, capability.Table{Table: name}, capability.Table{Table: name + "_arrays"})
	}
	for _, table := range tables {
		m.exec(capability.Legacy, table.definition()+strings.Join(table.inserts(0), "; "))
	}
	m.Mover = m.mover(data, 1)
	m.created()
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	same := func(from capability.Side, rows int) {
		t.Helper()
		m.settled(from)
		for _, table := range tables {
			if n := m.bytewiseAsNamed(table.name); n < table.rows {
				t.Errorf("%s has %d rows", table.name, n)
			}
		}
		for _, name := range stored {
			if n := m.bytewiseAsNamed("large_" + name); n != rows {
				t.Errorf("%d rows of %s", n, name)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
		m.eventually("all changed rows are compared", func() (bool, string) {
			return m.UnverifiedKeys(from) == 0, m.Status().Error
		})
		m.verify(from, 0)
	}
	same(capability.Legacy, 1)
	for turn, owner := range capability.Sides {
		first := 1000 * (turn + 1)
		for _, table := range tables {
			// Each by itself, and then all together.
			m.exec(owner, oddly+each("BEGIN; ", slices.Concat(table.inserts(first), table.updates(first)), "; COMMIT; ")+
				"BEGIN; "+each("", slices.Concat(table.inserts(first+500), table.updates(first+500), table.updates(first-1000)), "; ")+"COMMIT; "+
				fmt.Sprintf("DELETE FROM %s WHERE id = %d; DELETE FROM %[1]s WHERE id %% 500 > %[3]d", table.name, first, table.rows*3/4))
		}
		for _, name := range stored {
			m.exec(owner, oddly+each("BEGIN; ", slices.Concat([]string{largeInsert(name, first)}, largeUpdates(name, first)[:2]), "; COMMIT; ")+
				each("BEGIN; ", largeUpdates(name, 1-2*turn), "; COMMIT; ")+
				"BEGIN; "+largeInsert(name, first+1)+"; "+each("", largeUpdates(name, first+1), "; ")+fmt.Sprintf("DELETE FROM large_%s WHERE id = %d; COMMIT", name, -first-1))
		}
		same(owner, turn+2)
		m.switchTo(owner.Other())
	}
	same(capability.Legacy, 3)
}

// each puts words around every statement.
func each(before string, statements []string, after string) string {
	var b strings.Builder
	for _, s := range statements {
		b.WriteString(before + s + after)
	}
	return b.String()
}
