package postgres

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"strangler/migrate"
)

// TestAHalfThatIsAloneStopsTheStream, by name, and nothing of its transaction comes
// to the other side.
func TestAHalfThatIsAloneStopsTheStream(t *testing.T) {
	inEachCapture(t, testAHalfThatIsAloneStopsTheStream)
}

func testAHalfThatIsAloneStopsTheStream(t *testing.T, kind capability.Capture) {
	for name, test := range map[string]struct{ statement, want, mend string }{
		"inserted": {`BEGIN; UPDATE persons SET name = 'x' WHERE id < 50; INSERT INTO persons (id, email, name) VALUES (9001, 'a', 'a'); COMMIT`, "it was inserted in table persons of the extracted database, and not in places", ""},
		"deleted":  {`DELETE FROM places WHERE person = 9`, "it was deleted in table places of the extracted database, and not in persons", ""},
		"rekeyed":  {`UPDATE places SET person = 9001 WHERE person = 9`, "it has got another key in table places", ""},
		// The other half is written when it is seen, and the streams begin anew.
		"truncated": {`TRUNCATE places`, "table places of the extracted database was truncated, and persons not", `TRUNCATE persons`},
		"mended":    {`INSERT INTO places (person, street) VALUES (9001, 's')`, "it was inserted in table places", `INSERT INTO persons (id, email, name) VALUES (9001, 'a', 'a'); UPDATE persons SET name = 'mended' WHERE id < 9`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := accountsData()
			data.Tables = append(data.Tables[:1], data.Tables[2])
			m := newMigration(t, kind, accounts+`DROP TABLE invoices; DELETE FROM accounts WHERE id > 50;`, data).created()
			ended := make(chan error, 1)
			go func() { ended <- m.Mover.Run(t.Context()) }()
			m.eventually("both streams are live", func() (bool, string) {
				s := m.Status()
				return len(s.Streams) == 2 && s.Streams[0].Live && s.Streams[1].Live, fmt.Sprintf("%+v", s)
			})
			m.verify(capability.Legacy, 0)
			m.switchTo(capability.Extracted)
			const digest = `SELECT md5(string_agg(a::text, ',' ORDER BY id)) FROM accounts a`
			before := ask[string](m, capability.Legacy, digest)
			m.exec(capability.Extracted, test.statement)
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "strangler data repair") || name != "truncated" && !strings.Contains(err.Error(), "row sha256:") {
					t.Errorf("the stream ended with %v, want %q", err, test.want)
				}
			case <-time.After(60 * time.Second):
				t.Fatalf("the stream goes on: %+v", m.Status())
			}
			if ask[string](m, capability.Legacy, digest) != before {
				t.Error("the target was changed")
			}
			m.must(m.Recover(t.Context()))
			if test.mend == "" { // nothing is guessed by a repair either
				if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "are halves of one table of the other side") {
					t.Errorf("repaired half a row: %v", err)
				}
				return
			}
			m.exec(capability.Extracted, test.mend)
			m.follows(m.Mover)
			m.exec(capability.Extracted, both(`INSERT INTO persons (id, email, name) VALUES (9002, 'b', 'b')`, `INSERT INTO places (person, street) VALUES (9002, 's')`))
			m.settled(capability.Extracted)
			m.verify(capability.Extracted, 0)
			m.dividesExactly()
		})
	}
}

// TestADividedTableIsRepaired in both directions, whole rows at a time.
func TestADividedTableIsRepaired(t *testing.T) { inEachCapture(t, testADividedTableIsRepaired) }

