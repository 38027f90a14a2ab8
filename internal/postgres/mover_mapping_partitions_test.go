package postgres

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"strangler/capability"
)

// visits is a partitioned legacy table that the service has another idea of. Of one
// partition the columns are in another order.
const visits = `
	CREATE TABLE visits (id bigint NOT NULL, region text NOT NULL, day int NOT NULL, first text NOT NULL, last text NOT NULL, cents bigint NOT NULL DEFAULT 0, motto text NOT NULL DEFAULT 'm',
		legacy_only text DEFAULT 'kept', deleted_at timestamptz, PRIMARY KEY (id, region, day)) PARTITION BY LIST (region);
	CREATE TABLE visits_a PARTITION OF visits FOR VALUES IN ('a') PARTITION BY RANGE (day);
	CREATE TABLE visits_a_1 PARTITION OF visits_a FOR VALUES FROM (0) TO (100);
	CREATE TABLE visits_a_2 PARTITION OF visits_a FOR VALUES FROM (100) TO (200);
	CREATE TABLE visits_b (deleted_at timestamptz, motto text NOT NULL DEFAULT 'm', day int NOT NULL, gone int, region text NOT NULL, last text NOT NULL, id bigint NOT NULL, legacy_only text DEFAULT 'kept', cents bigint NOT NULL DEFAULT 0, first text NOT NULL);
	ALTER TABLE visits_b DROP gone;
	ALTER TABLE visits ATTACH PARTITION visits_b FOR VALUES IN ('b');
	CREATE TABLE visits_rest PARTITION OF visits DEFAULT;
	ALTER TABLE visits ALTER motto SET STORAGE EXTERNAL;
	ALTER TABLE visits_b ALTER motto SET STORAGE EXTERNAL;` + visitRows

// plainVisits is the same in one piece.
const plainVisits = `
	CREATE TABLE visits (id bigint NOT NULL, region text NOT NULL, day int NOT NULL, first text NOT NULL, last text NOT NULL, cents bigint NOT NULL DEFAULT 0, motto text NOT NULL DEFAULT 'm',
		legacy_only text DEFAULT 'kept', deleted_at timestamptz, PRIMARY KEY (id, region, day));
	ALTER TABLE visits ALTER motto SET STORAGE EXTERNAL;` + visitRows

const visitRows = `
	INSERT INTO visits (id, region, day, first, last, cents, motto, deleted_at) SELECT i * 10 + n, r, i % 200, 'F' || i, E'L\\' || r, i, repeat('mä', 1 + i % 5 * 600), CASE WHEN i % 4 = 0 THEN '2020-01-01'::timestamptz END
		FROM generate_series(1, 300) i, unnest('{a,b,c}'::text[]) WITH ORDINALITY u(r, n);`

// What stays is what the service calls them: in one piece, or in pieces of its own.
const (
	plainStays = `CREATE TABLE stays (id bigint, area text, on_day int, full_name text NOT NULL, euros numeric(20,2) NOT NULL DEFAULT 0, head text, tail text, deleted_at timestamptz, origin text NOT NULL DEFAULT 'service', PRIMARY KEY (id, area, on_day));
		ALTER TABLE stays ALTER head SET STORAGE EXTERNAL, ALTER tail SET STORAGE EXTERNAL;`
	staysOtherwise = `CREATE TABLE stays (id bigint, area text, on_day int, full_name text NOT NULL, euros numeric(20,2) NOT NULL DEFAULT 0, head text, tail text, deleted_at timestamptz, origin text NOT NULL DEFAULT 'service', PRIMARY KEY (id, area, on_day)) PARTITION BY RANGE (on_day);
		ALTER TABLE stays ALTER head SET STORAGE EXTERNAL, ALTER tail SET STORAGE EXTERNAL;
		CREATE TABLE stays_low PARTITION OF stays FOR VALUES FROM (MINVALUE) TO (120);
		CREATE TABLE stays_high PARTITION OF stays DEFAULT PARTITION BY HASH (id);
		CREATE TABLE stays_high_0 PARTITION OF stays_high FOR VALUES WITH (MODULUS 2, REMAINDER 0);
		CREATE TABLE stays_high_1 PARTITION OF stays_high FOR VALUES WITH (MODULUS 2, REMAINDER 1);`
)

