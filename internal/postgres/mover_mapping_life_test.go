package postgres

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

// restlessMappings are mappings of the restless shop's things: one whose rows enter
// and leave what moves, and one that takes large values as they come, which is not
// every time.
var restlessMappings = map[string]struct {
	table    capability.Table
	identity string // where the log is read
	mapped   string // once more, by hand
	stuff    string
}{
	"where": {
		table: capability.Table{Table: "things", As: "stuff", Where: "n % 5 <> 3", Omit: []string{"pad"}, Lossy: true, Line: 8, Columns: map[string]string{"n": "times"},
			Computed: []capability.Computed{{Column: "label", Forward: "md5(big) || '/' || n"}, {Column: "padding", Forward: "length(pad)"}, {Column: "kept", Constant: "yes"}}},
		identity: `ALTER TABLE things REPLICA IDENTITY FULL`,
		mapped:   `SELECT part, id, n, big, rank, kind, md5(big) || '/' || n, length(pad), 'yes' FROM things WHERE n % 5 <> 3`,
		stuff:    `SELECT part, id, times, big, rank, kind, label, padding, kept FROM stuff`,
	},
	"unchanged": {
		table: capability.Table{Table: "things", As: "stuff", Line: 8, Columns: map[string]string{"n": "times"},
			Computed: []capability.Computed{{Column: "digest", Forward: "md5(big)"}, {Column: "twice", Forward: "n * 2 + rank"}}},
		identity: `SELECT`,
		mapped:   `SELECT part, id, n, big, pad, rank, kind, md5(big), n * 2 + rank FROM things`,
		stuff:    `SELECT part, id, times, big, pad, rank, kind, digest, twice FROM stuff`,
	},
}

// TestABackfillGoesOnThroughAMapping when its snapshot is lost, under load: rows of
// two moments, which enter, leave and change their keys meanwhile, end as those of
// the source.
func TestABackfillGoesOnThroughAMapping(t *testing.T) {
	inEachCapture(t, testABackfillGoesOnThroughAMapping)
}

func testABackfillGoesOnThroughAMapping(t *testing.T, kind capability.Capture) {
	for name, mapping := range restlessMappings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := restlessData()
			data.TableLine, data.Rate = 7, 250
			data.Tables = []capability.Table{mapping.table, {Table: "kinds", Mode: capability.Copy, Where: "rank <> 2", Line: 9, Computed: []capability.Computed{{Column: "loud", Forward: "upper(name)", Line: 10}}}}
			data.Border = append(data.Border, capability.Border{Constraint: "notes_part_thing_fkey", AtSwitch: capability.BorderDrop, Line: 11})
			m := newMigration(t, kind, restlessShop+restlessRows(300)+mapping.identity+`; ALTER TABLE kinds REPLICA IDENTITY FULL`, data).created()
			m.chunkBytes, m.snapshotAge = 48<<10, 400*time.Millisecond
			m.Mover = m.mover(data, 1)
			stop := m.restless()
			end := m.start(m.Mover)
			m.copied(3)
			m.exec(capability.Legacy, `UPDATE kinds SET rank = 12 WHERE rank = 2; UPDATE kinds SET rank = 2 WHERE rank = 3; UPDATE kinds SET rank = 13 WHERE rank = 4`)
			m.eventually("another snapshot, and it follows", func() (bool, string) {
				s := m.Status()
				if s.Phase == capability.PhaseFailed {
					t.Fatal(s.Error)
				}
				move := m.move()
				return move.Horizon > move.Snapshot && s.Phase == capability.PhaseFollowing, fmt.Sprintf("%+v, %+v", move, s)
			})
			end()
			m.follows(m.Mover)
			stop()
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
			const sum = `SELECT count(*) || ' ' || md5(string_agg(r::text, ',' ORDER BY r::text)) FROM (%s) r`
			for _, q := range [][2]string{{mapping.mapped, mapping.stuff}, {`SELECT name, rank, upper(name) FROM kinds WHERE rank <> 2`, `SELECT name, rank, loud FROM kinds`}} {
				legacy, extracted := ask[string](m, capability.Legacy, fmt.Sprintf(sum, q[0])), ask[string](m, capability.Extracted, fmt.Sprintf(sum, q[1]))
				if legacy != extracted || strings.HasPrefix(legacy, "0 ") {
					t.Errorf("%s: %s and %s", q[0], legacy, extracted)
				}
			}
		})
	}
}