func testADividedTableIsRepaired(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, accounts, accountsData()).created()
	m.follows(m.Mover)
	m.rogue(capability.Extracted, `UPDATE persons SET name = 'wrong' WHERE id = 7; UPDATE places SET year = 1 WHERE person = 7; UPDATE places SET origin = 'wrong' WHERE person = 8; DELETE FROM persons WHERE id = 9; DELETE FROM places WHERE person = 10;
		INSERT INTO places (person, street) VALUES (90000, 'nowhere')`)
	m.verify(capability.Legacy, 6)
	v, err := m.Repair(t.Context(), capability.Legacy, nil)
	m.must(err)
	if v.Count != 0 || v.Repaired != 6 {
		t.Errorf("repaired %d, still %d: %+v", v.Repaired, v.Count, v.Mismatches)
	}
	m.dividesExactly()

	m.switchTo(capability.Extracted)
	m.rogue(capability.Legacy, `UPDATE accounts SET name = 'wrong', legacy_only = 'mine' WHERE id = 7; UPDATE accounts SET city = 'wrong' WHERE id = 7; UPDATE accounts SET street = 'wrong' WHERE id = 8; DELETE FROM invoices WHERE id = 9; DELETE FROM accounts WHERE id = 9;
		INSERT INTO accounts (id, email, name, street) VALUES (90000, 'no', 'where', 'at all'); UPDATE accounts SET email = 'c9' WHERE id = 11`)
	m.verify(capability.Extracted, 8+1) // of both parts, but for those where one differs; and an invoice
	v, err = m.Repair(t.Context(), capability.Extracted, nil)
	m.must(err)
	if v.Count != 0 || v.Repaired != 5+1 {
		t.Errorf("repaired %d, still %d: %+v", v.Repaired, v.Count, v.Mismatches)
	}
	m.dividesExactly()
	if kept := ask[string](m, capability.Legacy, `SELECT legacy_only FROM accounts WHERE id = 7`); kept != "mine" {
		t.Errorf("a column that stays behind became %q", kept)
	}
}

// TestABackfillGoesOnIntoParts when its snapshot is lost and its mover killed, under
// load.
func TestABackfillGoesOnIntoParts(t *testing.T) { inEachCapture(t, testABackfillGoesOnIntoParts) }

func testABackfillGoesOnIntoParts(t *testing.T, kind capability.Capture) {
	data := &capability.Data{State: capability.DataRunning, Gap: 10000, TableLine: 7, Rate: 500, Tables: []capability.Table{
		{Table: "things", As: "stuff", Omit: []string{"pad", "big"}, Columns: map[string]string{"n": "times"}},
		{Table: "notes"},
		{Table: "things", As: "ballast", Omit: []string{"n", "rank", "kind"}, Columns: map[string]string{"part": "of", "id": "nr"}},
		{Table: "kinds", Mode: capability.Copy}},
		Border: []capability.Border{{Constraint: "things_kind_fkey", AtSwitch: capability.BorderDrop}}}
	m := newMigration(t, kind, restlessShop+restlessRows(300), data).created()
	m.chunkBytes, m.snapshotAge = 48<<10, 400*time.Millisecond
	m.Mover = m.mover(data, 1)
	stop := m.restless()
	end := m.start(m.Mover)
	m.copied(3)
	end() // as if it were killed
	m.Mover = m.mover(data, 2)
	end = m.start(m.Mover)
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
	legacy := ask[string](m, capability.Legacy, fmt.Sprintf(sum, `SELECT part, id, n, pad, big, rank, kind FROM things`))
	extracted := ask[string](m, capability.Extracted, fmt.Sprintf(sum, `SELECT part, id, times, pad, big, rank, kind FROM stuff FULL JOIN ballast ON nr = id AND of = part`))
	if legacy != extracted || strings.HasPrefix(legacy, "0 ") {
		t.Errorf("things are %s, their parts %s", legacy, extracted)
	}
}

// TestADividedTableLeavesNothing behind, neither after a reset nor when it is retired.
func TestADividedTableLeavesNothing(t *testing.T) { inEachCapture(t, testADividedTableLeavesNothing) }

