package postgres

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
)

// witness keeps every change of the restless shop in a slot of its own. Where the
// test fails, its log tells where the move stands, which rows differ that should
// not, and what has happened to them.
type witness struct {
	m     *migration
	slot  string
	sides map[capability.Side]*pgx.Conn
}

// rowsShown is how many rows a witness speaks of; changesShown is of how many
// changes of each, the last ones.
const (
	rowsShown    = 20
	changesShown = 40
)

// watched begins to keep changes.
func (m *migration) watched() {
	m.t.Helper()
	w := &witness{m: m, slot: "witness_" + strings.ReplaceAll(m.name, "-", "_"), sides: map[capability.Side]*pgx.Conn{}}
	ask[string](m, capability.Legacy, `SELECT slot_name::text FROM pg_create_logical_replication_slot($1, 'test_decoding')`, w.slot)
	m.t.Cleanup(func() {
		ctx := context.Background()
		for _, side := range capability.Sides {
			conn, err := pgx.Connect(ctx, m.urls[side])
			if err != nil {
				m.t.Error(err)
				return
			}
			defer conn.Close(ctx) //nolint:errcheck // test session
			w.sides[side] = conn
		}
		if m.t.Failed() {
			w.testify(ctx)
		}
		if _, err := w.sides[capability.Legacy].Exec(ctx, `SELECT pg_drop_replication_slot($1)`, w.slot); err != nil {
			m.t.Error(err)
		}
	})
}

// read returns texts by their names; nothing and a word in the log if it cannot.
func (w *witness) read(ctx context.Context, side capability.Side, query string, args ...any) map[string]string {
	found := map[string]string{}
	rows, err := w.sides[side].Query(ctx, query, args...)
	if err == nil {
		var name, text string
		_, err = pgx.ForEachRow(rows, []any{&name, &text}, func() error { found[name] = text; return nil })
	}
	if err != nil {
		w.m.t.Logf("%s: %v", query, err)
	}
	return found
}

func (w *witness) say(found map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(found)) {
		w.m.t.Logf("  %s: %s", name, found[name])
	}
}

func (w *witness) testify(ctx context.Context) {
	w.say(w.read(ctx, capability.Extracted, `
		SELECT 'move', r::text FROM strangler.move r WHERE capability = $1
		UNION ALL SELECT 'progress from ' || source, r::text FROM strangler.progress r WHERE capability = $1
		UNION ALL SELECT 'chunks of ' || relation, string_agg(low || '-' || high || ' (' || rows || ')', ', ' ORDER BY low) FROM strangler.chunk WHERE capability = $1 GROUP BY relation
		UNION ALL SELECT 'aside ' || id, statement FROM strangler.aside WHERE capability = $1`, w.m.name))
	applied := w.read(ctx, capability.Extracted, `SELECT 'applied', position::text FROM strangler.progress WHERE capability = $1 AND source = 'legacy'`, w.m.name)["applied"]
	if _, err := w.sides[capability.Legacy].Exec(ctx, `CREATE TEMP TABLE changes AS
		SELECT n, lsn, xid, first_value(lsn) OVER (PARTITION BY xid::text ORDER BY n DESC) AS commit, split_part(data, ':', 1) AS relation, left(data, 200) || ' ' AS keys, data
		FROM pg_logical_slot_peek_changes('`+w.slot+`', NULL, NULL) WITH ORDINALITY AS c(lsn, xid, data, n)`); err != nil {
		w.m.t.Log(err)
	}
	for table, query := range map[string][2]string{
		"things": {`SELECT part, id, n, pad, big, rank, kind FROM things`, `SELECT part, id, times, pad, big, rank, kind FROM stuff`},
		"notes":  {`SELECT id, part, thing, body FROM notes`, `SELECT id, part, thing, body FROM notes`},
	} {
		// A row's name is its key as test_decoding writes it. Long values are of one letter.
		key := map[string]string{"things": `format('part[text]:%L id[integer]:%s ', part, id)`, "notes": `format('id[bigint]:%s ', id)`}[table]
		pattern := map[string]string{"things": `part\[text\]:'\w+' id\[integer\]:-?\d+ `, "notes": `id\[bigint\]:\d+ `}[table]
		coming := w.read(ctx, capability.Legacy, `SELECT DISTINCT m[1], '' FROM changes, regexp_matches(keys, '(' || $2 || ')', 'g') m
			WHERE relation = 'table public.' || $1 AND commit >= $3::text::pg_lsn`, table, pattern, applied)
		shown := `SELECT ` + key + `, regexp_replace(r::text, '(.)\1{9,}', '\1…', 'g') || ' ' || md5(r::text) FROM (`
		w.differ(ctx, table, coming, w.read(ctx, capability.Legacy, shown+query[0]+`) r`), w.read(ctx, capability.Extracted, shown+query[1]+`) r`))
	}
}

// differ tells of rows that are not the same on both sides, and have no change
// that is still to come.
func (w *witness) differ(ctx context.Context, table string, coming, here, there map[string]string) {
	all := maps.Clone(here)
	maps.Copy(all, there)
	maps.DeleteFunc(all, func(name, _ string) bool {
		_, changes := coming[name]
		return changes || here[name] == there[name]
	})
	w.m.t.Logf("%d rows of %s differ without a change that is still to come", len(all), table)
	for i, name := range slices.Sorted(maps.Keys(all)) {
		if i == rowsShown {
			break
		}
		w.m.t.Logf("%s %sdiffers:\n  legacy    %s\n  extracted %s", table, name, cmp.Or(here[name], "none"), cmp.Or(there[name], "none"))
		w.say(w.read(ctx, capability.Legacy, `SELECT to_char(n, '0000000'), format('%s transaction %s commits at %s: %s', lsn, xid, commit, regexp_replace(data, '([^ ])\1{9,}', '\1…', 'g'))`+
			` FROM changes WHERE relation = 'table public.' || $1 AND strpos(keys, $2) > 0 ORDER BY n DESC LIMIT $3`, table, name, changesShown))
	}
}