// TestRepairGoesThroughTheMapping in both directions, and leaves alone what does
// not move.
func TestRepairGoesThroughTheMapping(t *testing.T) {
	inEachCapture(t, testRepairGoesThroughTheMapping)
}

func testRepairGoesThroughTheMapping(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, people, persons()).created()
	m.exec(capability.Extracted, `ALTER TABLE persons REPLICA IDENTITY FULL`)
	m.follows(m.Mover)
	m.rogue(capability.Extracted, `UPDATE persons SET full_name = 'wrong' WHERE id = 7; UPDATE persons SET origin = 'wrong' WHERE id = 8; UPDATE persons SET percent = 1 WHERE id = 10;
		DELETE FROM persons WHERE id = 11; INSERT INTO persons (id, full_name) VALUES (12, 'is deleted in legacy'), (99999, 'nowhere')`)
	m.verify(capability.Legacy, 6)
	v, err := m.Repair(t.Context(), capability.Legacy, nil)
	m.must(err)
	if v.Count != 0 || v.Repaired != 6 {
		t.Errorf("repaired %d, still %d: %+v", v.Repaired, v.Count, v.Mismatches)
	}
	m.mapsExactly("origin")

	m.switchTo(capability.Extracted)
	m.rogue(capability.Legacy, `UPDATE people SET first = 'wrong', note = 'kept' WHERE id = 7; UPDATE people SET cents = 1 WHERE id = 8; DELETE FROM people WHERE id = 10; INSERT INTO people (id, first, last) VALUES (99999, 'no', 'where')`)
	stays := ask[string](m, capability.Legacy, `SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM people p WHERE deleted_at IS NOT NULL`)
	m.verify(capability.Extracted, 4)
	v, err = m.Repair(t.Context(), capability.Extracted, nil)
	m.must(err)
	if v.Count != 0 || v.Repaired != 4 {
		t.Errorf("repaired %d, still %d: %+v", v.Repaired, v.Count, v.Mismatches)
	}
	m.mapsExactly("origin")
	if note := ask[string](m, capability.Legacy, `SELECT note FROM people WHERE id = 7`); note != "kept" {
		t.Errorf("a column that stays behind became %q", note)
	}
	if now := ask[string](m, capability.Legacy, `SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM people p WHERE deleted_at IS NOT NULL`); now != stays {
		t.Error("rows that do not move were touched")
	}
}

// TestWhatTheMappingCannotDoStopsTheStream, by name, and leaves both sides as they
// are: a row whose expression fails, a row that comes back to where a row stands
// that does not move, and one that would not be among those that move.
func TestWhatTheMappingCannotDoStopsTheStream(t *testing.T) {
	inEachCapture(t, testWhatTheMappingCannotDoStopsTheStream)
}

