package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// folkAlone is folk and its table without what refers to it, and without the key that
// keeps halves from being written in any order.
const (
	folkAlone   = folk + `DROP TABLE invoices; ALTER TABLE places DROP CONSTRAINT places_person_fkey;`
	folkToAlone = folkTo + `DROP TABLE invoices;`
)

func folkAloneData() *capability.Data {
	data := folkData()
	data.Tables = append(data.Tables[:1], data.Tables[2])
	return data
}

// folkWrite is what the monolith does to both tables in one transaction: each in its
// order, and the two in any.
func folkWrite(r *rand.Rand) string {
	var persons, places []string
	for range 1 + r.IntN(6) {
		a, b := partsWrite(r)
		persons, places = append(persons, a...), append(places, b...)
	}
	var s strings.Builder
	for len(persons)+len(places) > 0 {
		list := &persons
		if len(persons) == 0 || len(places) > 0 && r.IntN(2) == 0 {
			list = &places
		}
		s.WriteString((*list)[0] + "; ")
		*list = (*list)[1:]
	}
	return s.String()
}

// TestRandomWritesToTablesThatBecomeOne of whoever owns, from one switch to the next,
// with movers that are killed.
func TestRandomWritesToTablesThatBecomeOne(t *testing.T) {
	inEachCapture(t, testRandomWritesToTablesThatBecomeOne)
}

func testRandomWritesToTablesThatBecomeOne(t *testing.T, kind capability.Capture) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	m := joined(t, kind, folkAlone+`DELETE FROM persons WHERE id >= 30; DELETE FROM places WHERE person >= 30;`, folkToAlone, folkAloneData())
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
				m.Mover = m.mover(folkAloneData(), fence)
				end = m.follows(m.Mover)
			}
		}
		m.settled(side)
		m.verify(side, 0)
		m.joinsExactly()
	}
	for range 2 {
		write(capability.Legacy, func() string { return folkWrite(r) })
		m.switchTo(capability.Extracted)
		write(capability.Extracted, func() string {
			var s strings.Builder
			for range 1 + r.IntN(6) {
				s.WriteString(accountsWrite(r) + "; ")
			}
			return s.String()
		})
		m.switchTo(capability.Legacy)
	}
}

// TestABackfillJoinsUnderLoad, and goes on when its snapshot is lost and its mover
// killed.
func TestABackfillJoinsUnderLoad(t *testing.T) { inEachCapture(t, testABackfillJoinsUnderLoad) }

func testABackfillJoinsUnderLoad(t *testing.T, kind capability.Capture) {
	data := folkAloneData()
	data.Rate = 500
	m := joined(t, kind, folkAlone+`ALTER TABLE persons ADD pad text; UPDATE persons SET pad = repeat('p', 300)`, folkToAlone+`ALTER TABLE accounts ADD pad text`, data)
	m.exec(capability.Legacy, `VACUUM FULL persons`)
	m.chunkBytes, m.snapshotAge = 48<<10, 400*time.Millisecond
	m.Mover = m.mover(data, 1)
	stop := m.folkRestless()
	end := m.start(m.Mover)
	m.copied(3)
	end()                                           // as if it were killed
	m.exec(capability.Legacy, `VACUUM FULL places`) // its rows are in another file, and nothing has changed
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
	m.joinsExactly()
}