// visitsData moves those that are not deleted. What the motto is computed back from
// are two large values.
func visitsData() *capability.Data {
	return &capability.Data{State: capability.DataRunning, Gap: 1, TableLine: 7, Tables: []capability.Table{{
		Table: "visits", As: "stays", Where: "deleted_at IS NULL", Line: 8, Omit: []string{"legacy_only"}, Columns: map[string]string{"region": "area", "day": "on_day"},
		Computed: []capability.Computed{
			{Column: "full_name", Forward: "first || '|' || last", Line: 10, Reverse: []capability.Reverse{{Column: "first", SQL: "split_part(full_name, '|', 1)"}, {Column: "last", SQL: "split_part(full_name, '|', 2)"}}},
			{Column: "euros", Forward: "(cents / 100.0)::numeric(20,2)", Line: 11, Reverse: []capability.Reverse{{Column: "cents", SQL: "(euros * 100)::bigint"}}},
			{Column: "head", Forward: "left(motto, 700)", Line: 12, Reverse: []capability.Reverse{{Column: "motto", SQL: "head || tail"}}},
			{Column: "tail", Forward: "substr(motto, 701)", Line: 13},
			{Column: "origin", Constant: `le'ga\cy`, Line: 14},
		}}}}
}

// visitWrite is one statement of legacy: rows enter and leave what moves, and go from
// one partition to another, the two at once and each by itself.
func visitWrite(r *rand.Rand) string {
	id, day := r.IntN(300)*10+10+r.IntN(4), r.IntN(200)
	region := []string{"a", "b", "c", "x"}[r.IntN(4)]
	switch r.IntN(8) {
	case 0, 1:
		return fmt.Sprintf(`UPDATE visits SET cents = cents + 1 WHERE id = %d`, id) // the large motto is left alone
	case 2:
		return fmt.Sprintf(`UPDATE visits SET region = '%s', day = %d WHERE id = %d`, region, day, id)
	case 3:
		return fmt.Sprintf(`UPDATE visits SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END, last = 'l%d' WHERE id = %d`, day, id)
	case 4:
		return fmt.Sprintf(`UPDATE visits SET region = '%s', day = %d, deleted_at = CASE WHEN deleted_at IS NULL THEN now() END WHERE id = %d`, region, day, id)
	case 5:
		return fmt.Sprintf(`UPDATE visits SET motto = repeat('%c', %d), legacy_only = 'x' WHERE id = %d`, 'a'+r.IntN(26), 1+r.IntN(4000), id)
	case 6:
		return fmt.Sprintf(`DELETE FROM visits WHERE id = %d`, id)
	default:
		return fmt.Sprintf(`INSERT INTO visits (id, region, day, first, last, motto, deleted_at) VALUES (%d, '%s', %d, 'new', 'one', repeat('n', %d), %s) ON CONFLICT DO NOTHING`, id, region, day, r.IntN(3000), []string{"NULL", "now()"}[r.IntN(2)])
	}
}

// stayWrite is one of the service, which takes keys of its own for what is new.
func stayWrite(r *rand.Rand) string {
	id, own, day := r.IntN(300)*10+10+r.IntN(4), 100000+r.IntN(50), r.IntN(200)
	area := []string{"a", "b", "c", "x"}[r.IntN(4)]
	switch r.IntN(7) {
	case 0, 1:
		return fmt.Sprintf(`UPDATE stays SET euros = euros + 0.01 WHERE id IN (%d, %d)`, id, own)
	case 2:
		return fmt.Sprintf(`UPDATE stays SET area = '%s', on_day = %d WHERE id = %d`, area, day, own)
	case 3:
		return fmt.Sprintf(`UPDATE stays SET head = repeat('%c', 700) WHERE id IN (%d, %d) AND tail <> ''`, 'a'+r.IntN(26), id, own) // a large tail is left alone
	case 4:
		return fmt.Sprintf(`DELETE FROM stays WHERE id IN (%d, %d)`, id, own)
	case 5:
		return fmt.Sprintf(`UPDATE stays SET full_name = 'J%d|D\' WHERE id IN (%d, %d)`, day, id, own)
	default:
		return fmt.Sprintf(`INSERT INTO stays (id, area, on_day, full_name, euros, head, tail, origin) VALUES (%d, '%s', %d, 'N|O', 1.25, repeat('h', 700), repeat('t', %d), 'le''ga\cy') ON CONFLICT DO NOTHING`, own, area, day, 1+r.IntN(4000))
	}
}

// What the one table must be of the other, written once more.
const visitsMapped = `SELECT id, region AS area, day AS on_day, first || '|' || last AS full_name, (cents / 100.0)::numeric(20,2) AS euros, left(motto, 700) AS head, substr(motto, 701) AS tail, deleted_at, 'le''ga\cy' AS origin FROM visits WHERE deleted_at IS NULL`

func (m *migration) staysExactly() {
	m.t.Helper()
	const digest = `SELECT count(*) || ' ' || md5(string_agg(format('%%s|%%s|%%s|%%L|%%s|%%L|%%L|%%s|%%L', id, area, on_day, full_name, euros, head, tail, deleted_at, origin), ',' ORDER BY id, area, on_day)) FROM (%s) t`
	legacy := ask[string](m, capability.Legacy, fmt.Sprintf(digest, visitsMapped))
	extracted := ask[string](m, capability.Extracted, fmt.Sprintf(digest, `TABLE stays`))
	if legacy != extracted {
		m.t.Errorf("legacy maps to %s, extracted has %s", legacy, extracted)
	}
}

