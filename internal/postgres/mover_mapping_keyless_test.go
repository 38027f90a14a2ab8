package postgres

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"strangler/capability"
)

// labels have no primary key. The service knows them under other names, by a unique
// index of its own, and takes those that are not hidden.
const (
	labels = `
	CREATE TABLE labels (code text NOT NULL, kind int NOT NULL, seen int NOT NULL DEFAULT 0, title text NOT NULL DEFAULT 't', hidden bool NOT NULL DEFAULT false, legacy_only text DEFAULT 'kept');
	ALTER TABLE labels ALTER title SET STORAGE EXTERNAL;
	CREATE UNIQUE INDEX labels_key ON labels (kind, code);
	INSERT INTO labels (code, kind, title, hidden) SELECT 't' || i, i % 5, repeat('zä', 1 + i % 4 * 700), i % 4 = 0 FROM generate_series(1, 1500) i;`
	marksOfLabels = `
	CREATE TABLE stickers (row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, kind int NOT NULL, views bigint NOT NULL DEFAULT 0, head text NOT NULL, tail text NOT NULL, hidden bool NOT NULL DEFAULT false, origin text NOT NULL DEFAULT 'service');
	ALTER TABLE stickers ALTER head SET STORAGE EXTERNAL, ALTER tail SET STORAGE EXTERNAL;
	CREATE UNIQUE INDEX stickers_known ON stickers (name, kind);
	CREATE INDEX stickers_views ON stickers (views);`
	labelsMapped = `SELECT code AS name, kind, seen::bigint * 10 AS views, left(title, 700) AS head, substr(title, 701) AS tail, hidden FROM labels WHERE NOT hidden`
)

func labelsData() *capability.Data {
	return &capability.Data{State: capability.DataRunning, Gap: 100, TableLine: 7, Tables: []capability.Table{{
		Table: "labels", As: "stickers", Where: "NOT hidden", Line: 8, Omit: []string{"legacy_only"}, Columns: map[string]string{"code": "name"},
		Computed: []capability.Computed{
			{Column: "views", Forward: "seen::bigint * 10", Line: 9, Reverse: []capability.Reverse{{Column: "seen", SQL: "(views / 10)::int"}}},
			{Column: "head", Forward: "left(title, 700)", Line: 10, Reverse: []capability.Reverse{{Column: "title", SQL: "head || tail"}}},
			{Column: "tail", Forward: "substr(title, 701)", Line: 11},
			{Column: "origin", Constant: "legacy", Line: 12},
		}}}}
}

func labelWrite(r *rand.Rand) string {
	a, b := r.IntN(1500)+1, r.IntN(3000)+1
	switch r.IntN(6) {
	case 0:
		return fmt.Sprintf(`UPDATE labels SET seen = seen + 1 WHERE code = 't%d'`, a)
	case 1:
		return fmt.Sprintf(`UPDATE labels SET hidden = NOT hidden, seen = seen + 1 WHERE code = 't%d'`, a)
	case 2: // another key, without its large value
		return fmt.Sprintf(`UPDATE labels SET code = 't%d', hidden = %t WHERE code = 't%d'`, b, r.IntN(3) == 0, a)
	case 3:
		return fmt.Sprintf(`DELETE FROM labels WHERE code = 't%d'`, b)
	case 4:
		return fmt.Sprintf(`UPDATE labels SET title = repeat('%c', %d) WHERE code = 't%d'`, 'a'+r.IntN(26), r.IntN(4000), a)
	default:
		return fmt.Sprintf(`INSERT INTO labels (code, kind, seen, title, hidden) VALUES ('t%d', %d, 1, repeat('n', %d), %t) ON CONFLICT DO NOTHING`, b, b%5, r.IntN(3000), r.IntN(4) == 0)
	}
}

func stickerWrite(r *rand.Rand) string {
	a, own := r.IntN(1500)+1, r.IntN(60)+1
	switch r.IntN(5) {
	case 0, 1:
		return fmt.Sprintf(`UPDATE stickers SET views = views + 10 WHERE name IN ('t%d', 'own%d')`, a, own)
	case 2: // one of two large values
		return fmt.Sprintf(`UPDATE stickers SET head = repeat('%c', 700), views = views + 10 WHERE name = 't%d' AND tail <> ''`, 'a'+r.IntN(26), a)
	case 3:
		return fmt.Sprintf(`DELETE FROM stickers WHERE name IN ('t%d', 'own%d')`, a, own)
	default:
		return fmt.Sprintf(`INSERT INTO stickers (name, kind, views, head, tail, origin) VALUES ('own%d', %d, 10, repeat('h', 700), repeat('t', %d), 'legacy') ON CONFLICT DO NOTHING`, own, own%5, 1+r.IntN(3000))
	}
}

// TestKeylessTablesMoveThroughAMapping that asks for whole old rows on both sides, by
// unique indexes of other names: copied, followed, verified, switched, repaired and
// back, and left as they were.
func TestKeylessTablesMoveThroughAMapping(t *testing.T) {
	inEachCapture(t, testKeylessTablesMoveThroughAMapping)
}

