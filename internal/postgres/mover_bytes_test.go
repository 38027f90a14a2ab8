package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/quote"
)

// rowsShownApart is how many rows that differ are told of a table.
const rowsShownApart = 8

// bytewise compares tables without anything of the product: by what the types' own
// send functions make of each value, and by text where that would hold numbers
// that a database gives its types. It returns how many rows the legacy side has.
// Columns are
// those of both sides, in one order; nil is all, by name.
func (m *migration) bytewise(legacy, extracted string, columns, renamed []string) int {
	m.t.Helper()
	here, there := m.bytesOf(capability.Legacy, legacy, columns), m.bytesOf(capability.Extracted, extracted, renamed)
	only := func(a, b [][]string) (rest [][]string) {
		count := map[string]int{}
		for _, row := range b {
			count[strings.Join(row, "|")]++
		}
		for _, row := range a {
			if count[strings.Join(row, "|")]--; count[strings.Join(row, "|")] < 0 {
				rest = append(rest, row)
			}
		}
		slices.SortFunc(rest, slices.Compare)
		return rest
	}
	a, b := only(here, there), only(there, here)
	if len(a)+len(b) == 0 {
		return len(here)
	}
	m.t.Errorf("%s has %d rows that %s has not, and lacks %d of its %d rows", legacy, len(a), extracted, len(b), len(there))
	for i := range min(rowsShownApart, max(len(a), len(b))) {
		for c := range len(slices.Concat(a, b)[0]) {
			name, x, y := fmt.Sprint("column ", c), "no row", "no row"
			if columns != nil {
				name = columns[c]
			}
			if i < len(a) {
				x = a[i][c]
			}
			if i < len(b) {
				y = b[i][c]
			}
			if x != y || c == 0 {
				m.t.Logf("  %s row %d %s: %s and %s", legacy, i, name, x, y)
			}
		}
	}
	return len(here)
}

// bytesOf reads a table's rows, each value as the hexadecimal form of its bytes, or
// of their hash where they are many.
func (m *migration) bytesOf(side capability.Side, table string, columns []string) [][]string {
	m.t.Helper()
	ctx := context.Background()
	conn := m.reading[side]
	if conn == nil {
		var err error
		conn, err = pgx.Connect(ctx, m.urls[side])
		m.must(err)
		m.t.Cleanup(func() { conn.Close(ctx) })
		m.reading[side] = conn
	}
	_, err := conn.Exec(ctx, `SET extra_float_digits = 3; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET lc_monetary = 'C'; SET bytea_output = 'hex'`, pgx.QueryExecModeSimpleProtocol)
	m.must(err)
	rows, err := conn.Query(ctx, `
		WITH RECURSIVE plain(attname, typ) AS (
			SELECT attname::text, atttypid FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
			UNION ALL SELECT attname, typbasetype FROM plain JOIN pg_type t ON t.oid = typ WHERE typtype = 'd')
		SELECT attname, CASE WHEN t.typtype = 'c' OR e.typnamespace <> 'pg_catalog'::regnamespace OR t.typsend = 0 THEN ''
		       ELSE (SELECT format('%I.%I(%%s%s)', n.nspname, p.proname, '::' || CASE WHEN a.typtype = 'p' THEN typ ELSE a.oid END::regtype)
		             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_type a ON a.oid = p.proargtypes[0] WHERE p.oid = t.typsend) END
		FROM plain JOIN pg_type t ON t.oid = typ LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typlen = -1 WHERE t.typtype <> 'd'`, table)
	m.must(err)
	sends := map[string]string{}
	var name, send string
	_, err = pgx.ForEachRow(rows, []any{&name, &send}, func() error { sends[name] = send; return nil })
	m.must(err)
	if columns == nil {
		columns = slices.Sorted(maps.Keys(sends))
	}
	values := make([]string, len(columns))
	for i, c := range columns {
		send, ok := sends[c]
		if !ok {
			m.t.Fatalf("%s has no column %s: %v", table, c, sends)
		}
		value := `convert_to(format('%s', ` + quote.Ident(c) + `), 'UTF8')`
		if send != "" {
			value = fmt.Sprintf(send, quote.Ident(c))
		}
		values[i] = fmt.Sprintf(`CASE WHEN %[1]s IS DISTINCT FROM NULL THEN (SELECT CASE WHEN length(v) < 64 THEN encode(v, 'hex') ELSE length(v) || ' ' || md5(v) END FROM (SELECT %[2]s AS v) s) ELSE 'null' END`, quote.Ident(c), value)
	}
	rows, err = conn.Query(ctx, `SELECT ARRAY[`+strings.Join(values, ", ")+`]::text[] FROM `+table)
	m.must(err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	m.must(err)
	return all
}

// bytewiseAsNamed is bytewise for a table that has one name, and all its columns, on both
// sides.
func (m *migration) bytewiseAsNamed(table string) int {
	m.t.Helper()
	var columns []string
	return m.bytewise(table, table, columns, columns)
}