// mends runs what the plan asks for, as it is written, until nothing stands against
// the move.
func (m *migration) mends() {
	m.t.Helper()
	for range 3 {
		_, problems, err := m.Plan(m.t.Context())
		m.must(err)
		if len(problems) == 0 {
			return
		}
		for _, p := range problems {
			side := capability.Legacy
			if strings.Contains(p.Message, "extracted database") {
				side = capability.Extracted
			}
			m.exec(side, p.Mend)
		}
	}
	_, problems, err := m.Plan(m.t.Context())
	m.must(err)
	m.t.Fatalf("the plan's mends are not enough: %v", problems)
}

// TestPartitionedTablesMoveThroughAMapping: renamed, computed both ways, selected and
// left behind, copied partition by partition under writes, followed, verified, switched
// and back, whichever side is partitioned.
func TestPartitionedTablesMoveThroughAMapping(t *testing.T) {
	inEachCapture(t, testPartitionedTablesMoveThroughAMapping)
}

func testPartitionedTablesMoveThroughAMapping(t *testing.T, kind capability.Capture) {
	for name, test := range map[string]struct{ legacy, extracted string }{
		"as it is made":    {legacy: visits},
		"into one":         {legacy: visits, extracted: plainStays},
		"from one":         {legacy: plainVisits, extracted: staysOtherwise},
		"into other parts": {legacy: visits, extracted: staysOtherwise},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newEvents(t, kind, test.legacy, test.extracted, visitsData())
			m.mends()
			stop := m.writing(capability.Legacy, visitWrite)
			end := m.follows(m.Mover)
			m.eventually("legacy has written", func() (bool, string) {
				n := ask[int](m, capability.Legacy, `SELECT count(*)::int FROM visits WHERE legacy_only = 'x'`)
				return n > 50, fmt.Sprint(n)
			})
			stop()
			m.settled(capability.Legacy)
			if v := m.verify(capability.Legacy, 0); v.Rows < 300 {
				t.Errorf("compared %d rows", v.Rows)
			}
			m.staysExactly()
			// A partition that comes gets what the mapping asks of it, before its rows change.
			if name != "from one" {
				if test.extracted == "" {
					m.exec(capability.Extracted, `CREATE TABLE stays_new PARTITION OF stays FOR VALUES IN ('new')`)
				}
				m.exec(capability.Legacy, `CREATE TABLE visits_new PARTITION OF visits FOR VALUES IN ('new'); INSERT INTO visits (id, region, day, first, last) SELECT n, 'new', 7, 'f', 'l' FROM generate_series(1, 20) n`)
				if kind == capability.CaptureWAL {
					m.eventually("old rows come whole", func() (bool, string) {
						identity := ask[string](m, capability.Legacy, `SELECT relreplident::text FROM pg_class WHERE oid = 'visits_new'::regclass`)
						return identity == "f", identity
					})
				}
				m.exec(capability.Legacy, `UPDATE visits SET deleted_at = now() WHERE region = 'new' AND id < 5; DELETE FROM visits WHERE region = 'new' AND id > 15; UPDATE visits SET region = 'a' WHERE region = 'new' AND id = 10`)
				m.settled(capability.Legacy)
				m.verify(capability.Legacy, 0)
				m.staysExactly()
			}
			const outside = `SELECT count(*) || md5(string_agg(v::text, ',' ORDER BY id, region, day)) FROM visits v WHERE deleted_at IS NOT NULL`
			stays := ask[string](m, capability.Legacy, outside)
			m.switchTo(capability.Extracted)
			stop = m.writing(capability.Extracted, stayWrite)
			m.eventually("extracted has written", func() (bool, string) {
				n := ask[int](m, capability.Extracted, `SELECT count(*)::int FROM stays WHERE full_name LIKE 'J%'`)
				return n > 50, fmt.Sprint(n)
			})
			stop()
			m.settled(capability.Extracted)
			m.verify(capability.Extracted, 0)
			m.staysExactly()
			if now := ask[string](m, capability.Legacy, outside); now != stays {
				t.Errorf("rows that do not move were %s and are %s", stays, now)
			}
			m.switchTo(capability.Legacy)
			m.exec(capability.Legacy, `UPDATE visits SET deleted_at = NULL WHERE id BETWEEN 100 AND 500; UPDATE visits SET deleted_at = now() WHERE id BETWEEN 500 AND 700; DELETE FROM visits WHERE id BETWEEN 800 AND 900`)
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
			m.staysExactly()
			end()
			m.must(m.Reset(t.Context(), false, nil))
			if name != "from one" && kind == capability.CaptureWAL {
				if identity := ask[string](m, capability.Legacy, `SELECT relreplident::text FROM pg_class WHERE oid = 'visits_new'::regclass`); identity != "d" {
					t.Errorf("after a reset the replica identity of a partition is %s", identity)
				}
			}
		})
	}
}
