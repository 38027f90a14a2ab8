package postgres

import (
	"fmt"
	"testing"

	"strangler/capability"
)

// people is a legacy table that the service has another idea of. Its texts are
// easy to get wrong, and some are kept apart.
const people = `
	CREATE TABLE people (id int PRIMARY KEY, first text NOT NULL, last text NOT NULL, cents bigint NOT NULL DEFAULT 0, share numeric(12,4), ratio float8, born timestamp, note text DEFAULT 'none',
		legacy_only int NOT NULL DEFAULT 7, deleted_at timestamptz);
	ALTER TABLE people REPLICA IDENTITY FULL;
	INSERT INTO people (id, first, last, cents, share, ratio, born, note) SELECT n, (ARRAY['Ann', 'O''Brien', 'back\slash', 'ä"ö', E'tab\tnew\nline', '', '{NULL}', 'NULL'])[1 + n % 8], 'L' || n,
		n * 100 + n % 100, n / 7.0, n / 3.0::float8 * 1e-7, '2000-01-01'::timestamp + n * interval '1 hour 1 microsecond', repeat('note', n % 5) FROM generate_series(1, 2000) n;
	UPDATE people SET first = (SELECT string_agg(md5(x::text), '') FROM generate_series(1, 300) x) WHERE id % 100 = 0;
	UPDATE people SET share = NULL, ratio = 'NaN', born = NULL WHERE id % 11 = 0;
	UPDATE people SET ratio = '-0', cents = -5 WHERE id % 13 = 0;
	UPDATE people SET deleted_at = '2020-01-01' WHERE id % 3 = 0;`

// persons moves those that are not deleted.
func persons() *capability.Data {
	return &capability.Data{State: capability.DataRunning, Gap: 1, TableLine: 7, Tables: []capability.Table{{
		Table: "people", As: "persons", Where: "deleted_at IS NULL", Line: 8, Omit: []string{"note", "legacy_only"}, Columns: map[string]string{"born": "birth", "ratio": "part"},
		Computed: []capability.Computed{
			{Column: "full_name", Forward: "first || E'\\x1f' || last", Line: 10, Reverse: []capability.Reverse{
				{Column: "first", SQL: `split_part(full_name, E'\x1f', 1)`}, {Column: "last", SQL: `split_part(full_name, E'\x1f', 2)`}}},
			{Column: "euros", Forward: "(cents / 100.0)::numeric(20,2)", Line: 11, Reverse: []capability.Reverse{{Column: "cents", SQL: "euros * 100"}}},
			{Column: "origin", Constant: `le'ga\cy`, Line: 12},
			{Column: "percent", Forward: "share * 100", Line: 13, Reverse: []capability.Reverse{{Column: "share", SQL: "(percent / 100)::numeric(12,4)"}}},
		},
	}}}
}

// mapped is the mapping of persons, written once more: what the one table must be
// of the other.
const mapped = `SELECT id, first || E'\x1f' || last AS full_name, (cents / 100.0)::numeric(20,2) AS euros, 'le''ga\cy' AS origin, share * 100 AS percent, ratio AS part, born AS birth FROM people WHERE deleted_at IS NULL`

// mapsExactly compares both tables as applications see them.
func (m *migration) mapsExactly(origins string) {
	m.t.Helper()
	const digest = `SELECT count(*) || ' ' || md5(coalesce(string_agg(format('%%s|%%L|%%s|%%s|%%s|%%s|%%s', id, full_name, euros, %s, percent, part, birth), ',' ORDER BY id), '')) FROM (%s) t`
	legacy := ask[string](m, capability.Legacy, fmt.Sprintf(digest, origins, mapped))
	extracted := ask[string](m, capability.Extracted, fmt.Sprintf(digest, origins, `TABLE persons`))
	if legacy != extracted {
		m.t.Errorf("legacy maps to %s, extracted has %s", legacy, extracted)
	}
}

// TestRowsMoveThroughTheMapping: backfill, stream, verification and both switches,
// and what does not move stays as it was.
func TestRowsMoveThroughTheMapping(t *testing.T) { inEachCapture(t, testRowsMoveThroughTheMapping) }