func testADividedTableLeavesNothing(t *testing.T, kind capability.Capture) {
	data := accountsData()
	data.Tables = append(data.Tables[:1], data.Tables[2])
	m := newMigration(t, kind, accounts+`DROP TABLE invoices;`, data)
	legacy := m.inventory(capability.Legacy)
	m.created()
	extracted := m.inventory(capability.Extracted)
	stop := m.follows(m.Mover)
	stop()
	m.must(m.Reset(t.Context(), false, nil))
	if left := slices.Concat(gone(legacy, m.inventory(capability.Legacy)), gone(extracted, m.inventory(capability.Extracted))); len(left) > 0 {
		t.Errorf("after a reset:\n%s", strings.Join(left, "\n"))
	}
	m.exec(capability.Extracted, `TRUNCATE persons, places`)
	m.Mover = m.mover(data, 2)
	stop = m.owned()
	m.exec(capability.Extracted, both(`INSERT INTO persons VALUES (9001, 'a', 'a')`, `INSERT INTO places VALUES (9001, 's')`))
	m.settled(capability.Extracted)
	stop()
	m.must(errors.Join(m.Retire(t.Context(), false, quiet), m.Forget(t.Context(), false, quiet)))
	if left := gone(extracted, m.inventory(capability.Extracted)); len(left) > 0 {
		t.Errorf("after it was retired, in extracted:\n%s", strings.Join(left, "\n"))
	}
	if n := ask[int](m, capability.Legacy, `SELECT count(*)::int FROM `+migrate.ArchiveSchema(m.name)+`.accounts`); n != 2001 {
		t.Errorf("the archive has %d accounts", n)
	}
}

// TestPartsOfRowsThatMove: rows that a condition leaves in legacy are nobody's to
// touch, in either part.
func TestPartsOfRowsThatMove(t *testing.T) { inEachCapture(t, testPartsOfRowsThatMove) }