// folkRestless writes whole persons until it is stopped.
func (m *migration) folkRestless() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	seed := rand.Uint64()
	m.t.Logf("seed %d", seed)
	for w := range uint64(2) {
		group.Go(func() {
			r := rand.New(rand.NewPCG(seed, w))
			conn, err := pgx.Connect(context.Background(), m.urls[capability.Legacy])
			if err != nil {
				m.t.Error(err)
				return
			}
			defer conn.Close(context.Background())
			for ctx.Err() == nil {
				id := 1 + r.IntN(2000)
				script := []string{
					`UPDATE persons SET pad = repeat('q', %[2]d) WHERE id = %[1]d`, // grows, and moves to another block, without its note
					`UPDATE places SET town = 'T', year = %[2]d WHERE person = %[1]d`,
					`UPDATE persons SET name = name || '.' WHERE id = %[1]d; UPDATE places SET street = repeat('t', %[2]d * 3) WHERE person = %[1]d`,
					`DELETE FROM places WHERE person = %[1]d; DELETE FROM persons WHERE id = %[1]d`,
					`WITH p AS (INSERT INTO persons VALUES (%[1]d, 'again' || %[1]d, 'again', repeat('n', %[2]d * 4)) ON CONFLICT DO NOTHING RETURNING id) INSERT INTO places (person, street) SELECT id, 's' FROM p`,
					`UPDATE persons SET id = %[1]d + 5000 WHERE id = %[1]d; UPDATE places SET person = %[1]d + 5000 WHERE person = %[1]d`,
				}[r.IntN(6)]
				_, err := conn.PgConn().Exec(context.Background(), `BEGIN; `+fmt.Sprintf(script, id, r.IntN(900))+`; COMMIT; SELECT pg_sleep(0.002)`).ReadAll()
				if err != nil {
					if code := sqlstate.Of(err); code != "40P01" && !strings.HasPrefix(code, "23") {
						m.t.Errorf("writer: %v", err)
						return
					}
					conn.PgConn().Exec(context.Background(), `ROLLBACK`).ReadAll()
				}
			}
		})
	}
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); group.Wait() }) }
	m.t.Cleanup(stop)
	return stop
}

// TestTablesThatBecomeOneAreRepaired in both directions, whole rows at a time.
func TestTablesThatBecomeOneAreRepaired(t *testing.T) {
	inEachCapture(t, testTablesThatBecomeOneAreRepaired)
}

func testTablesThatBecomeOneAreRepaired(t *testing.T, kind capability.Capture) {
	m := joined(t, kind, folkAlone, folkToAlone, folkAloneData())
	m.follows(m.Mover)
	m.rogue(capability.Extracted, `UPDATE accounts SET name = 'wrong', own = 'mine', city = 'wrong' WHERE id = 7; UPDATE accounts SET since = NULL WHERE id = 8; DELETE FROM accounts WHERE id = 9;
		INSERT INTO accounts (id, email, name, street) VALUES (90000, 'no', 'where', 'at all')`)
	m.verify(capability.Legacy, 7) // of both halves, but for the one where a half differs
	v, err := m.Repair(t.Context(), capability.Legacy, nil)
	m.must(err)
	if v.Count != 0 || v.Repaired != 4 {
		t.Errorf("repaired %d, still %d: %+v", v.Repaired, v.Count, v.Mismatches)
	}
	m.joinsExactly()
	if kept := ask[string](m, capability.Extracted, `SELECT own FROM accounts WHERE id = 7`); kept != "mine" {
		t.Errorf("a column of the service's own became %q", kept)
	}

	m.switchTo(capability.Extracted)
	m.rogue(capability.Legacy, `UPDATE persons SET name = 'wrong', legacy_only = 'mine' WHERE id = 7; UPDATE places SET year = 1 WHERE person = 7; UPDATE places SET street = 'wrong' WHERE person = 8; DELETE FROM places WHERE person = 9; DELETE FROM persons WHERE id = 10;
		INSERT INTO places (person, street) VALUES (90000, 'lone')`)
	m.verify(capability.Extracted, 6)
	v, err = m.Repair(t.Context(), capability.Extracted, nil)
	m.must(err)
	if v.Count != 0 || v.Repaired != 6 {
		t.Errorf("repaired %d, still %d: %+v", v.Repaired, v.Count, v.Mismatches)
	}
	m.joinsExactly()
	if kept := ask[string](m, capability.Legacy, `SELECT legacy_only FROM persons WHERE id = 7`); kept != "mine" {
		t.Errorf("a column that stays behind became %q", kept)
	}
}

// TestALegacyHalfThatIsAloneStopsTheStream, by name, and nothing of its transaction
// comes to the other side; nor does a repair guess what is missing.
func TestALegacyHalfThatIsAloneStopsTheStream(t *testing.T) {
	inEachCapture(t, testALegacyHalfThatIsAloneStopsTheStream)
}

