package postgres

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"strangler/capability"
)

// tags have no primary key: rows are known by an index over NOT NULL columns,
// which is neither the only unique one nor the first.
const tags = `
	CREATE TABLE tags (code text NOT NULL, kind int NOT NULL, seen int NOT NULL DEFAULT 0, note text, big text);
	ALTER TABLE tags ALTER big SET STORAGE EXTERNAL;
	CREATE UNIQUE INDEX a_note ON tags (note);
	CREATE UNIQUE INDEX b_partial ON tags (code) WHERE kind = 1;
	CREATE UNIQUE INDEX tags_key ON tags (kind, code) INCLUDE (seen);
	INSERT INTO tags SELECT 't' || i, i % 5, 0, 'note ' || i, repeat('z', 2100) FROM generate_series(1, 1500) i;`

func tagWrite(r *rand.Rand) string {
	a, b := r.IntN(1500)+1, r.IntN(3000)+1
	switch r.IntN(6) {
	case 0, 1:
		return fmt.Sprintf(`UPDATE tags SET seen = seen + 1 WHERE code = 't%d'`, a)
	case 2: // another key, without its large value
		return fmt.Sprintf(`UPDATE tags SET code = 't%d' WHERE code = 't%d'`, b, a)
	case 3:
		return fmt.Sprintf(`DELETE FROM tags WHERE code = 't%d' AND seen > 0`, b)
	case 4: // two rows swap what is unique
		return fmt.Sprintf(`UPDATE tags SET note = NULL WHERE code = 't%[1]d'; UPDATE tags SET note = 'swapped %[1]d' WHERE code = 't%[2]d'`, a, b)
	default:
		return fmt.Sprintf(`INSERT INTO tags (code, kind, seen, big) VALUES ('t%d', %d, 1, repeat('n', %d)) ON CONFLICT DO NOTHING`, b, b%5, r.IntN(3000))
	}
}

const tagColumns = `code, kind, seen, note, big FROM tags`

// TestTablesWithoutAPrimaryKeyMove by a unique index: copied, followed, verified,
// switched and back, and left as they were.
func TestTablesWithoutAPrimaryKeyMove(t *testing.T) {
	inEachCapture(t, testTablesWithoutAPrimaryKeyMove)
}

func testTablesWithoutAPrimaryKeyMove(t *testing.T, kind capability.Capture) {
	data := func() *capability.Data {
		return &capability.Data{State: capability.DataRunning, Gap: 100, Tables: []capability.Table{{Table: "tags"}}}
	}
	const index = `SELECT string_agg(pg_get_indexdef(indexrelid) || ' ' || indisreplident, E'\n' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = 'tags'::regclass`
	for name, extracted := range map[string]string{
		"the same": "",
		"to another key of its own": `CREATE TABLE tags (row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text NOT NULL, kind int NOT NULL, seen int NOT NULL DEFAULT 0, note text, big text);
			CREATE UNIQUE INDEX other_name ON tags (code, kind); CREATE UNIQUE INDEX a_note ON tags (note)`,
		"to a primary key": `CREATE TABLE tags (code text, kind int, seen int NOT NULL DEFAULT 0, note text, big text, PRIMARY KEY (code, kind))`,
		"to partitions": `CREATE TABLE tags (code text, kind int, seen int NOT NULL DEFAULT 0, note text, big text, PRIMARY KEY (code, kind)) PARTITION BY LIST (kind);
			CREATE TABLE tags_1 PARTITION OF tags FOR VALUES IN (1); CREATE TABLE tags_rest PARTITION OF tags DEFAULT`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := data()
			m := newEvents(t, kind, tags, extracted, data)
			before := map[capability.Side]string{}
			for _, side := range capability.Sides {
				before[side] = ask[string](m, side, index)
			}
			plan, problems, err := m.Plan(t.Context())
			m.must(err)
			if len(problems) > 0 || plan.Tables[0].Identity != "kind, code" {
				t.Fatalf("%q: %v", plan.Tables[0].Identity, problems)
			}
			if notes, named := fmt.Sprint(plan.Tables[0].Notes), "ALTER TABLE public.tags REPLICA IDENTITY USING INDEX tags_key"; strings.Contains(notes, named) != (kind == capability.CaptureWAL) {
				t.Errorf("notes: %s", notes)
			}
			stop := m.writing(capability.Legacy, tagWrite)
			end := m.follows(m.Mover)
			stop()
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
			m.alike(tagColumns)
			m.switchTo(capability.Extracted)
			stop = m.writing(capability.Extracted, func(r *rand.Rand) string {
				write := tagWrite(r)
				if extracted != "" && strings.Contains(write, "SET note") {
					return "" // what only the legacy table keeps apart, nobody may bring together
				}
				return write
			})
			m.eventually("extracted has written", func() (bool, string) {
				n := ask[int](m, capability.Extracted, `SELECT sum(seen) FROM tags`)
				return n > 2000, fmt.Sprint(n)
			})
			stop()
			m.settled(capability.Extracted)
			m.verify(capability.Extracted, 0)
			m.rogue(capability.Legacy, `UPDATE tags SET note = 'rogue' WHERE (code, kind) = (SELECT code, kind FROM tags ORDER BY code, kind LIMIT 1); DELETE FROM tags WHERE (code, kind) = (SELECT code, kind FROM tags ORDER BY code DESC, kind DESC LIMIT 1)`)
			m.verify(capability.Extracted, 2)
			v, err := m.Repair(t.Context(), capability.Extracted, nil)
			m.must(err)
			if v.Repaired != 2 || v.Count != 0 {
				t.Errorf("repaired %+v", v)
			}
			m.switchTo(capability.Legacy)
			m.exec(capability.Legacy, `UPDATE tags SET seen = 7 WHERE code < 't3'`)
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
			m.alike(tagColumns)
			end()
			m.must(m.Reset(t.Context(), false, nil))
			for _, side := range capability.Sides {
				if now := ask[string](m, side, index); now != before[side] {
					t.Errorf("indexes on the %s side are\n%s\nand were\n%s", side, now, before[side])
				}
			}
		})
	}
}

// TestAKeylessBackfillGoesOn under another snapshot, after its sessions were ended.
func TestAKeylessBackfillGoesOn(t *testing.T) { inEachCapture(t, testAKeylessBackfillGoesOn) }

func testAKeylessBackfillGoesOn(t *testing.T, kind capability.Capture) {
	data := &capability.Data{State: capability.DataRunning, Gap: 100, Rate: 700, Tables: []capability.Table{{Table: "tags"}}}
	m := newEvents(t, kind, tags, "", data)
	stop := m.writing(capability.Legacy, tagWrite)
	end := m.start(m.Mover)
	m.copied(2)
	end()
	m.Mover = m.mover(data, 2)
	m.follows(m.Mover)
	stop()
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.alike(tagColumns)
	if move := m.move(); move.Horizon <= move.Snapshot {
		t.Errorf("the backfill has had one snapshot: %+v", move)
	}
}
