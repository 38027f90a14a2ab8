package postgres

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"strangler/capability"
)

// peopleWrite is one statement of legacy on a few people, in and out of what moves.
func peopleWrite(r *rand.Rand) string {
	id, other := r.IntN(40), r.IntN(40)
	switch r.IntN(9) {
	case 0, 1:
		return fmt.Sprintf(`UPDATE people SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END, cents = cents + 1 WHERE id = %d`, id)
	case 2:
		return fmt.Sprintf(`UPDATE people SET last = 'l%d', share = %d / 8.0 WHERE id IN (%d, %d)`, r.IntN(1000), r.IntN(1000), id, other)
	case 3:
		return fmt.Sprintf(`UPDATE people SET first = repeat('%c', %d), born = '2001-01-01'::timestamp + %d * interval '1 s' WHERE id = %d`, 'a'+r.IntN(26), 1+r.IntN(6000), r.IntN(1e6), id)
	case 4:
		return fmt.Sprintf(`DELETE FROM people WHERE id = %d`, id)
	case 5, 6:
		return fmt.Sprintf(`INSERT INTO people (id, first, last, cents, deleted_at) VALUES (%d, 'new', repeat('x', %d), %d, %s) ON CONFLICT (id) DO UPDATE SET cents = excluded.cents`, id, r.IntN(5000), r.IntN(1e6), []string{"NULL", "now()"}[r.IntN(2)])
	case 7:
		return fmt.Sprintf(`UPDATE people SET id = %[2]d, deleted_at = %[3]s WHERE id = %[1]d AND NOT EXISTS (SELECT FROM people WHERE id = %[2]d)`, id, other, []string{"NULL", "now()", "deleted_at"}[r.IntN(3)])
	default:
		return fmt.Sprintf(`UPDATE people SET note = 'n%d', legacy_only = legacy_only + 1 WHERE id < %d`, r.IntN(100), id)
	}
}

// personsWrite is one statement of the service. It takes keys of its own: those of
// rows that stayed in legacy are no business of its.
func personsWrite(r *rand.Rand) string {
	id, own, other := r.IntN(40), 1000+r.IntN(30), 1000+r.IntN(30)
	switch r.IntN(7) {
	case 0, 1:
		return fmt.Sprintf(`UPDATE persons SET euros = euros + 0.01, percent = %d.0000 WHERE id IN (%d, %d)`, r.IntN(1000), id, own)
	case 2:
		return fmt.Sprintf(`UPDATE persons SET full_name = repeat('%c', %d) || E'\x1f' || 'l' WHERE id IN (%d, %d)`, 'a'+r.IntN(26), r.IntN(6000), id, own)
	case 3:
		return fmt.Sprintf(`DELETE FROM persons WHERE id IN (%d, %d)`, id, own)
	case 4, 5:
		return fmt.Sprintf(`INSERT INTO persons (id, full_name, euros, origin) VALUES (%d, E'a\x1fb', %d.25, 'le''ga\cy') ON CONFLICT (id) DO UPDATE SET part = 1.5`, own, r.IntN(1000))
	default:
		return fmt.Sprintf(`UPDATE persons SET id = %[2]d WHERE id = %[1]d AND NOT EXISTS (SELECT FROM persons WHERE id = %[2]d)`, own, other)
	}
}

// TestRandomWritesThroughTheMapping of whoever owns, from one switch to the next.
func TestRandomWritesThroughTheMapping(t *testing.T) {
	inEachCapture(t, testRandomWritesThroughTheMapping)
}

func testRandomWritesThroughTheMapping(t *testing.T, kind capability.Capture) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	m := newMigration(t, kind, people+`DELETE FROM people WHERE id >= 40`, persons()).created()
	m.exec(capability.Extracted, `ALTER TABLE persons REPLICA IDENTITY FULL`)
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	write := func(side capability.Side, one func(*rand.Rand) string) {
		for range 8 {
			var script strings.Builder
			for range 40 {
				script.WriteString("BEGIN; ")
				for range 1 + r.IntN(6) {
					script.WriteString(one(r) + "; ")
				}
				script.WriteString([]string{"COMMIT; ", "COMMIT; ", "ROLLBACK; "}[r.IntN(3)])
			}
			m.exec(side, script.String())
		}
		m.settled(side)
		m.verify(side, 0)
		m.mapsExactly("origin")
	}
	outside := func() string {
		return ask[string](m, capability.Legacy, `SELECT coalesce(md5(string_agg(p::text, ',' ORDER BY id)), '') FROM people p WHERE deleted_at IS NOT NULL`)
	}
	for range 2 {
		write(capability.Legacy, peopleWrite)
		stays := outside()
		m.switchTo(capability.Extracted)
		write(capability.Extracted, personsWrite)
		if outside() != stays {
			t.Error("rows that do not move were touched")
		}
		m.switchTo(capability.Legacy)
	}
}