func testALegacyHalfThatIsAloneStopsTheStream(t *testing.T, kind capability.Capture) {
	for name, test := range map[string]struct{ statement, want, mend string }{
		"inserted":  {`BEGIN; UPDATE persons SET name = 'x' WHERE id < 50; INSERT INTO persons (id, email, name) VALUES (9001, 'a', 'a'); COMMIT`, "it was inserted in table persons of the legacy database, and not in places", ""},
		"deleted":   {`DELETE FROM places WHERE person = 9`, "it was deleted in table places of the legacy database, and not in persons", ""},
		"truncated": {`TRUNCATE places`, "table places of the legacy database was truncated, and persons not", `TRUNCATE persons`},
		"mended":    {`INSERT INTO places (person, street) VALUES (9001, 's')`, "it was inserted in table places", `INSERT INTO persons (id, email, name) VALUES (9001, 'a', 'a'); UPDATE persons SET name = 'mended' WHERE id < 9`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := joined(t, kind, folkAlone+`DELETE FROM persons WHERE id > 50; DELETE FROM places WHERE person > 50;`, folkToAlone, folkAloneData())
			ended := make(chan error, 1)
			go func() { ended <- m.Mover.Run(t.Context()) }()
			m.eventually("both streams are live", func() (bool, string) {
				s := m.Status()
				return len(s.Streams) == 2 && s.Streams[0].Live && s.Streams[1].Live, fmt.Sprintf("%+v", s)
			})
			const digest = `SELECT md5(string_agg(a::text, ',' ORDER BY id)) FROM accounts a`
			before := ask[string](m, capability.Extracted, digest)
			m.exec(capability.Legacy, test.statement)
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "strangler data repair") {
					t.Errorf("the stream ended with %v, want %q", err, test.want)
				}
			case <-time.After(60 * time.Second):
				t.Fatalf("the stream goes on: %+v", m.Status())
			}
			if ask[string](m, capability.Extracted, digest) != before {
				t.Error("the target was changed")
			}
			m.must(m.Recover(t.Context()))
			if test.mend == "" {
				if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "are halves of one table of the other side") {
					t.Errorf("repaired half a row: %v", err)
				}
				return
			}
			m.exec(capability.Legacy, test.mend)
			m.follows(m.Mover)
			m.exec(capability.Legacy, both(`INSERT INTO persons (id, email, name) VALUES (9002, 'b', 'b')`, `INSERT INTO places (person, street) VALUES (9002, 's')`))
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
			m.joinsExactly()
		})
	}
}

// TestTablesThatBecomeOneLeaveNothing behind, neither after a reset nor when they are
// retired.
func TestTablesThatBecomeOneLeaveNothing(t *testing.T) {
	inEachCapture(t, testTablesThatBecomeOneLeaveNothing)
}

func testTablesThatBecomeOneLeaveNothing(t *testing.T, kind capability.Capture) {
	data := folkAloneData()
	m := newMigration(t, kind, folkAlone, data).created()
	legacy, extracted := m.inventory(capability.Legacy), m.inventory(capability.Extracted)
	stop := m.follows(m.Mover)
	stop()
	m.must(m.Reset(t.Context(), false, nil))
	if left := slices.Concat(gone(legacy, m.inventory(capability.Legacy)), gone(extracted, m.inventory(capability.Extracted))); len(left) > 0 {
		t.Errorf("after a reset:\n%s", strings.Join(left, "\n"))
	}
	m.exec(capability.Extracted, `TRUNCATE accounts`)
	m.Mover = m.mover(data, 2)
	stop = m.owned()
	m.exec(capability.Extracted, `INSERT INTO accounts (id, email, name, street) VALUES (9001, 'a', 'a', 's')`)
	m.settled(capability.Extracted)
	stop()
	m.must(errors.Join(m.Retire(t.Context(), false, quiet), m.Forget(t.Context(), false, quiet)))
	if left := gone(extracted, m.inventory(capability.Extracted)); len(left) > 0 {
		t.Errorf("after it was retired, in extracted:\n%s", strings.Join(left, "\n"))
	}
	for _, table := range []string{"persons", "places"} {
		if n := ask[int](m, capability.Legacy, `SELECT count(*)::int FROM `+migrate.ArchiveSchema(m.name)+`.`+table); n != 2001 {
			t.Errorf("the archive has %d rows of %s", n, table)
		}
	}
}

// TestACopyCountsHalves: what the plan has not seen is refused under the snapshot, and
// copied when it is mended.
func TestACopyCountsHalves(t *testing.T) { inEachCapture(t, testACopyCountsHalves) }