func testRowsMoveThroughTheMapping(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, people, persons()).created()
	m.exec(capability.Extracted, `ALTER TABLE persons REPLICA IDENTITY FULL`)
	m.follows(m.Mover)
	m.mapsExactly("origin")
	if v := m.verify(capability.Legacy, 0); v.Rows != 2000-666 {
		t.Errorf("compared %d rows", v.Rows)
	}
	m.exec(capability.Legacy, transitions)
	m.settled(capability.Legacy)
	m.mapsExactly("origin")
	m.verify(capability.Legacy, 0)

	outside := func() string {
		return ask[string](m, capability.Legacy, `SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM people p WHERE deleted_at IS NOT NULL`)
	}
	stays := outside()
	kept := ask[string](m, capability.Legacy, `SELECT md5(string_agg(format('%s %s', note, legacy_only), ',' ORDER BY id)) FROM people p WHERE deleted_at IS NULL AND id BETWEEN 500 AND 600`)
	m.switchTo(capability.Extracted)
	m.exec(capability.Extracted, `
		UPDATE persons SET euros = euros + 1 WHERE id BETWEEN 500 AND 600;
		UPDATE persons SET full_name = E'Jane\x1fD''oe\\' WHERE id = 700;
		UPDATE persons SET percent = NULL, part = 'Infinity' WHERE id % 50 = 1;
		UPDATE persons SET id = id + 100000 WHERE id BETWEEN 800 AND 810;
		INSERT INTO persons (id, full_name, euros, origin, percent) SELECT n, E'New\x1fOne', 1.25, 'service', 12.5000 FROM generate_series(200001, 200020) n;
		DELETE FROM persons WHERE id BETWEEN 900 AND 950`)
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	m.mapsExactly("''")
	if now := outside(); now != stays {
		t.Error("rows that do not move were touched")
	}
	if now := ask[string](m, capability.Legacy, `SELECT md5(string_agg(format('%s %s', note, legacy_only), ',' ORDER BY id)) FROM people p WHERE deleted_at IS NULL AND id BETWEEN 500 AND 600`); now != kept {
		t.Error("columns that stay behind were touched by an update")
	}
	if defaults := ask[string](m, capability.Legacy, `SELECT DISTINCT note || legacy_only FROM people WHERE id BETWEEN 200001 AND 200020`); defaults != "none7" {
		t.Errorf("columns that stay behind of new rows: %s", defaults)
	}
	m.switchTo(capability.Legacy)
	m.exec(capability.Legacy, `UPDATE people SET cents = cents + 1 WHERE id < 300`)
	m.settled(capability.Legacy)
	m.mapsExactly("''")
	if n := m.verifyAny(capability.Legacy); n != 20 {
		t.Errorf("%d rows differ, want those 20 that the service gave another origin", n)
	}
}

// transitions are changes of people into, out of, within and outside of what moves.
const transitions = `
	UPDATE people SET deleted_at = now() WHERE id BETWEEN 1 AND 50;
	UPDATE people SET deleted_at = NULL WHERE id BETWEEN 51 AND 99;
	INSERT INTO people (id, first, last, deleted_at) SELECT n, 'out', 'side', now() FROM generate_series(5001, 5010) n;
	INSERT INTO people (id, first, last, cents) SELECT n, 'in', 'side', n FROM generate_series(5011, 5020) n;
	DELETE FROM people WHERE id BETWEEN 100 AND 130;
	UPDATE people SET id = id + 10000 WHERE id BETWEEN 131 AND 160;
	UPDATE people SET id = id + 10000, deleted_at = CASE WHEN deleted_at IS NULL THEN now() END WHERE id BETWEEN 161 AND 199;
	UPDATE people SET last = 'changed', share = 1.5 WHERE id BETWEEN 200 AND 320; -- large first ones are left alone
	UPDATE people SET cents = 77 WHERE id BETWEEN 290 AND 310;
	UPDATE people SET first = last, last = first WHERE id BETWEEN 400 AND 420;
	BEGIN; DELETE FROM people WHERE id = 430; INSERT INTO people (id, first, last, deleted_at) VALUES (430, 'again', 'gone', now()); UPDATE people SET deleted_at = NULL WHERE id = 430; COMMIT;
	UPDATE people SET deleted_at = now() WHERE id = 431; UPDATE people SET deleted_at = NULL, first = 'back' WHERE id = 431;`

// verifyAny runs a full verification and returns how many rows differ.
func (m *migration) verifyAny(from capability.Side) int64 {
	m.t.Helper()
	v, err := m.Verify(m.t.Context(), from, nil)
	m.must(err)
	return v.Count
}