func testWhatTheMappingCannotDoStopsTheStream(t *testing.T, kind capability.Capture) {
	const parts = `CREATE TABLE parts (id int PRIMARY KEY, n int NOT NULL DEFAULT 1, state text NOT NULL DEFAULT 'live'); ALTER TABLE parts REPLICA IDENTITY FULL;
		INSERT INTO parts SELECT n FROM generate_series(1, 20) n; INSERT INTO parts VALUES (100, 0, 'dead');`
	table := capability.Table{Table: "parts", Where: "state <> 'dead'", Line: 8, Computed: []capability.Computed{{Column: "inverse", Forward: "840 / n", Reverse: []capability.Reverse{{Column: "n", SQL: "840 / inverse"}}}}}
	for name, test := range map[string]struct {
		owner     capability.Side
		statement string
		want      string
	}{
		"an expression fails":               {capability.Legacy, `UPDATE parts SET id = id + 1000 WHERE id < 15; UPDATE parts SET n = 0 WHERE id = 17`, "division by zero"},
		"it fails on the way back":          {capability.Extracted, `UPDATE parts SET inverse = 0 WHERE id = 17`, "division by zero"},
		"a row that does not move":          {capability.Extracted, `INSERT INTO parts VALUES (100, 'live', 84)`, "duplicate key"},
		"it would not be one of them":       {capability.Extracted, `UPDATE parts SET state = 'dead' WHERE id = 17`, "where: (state <> 'dead'::text)"},
		"many would not":                    {capability.Extracted, `UPDATE parts SET state = 'dead'`, "where: (state <> 'dead'::text)"},
		"a new one is none of them":         {capability.Extracted, `INSERT INTO parts VALUES (18001, 'dead', 84)`, "where: (state <> 'dead'::text)"},
		"it deletes one that does not move": {capability.Extracted, `DELETE FROM parts WHERE id = 100`, "the row to delete is missing"},
		"it updates one that does not move": {capability.Extracted, `UPDATE parts SET inverse = 42 WHERE id = 100`, "the row to update is missing"},
		"it deletes many":                   {capability.Extracted, `DELETE FROM parts WHERE id < 10 OR id = 100`, "the row to delete is missing"},
		"it updates many":                   {capability.Extracted, `UPDATE parts SET inverse = 42 WHERE id < 10 OR id = 100`, "the row to update is missing"},
		"many new ones are not either":      {capability.Extracted, `INSERT INTO parts SELECT n, 'dead', 84 FROM generate_series(200, 220) n`, "where: (state <> 'dead'::text)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := &capability.Data{State: capability.DataRunning, TableLine: 7, Tables: []capability.Table{table}}
			m := newMigration(t, kind, parts, data).created()
			ended := make(chan error, 1)
			go func() { ended <- m.Mover.Run(t.Context()) }()
			m.eventually("both streams are live", func() (bool, string) {
				s := m.Status()
				return len(s.Streams) == 2 && s.Streams[0].Live && s.Streams[1].Live, fmt.Sprintf("%+v", s)
			})
			if test.owner == capability.Extracted {
				m.verify(capability.Legacy, 0)
				m.switchTo(capability.Extracted)
			}
			digest := func() string {
				return ask[string](m, test.owner.Other(), `SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM parts p`)
			}
			before := digest()
			if strings.Contains(test.statement, "id = 100") { // as if a mover had been wrong
				m.rogue(capability.Extracted, `INSERT INTO parts (id, state, inverse) VALUES (100, 'live', 84)`)
			}
			m.exec(test.owner, test.statement)
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "row sha256:") {
					t.Errorf("the stream ended with %v, want %q", err, test.want)
				}
			case <-time.After(30 * time.Second):
				t.Errorf("the stream goes on: %+v", m.Status())
			}
			if test.owner == capability.Extracted && digest() != before {
				t.Error("the target was changed")
			}
		})
	}
}

// TestATruncationOnTheWayBackLeavesWhatDoesNotMove.
func TestATruncationOnTheWayBackLeavesWhatDoesNotMove(t *testing.T) {
	inEachCapture(t, testATruncationOnTheWayBackLeavesWhatDoesNotMove)
}

func testATruncationOnTheWayBackLeavesWhatDoesNotMove(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, people+`CREATE TABLE badges (id int PRIMARY KEY REFERENCES people); INSERT INTO badges VALUES (1), (2);`, persons())
	m.Mover = nil
	data := persons()
	data.Capture = kind
	data.Tables = append(data.Tables, capability.Table{Table: "badges", Line: 20})
	m.Mover = m.mover(data, 1)
	m.created()
	m.exec(capability.Extracted, `ALTER TABLE persons REPLICA IDENTITY FULL`)
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	m.switchTo(capability.Extracted)
	m.exec(capability.Extracted, `TRUNCATE persons, badges; INSERT INTO persons (id, full_name, euros, origin) VALUES (1, E'first\x1fone', 1.00, 'service')`)
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	if left := ask[string](m, capability.Legacy, `SELECT count(*) FILTER (WHERE deleted_at IS NULL) || ' ' || count(*) || ' ' || (SELECT count(*) FROM badges) FROM people`); left != "1 667 0" {
		t.Errorf("left of people: %s", left)
	}
}