func testACopyCountsHalves(t *testing.T, kind capability.Capture) {
	data := folkAloneData()
	m := joined(t, kind, folkAlone+`DELETE FROM places WHERE person IN (7, 8); DELETE FROM persons WHERE id = 9;`, folkToAlone, data)
	const want = "2 rows of persons have no row in places under their key (id), and 1 of places none in persons"
	if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("it runs with %v", err)
	}
	m.exec(capability.Legacy, `INSERT INTO places (person, street) VALUES (7, 's'), (8, 's'); DELETE FROM places WHERE person = 9`)
	m.chunkBytes, data.Rate = 48<<10, 500
	m.Mover = m.mover(data, 2)
	end := m.start(m.Mover)
	m.copied(2)
	end()
	m.exec(capability.Legacy, `INSERT INTO persons (id, email, name) VALUES (9001, 'a', 'a')`) // after what the stream begins with
	m.Mover = m.mover(data, 3)
	if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "1 rows of persons have no row in places") {
		t.Fatalf("it goes on with %v", err)
	}
	if n := ask[int](m, capability.Extracted, `SELECT count(*)::int FROM accounts WHERE id = 9001`); n != 0 {
		t.Error("half a row was copied")
	}
}

// TestATableThatBecomesOneIsAltered while it is followed: a column that one half gets
// is told, and goes there and back when the other side has it.
func TestATableThatBecomesOneIsAltered(t *testing.T) {
	inEachCapture(t, testATableThatBecomesOneIsAltered)
}

func testATableThatBecomesOneIsAltered(t *testing.T, kind capability.Capture) {
	m := joined(t, kind, folkAlone, folkToAlone, folkAloneData())
	m.follows(m.Mover)
	m.exec(capability.Legacy, `ALTER TABLE places ADD extra int DEFAULT 5; UPDATE places SET extra = 6 WHERE person < 10; UPDATE persons SET name = 'x' WHERE id = 11`)
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
	m.exec(capability.Extracted, `ALTER TABLE accounts ADD extra int DEFAULT 5`)
	m.eventually("it follows", func() (bool, string) {
		s := m.Status()
		return s.Phase == capability.PhaseFollowing && len(s.Streams) == 2 && s.Streams[0].Live && s.Streams[1].Live, fmt.Sprintf("%+v", s)
	})
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.switchTo(capability.Extracted)
	m.exec(capability.Extracted, `UPDATE accounts SET extra = 7 WHERE id = 20; INSERT INTO accounts (id, email, name, street, extra) VALUES (9001, 'a', 'a', 's', 8)`)
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	m.joinsExactly()
	if sum := ask[string](m, capability.Legacy, `SELECT string_agg(extra::text, ',' ORDER BY person) FROM places WHERE person IN (9, 11, 20, 9001)`); sum != "6,5,7,8" {
		t.Errorf("extra is %s", sum)
	}
}

// TestACopyOfTablesThatBecomeOne stays legacy's, whoever owns the rest.
func TestACopyOfTablesThatBecomeOne(t *testing.T) {
	inEachCapture(t, testACopyOfTablesThatBecomeOne)
}

func testACopyOfTablesThatBecomeOne(t *testing.T, kind capability.Capture) {
	data := folkAloneData()
	for i := range data.Tables {
		data.Tables[i].Mode = capability.Copy
	}
	data.Tables = append(data.Tables, capability.Table{Table: "things"})
	const things = `CREATE TABLE things (id int PRIMARY KEY);`
	m := joined(t, kind, folkAlone+things, folkToAlone+things, data)
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	m.switchTo(capability.Extracted)
	m.exec(capability.Legacy, both(`INSERT INTO persons (id, email, name) VALUES (9001, 'a', 'a')`, `INSERT INTO places (person, street) VALUES (9001, 's')`)+`UPDATE places SET town = 'x' WHERE person < 50`)
	m.exec(capability.Extracted, `INSERT INTO things VALUES (1)`)
	m.settled(capability.Legacy)
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	m.joinsExactly()
	m.rogue(capability.Extracted, `DELETE FROM accounts WHERE id = 9; UPDATE accounts SET city = 'y' WHERE id = 10`)
	m.verify(capability.Extracted, 3)
	v, err := m.Repair(t.Context(), capability.Extracted, nil)
	m.must(err)
	if v.Count != 0 || v.Repaired != 2 {
		t.Errorf("repaired %d, still %d: %+v", v.Repaired, v.Count, v.Mismatches)
	}
	m.joinsExactly()
}