func testPartsOfRowsThatMove(t *testing.T, kind capability.Capture) {
	data := accountsData()
	data.Tables = append(data.Tables[:1], data.Tables[2])
	for i := range data.Tables {
		data.Tables[i].Where = "legacy_only = 'kept'"
	}
	m := newMigration(t, kind, accounts+`DROP TABLE invoices; ALTER TABLE accounts REPLICA IDENTITY FULL; UPDATE accounts SET legacy_only = 'stays' WHERE id % 4 = 0;`, data).created()
	m.follows(m.Mover)
	m.exec(capability.Legacy, `UPDATE accounts SET legacy_only = 'kept' WHERE id < 100; UPDATE accounts SET legacy_only = 'stays', name = 'x' WHERE id BETWEEN 200 AND 220; DELETE FROM accounts WHERE id BETWEEN 300 AND 330`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	const outside = `SELECT count(*) || md5(string_agg(a::text, ',' ORDER BY id)) FROM accounts a WHERE legacy_only <> 'kept'`
	stays := ask[string](m, capability.Legacy, outside)
	m.switchTo(capability.Extracted)
	m.exec(capability.Extracted, both(`INSERT INTO persons VALUES (9001, 'a', 'a')`, `INSERT INTO places VALUES (9001, 's')`)+both(`DELETE FROM places WHERE person = 7`, `DELETE FROM persons WHERE id = 7`))
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	m.exec(capability.Extracted, both(`TRUNCATE places`, `TRUNCATE persons`)+both(`INSERT INTO persons VALUES (1, 'a', 'a')`, `INSERT INTO places VALUES (1, 's')`))
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	if now := ask[string](m, capability.Legacy, outside); now != stays {
		t.Errorf("rows that do not move were %s and are %s", stays, now)
	}
	if n := ask[int](m, capability.Legacy, `SELECT count(*)::int FROM accounts WHERE legacy_only = 'kept'`); n != 1 {
		t.Errorf("%d rows that move", n)
	}
}

// TestADividedTableIsAltered while it is followed: a column that the legacy table gets
// is told once, and goes to the part that gets it.
func TestADividedTableIsAltered(t *testing.T) { inEachCapture(t, testADividedTableIsAltered) }

func testADividedTableIsAltered(t *testing.T, kind capability.Capture) {
	data := accountsData()
	data.Tables = append(data.Tables[:1], data.Tables[2])
	m := newMigration(t, kind, accounts+`DROP TABLE invoices;`, data).created()
	m.follows(m.Mover)
	m.exec(capability.Legacy, `ALTER TABLE accounts ADD extra int DEFAULT 5; UPDATE accounts SET extra = 6 WHERE id < 10; UPDATE accounts SET name = 'x' WHERE id = 11`)
	m.eventually("it waits", func() (bool, string) {
		s := m.Status()
		if s.Phase == capability.PhaseFailed {
			t.Fatal(s.Error)
		}
		return s.Phase == capability.PhaseWaiting, fmt.Sprintf("%+v", s)
	})
	if why := m.Status().Error; strings.Count(why, "ADD COLUMN extra integer") != 1 {
		t.Errorf("it waits for: %s", why)
	}
	m.exec(capability.Extracted, `ALTER TABLE places ADD extra int DEFAULT 5`)
	m.eventually("it follows", func() (bool, string) {
		s := m.Status()
		return s.Phase == capability.PhaseFollowing && len(s.Streams) == 2 && s.Streams[0].Live && s.Streams[1].Live, fmt.Sprintf("%+v", s)
	})
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.switchTo(capability.Extracted)
	m.exec(capability.Extracted, `UPDATE places SET extra = 7 WHERE person = 20;`+both(`INSERT INTO persons VALUES (9001, 'a', 'a')`, `INSERT INTO places (person, street, extra) VALUES (9001, 's', 8)`))
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	m.dividesExactly()
	if sum := ask[string](m, capability.Legacy, `SELECT string_agg(extra::text, ',' ORDER BY id) FROM accounts WHERE id IN (9, 11, 20, 9001)`); sum != "6,5,7,8" {
		t.Errorf("extra is %s", sum)
	}
}

// accountsWrite is one statement of the monolith.
func accountsWrite(r *rand.Rand) string {
	id, other := 1+r.IntN(40), 1+r.IntN(40)
	switch r.IntN(6) {
	case 0, 1:
		return fmt.Sprintf(`INSERT INTO accounts (id, email, name, note, street, since) VALUES (%d, md5(random()::text), 'n', repeat('n', %d), repeat('s', %d), '2020-01-01') ON CONFLICT (id) DO UPDATE SET name = excluded.name || '+'`, id, r.IntN(6000), r.IntN(6000))
	case 2:
		return fmt.Sprintf(`UPDATE accounts SET city = 'c%d' WHERE id IN (%d, %d)`, r.IntN(100), id, other)
	case 3:
		return fmt.Sprintf(`UPDATE accounts SET note = repeat('m', %d) WHERE id = %d`, r.IntN(6000), id)
	case 4:
		return fmt.Sprintf(`DELETE FROM accounts WHERE id = %d`, id)
	default:
		return fmt.Sprintf(`UPDATE accounts SET id = %[2]d WHERE id = %[1]d AND NOT EXISTS (SELECT FROM accounts WHERE id = %[2]d)`, id, other)
	}
}

// partsWrite is what the service does to a few accounts: each half for itself, and
// the one some statements before the other.
func partsWrite(r *rand.Rand) (person, place []string) {
	id, other := 1+r.IntN(40), 1+r.IntN(40)
	add := func(a, b string) { person, place = append(person, a), append(place, b) }
	switch r.IntN(8) {
	case 0, 1, 2:
		add(fmt.Sprintf(`INSERT INTO persons VALUES (%d, md5(random()::text), 'p', repeat('n', %d)) ON CONFLICT (id) DO UPDATE SET name = 'again'`, id, r.IntN(6000)),
			fmt.Sprintf(`INSERT INTO places (person, street, year, origin) VALUES (%d, repeat('t', %d), %d, 'legacy') ON CONFLICT (person) DO UPDATE SET town = 'again'`, id, r.IntN(6000), r.IntN(9999)))
	case 3:
		add(fmt.Sprintf(`DELETE FROM persons WHERE id = %d`, id), fmt.Sprintf(`DELETE FROM places WHERE person = %d`, id))
	case 4:
		add(fmt.Sprintf(`UPDATE persons SET id = %[2]d WHERE id = %[1]d AND NOT EXISTS (SELECT FROM persons WHERE id = %[2]d)`, id, other),
			fmt.Sprintf(`UPDATE places SET person = %[2]d WHERE person = %[1]d AND NOT EXISTS (SELECT FROM places WHERE person = %[2]d)`, id, other))
	case 5:
		person = append(person, fmt.Sprintf(`UPDATE persons SET name = name || '.' WHERE id IN (%d, %d)`, id, other))
	case 6: // saved by replacing
		person = append(person, fmt.Sprintf(`WITH gone AS (DELETE FROM persons WHERE id = %d RETURNING id) SELECT 1`, 1000), fmt.Sprintf(`UPDATE persons SET note = repeat('o', %d) WHERE id = %d`, r.IntN(5000), id))
		place = append(place, fmt.Sprintf(`CREATE TEMP TABLE saved ON COMMIT DROP AS SELECT * FROM places WHERE person = %[1]d; DELETE FROM places WHERE person = %[1]d; INSERT INTO places SELECT * FROM saved; DROP TABLE saved`, id))
	default:
		place = append(place, fmt.Sprintf(`UPDATE places SET town = 't%d', year = %d WHERE person IN (%d, %d)`, r.IntN(100), r.IntN(999), id, other))
	}
	return person, place
}

// TestRandomWritesToBothHalves of whoever owns, from one switch to the next, with
// movers that are killed.
func TestRandomWritesToBothHalves(t *testing.T) { inEachCapture(t, testRandomWritesToBothHalves) }

func testRandomWritesToBothHalves(t *testing.T, kind capability.Capture) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	data := accountsData()
	data.Tables = append(data.Tables[:1], data.Tables[2])
	m := newMigration(t, kind, accounts+`DROP TABLE invoices; DELETE FROM accounts WHERE id >= 30; ALTER TABLE accounts ALTER street DROP NOT NULL;`, data).created()
	end := m.follows(m.Mover)
	fence := uint64(1)
	m.verify(capability.Legacy, 0)
	write := func(side capability.Side, script func() string) {
		for round := range 6 {
			var scripts strings.Builder
			for range 30 {
				scripts.WriteString("BEGIN; " + script() + []string{"COMMIT; ", "COMMIT; ", "ROLLBACK; "}[r.IntN(3)])
			}
			if round == 3 {
				end()
			}
			m.exec(side, scripts.String())
			if round == 3 {
				fence++
				m.Mover = m.mover(data, fence)
				end = m.follows(m.Mover)
			}
		}
		m.settled(side)
		m.verify(side, 0)
		m.dividesExactly()
	}
	for range 2 {
		write(capability.Legacy, func() string {
			var s strings.Builder
			for range 1 + r.IntN(6) {
				s.WriteString(accountsWrite(r) + "; ")
			}
			return s.String()
		})
		m.switchTo(capability.Extracted)
		write(capability.Extracted, func() string {
			var persons, places []string
			for range 1 + r.IntN(6) {
				a, b := partsWrite(r)
				persons, places = append(persons, a...), append(places, b...)
			}
			var s strings.Builder
			for len(persons)+len(places) > 0 { // each half in its order, and the two in any
				list := &persons
				if len(persons) == 0 || len(places) > 0 && r.IntN(2) == 0 {
					list = &places
				}
				s.WriteString((*list)[0] + "; ")
				*list = (*list)[1:]
			}
			return s.String()
		})
		m.switchTo(capability.Legacy)
	}
}