func testKeylessTablesMoveThroughAMapping(t *testing.T, kind capability.Capture) {
	m := newEvents(t, kind, labels, marksOfLabels, labelsData())
	m.mends()
	const named = `SELECT relreplident::text || coalesce((SELECT ' ' || string_agg(indexrelid::regclass::text, ',') FROM pg_index WHERE indrelid = c.oid AND indisreplident), '') FROM pg_class c WHERE oid = '%s'::regclass`
	const indexes = `SELECT string_agg(pg_get_indexdef(indexrelid), E'\n' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = 'stickers'::regclass`
	before := [3]string{ask[string](m, capability.Legacy, fmt.Sprintf(named, "labels")), ask[string](m, capability.Extracted, fmt.Sprintf(named, "stickers")), ask[string](m, capability.Extracted, indexes)}
	exactly := func() {
		t.Helper()
		const sum = `SELECT count(*) || ' ' || md5(string_agg(r::text, ',' ORDER BY r::text COLLATE "C")) FROM (%s) r`
		legacy, extracted := ask[string](m, capability.Legacy, fmt.Sprintf(sum, labelsMapped)), ask[string](m, capability.Extracted, fmt.Sprintf(sum, `SELECT name, kind, views, head, tail, hidden FROM stickers`))
		if legacy != extracted || strings.HasPrefix(legacy, "0 ") {
			t.Errorf("labels map to %s, stickers are %s", legacy, extracted)
		}
	}
	stop := m.writing(capability.Legacy, labelWrite)
	end := m.follows(m.Mover)
	m.eventually("legacy has written", func() (bool, string) {
		n := ask[int](m, capability.Legacy, `SELECT sum(seen)::int FROM labels`)
		return n > 300, fmt.Sprint(n)
	})
	stop()
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	exactly()
	end() // and another process goes on
	m.Mover = m.mover(labelsData(), 2)
	end = m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	const outside = `SELECT count(*) || md5(string_agg(l::text, ',' ORDER BY kind, code)) FROM labels l WHERE hidden`
	stays := ask[string](m, capability.Legacy, outside)
	m.switchTo(capability.Extracted)
	stop = m.writing(capability.Extracted, stickerWrite)
	m.eventually("extracted has written", func() (bool, string) {
		n := ask[int](m, capability.Extracted, `SELECT count(*)::int FROM stickers WHERE name LIKE 'own%'`)
		return n > 30, fmt.Sprint(n)
	})
	stop()
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	exactly()
	if now := ask[string](m, capability.Legacy, outside); now != stays {
		t.Errorf("rows that do not move were %s and are %s", stays, now)
	}
	m.rogue(capability.Legacy, `UPDATE labels SET title = 'rogue' WHERE (kind, code) = (SELECT kind, code FROM labels WHERE NOT hidden ORDER BY kind, code LIMIT 1)`)
	m.verify(capability.Extracted, 1)
	v, err := m.Repair(t.Context(), capability.Extracted, nil)
	m.must(err)
	if v.Repaired != 1 || v.Count != 0 {
		t.Errorf("repaired %+v", v)
	}
	m.switchTo(capability.Legacy)
	m.exec(capability.Legacy, `UPDATE labels SET hidden = NOT hidden WHERE code < 't3'`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	exactly()
	end()
	m.must(m.Reset(t.Context(), false, nil))
	after := [3]string{ask[string](m, capability.Legacy, fmt.Sprintf(named, "labels")), ask[string](m, capability.Extracted, fmt.Sprintf(named, "stickers")), ask[string](m, capability.Extracted, indexes)}
	if before != after {
		t.Errorf("identities and indexes were %q and are %q", before, after)
	}
}

// TestNoWholeRowIsAKey: two rows that are equal cannot be told apart, whatever the log
// brings of them.
func TestNoWholeRowIsAKey(t *testing.T) { inEachCapture(t, testNoWholeRowIsAKey) }

func testNoWholeRowIsAKey(t *testing.T, kind capability.Capture) {
	data := labelsData()
	m := newMigration(t, kind, strings.Replace(labels, "UNIQUE INDEX", "INDEX", 1)+`ALTER TABLE labels REPLICA IDENTITY FULL`, data)
	m.exec(capability.Extracted, marksOfLabels)
	refused := func() string {
		_, problems, err := m.Plan(t.Context())
		m.must(err)
		for _, p := range problems {
			if p.Path == "data.tables.labels" && p.Line == 8 && strings.Contains(p.Message, "cannot be told apart") {
				return p.Mend
			}
		}
		return ""
	}
	mend := refused()
	if !strings.Contains(mend, "CREATE UNIQUE INDEX") || !strings.Contains(mend, "ADD COLUMN row_id") {
		t.Errorf("the mend: %q", mend)
	}
	if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be told apart") {
		t.Errorf("it moves: %v", err)
	}
	m.exec(capability.Legacy, `CREATE UNIQUE INDEX ON labels (code, kind)`)
	if mend := refused(); mend != "" {
		t.Errorf("with a key it is refused: %s", mend)
	}
}
