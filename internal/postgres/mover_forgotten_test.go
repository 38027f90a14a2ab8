package postgres

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/migrate"
)

// TestWhatWasComparedIsForgotten: which rows have changed since they were compared is
// known to a mover while its streams run, and to nobody afterwards. Then nothing
// counts as compared, and only a full verification finds what has gone wrong.
func TestWhatWasComparedIsForgotten(t *testing.T) { inEachCapture(t, testWhatWasComparedIsForgotten) }

func testWhatWasComparedIsForgotten(t *testing.T, kind capability.Capture) {
	for name, next := range map[string]func(m *migration) *migrate.Mover{
		"the controller starts anew":     func(m *migration) *migrate.Mover { return m.mover(shopData(), 2) },
		"the move is paused and resumed": func(m *migration) *migrate.Mover { return m.Mover },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, kind, shop, shopData()).created()
			compared := func() (bool, string) {
				n := m.UnverifiedKeys(capability.Legacy)
				return n == 0, fmt.Sprint(n)
			}
			stop := m.follows(m.Mover)
			m.verify(capability.Legacy, 0)
			m.exec(capability.Legacy, `UPDATE orders SET total = total + 1 WHERE id <= 10`)
			m.settled(capability.Legacy)
			m.eventually("all changed rows are compared", compared)
			stop()

			m.exec(capability.Legacy, `UPDATE orders SET total = total + 1 WHERE id = 11`)
			m.rogue(capability.Extracted, `UPDATE orders SET total = 7.5 WHERE id = 12`)
			m.Mover = next(m)
			m.follows(m.Mover)
			m.settled(capability.Legacy)
			for _, side := range capability.Sides {
				if n := m.UnverifiedKeys(side); n != math.MaxInt {
					t.Errorf("%d rows from %s are unverified, though nobody can know", n, side)
				}
			}
			if v := m.Status().Verify; v != nil {
				t.Errorf("a verification counts that was before: %+v", v)
			}
			if _, err := m.VerifyChanged(t.Context(), capability.Legacy); err == nil || !strings.Contains(err.Error(), "full verification") {
				t.Errorf("the changed rows were compared: %v", err)
			}

			if v := m.verify(capability.Legacy, 1); v.Mismatches[0].Key != "id=12" {
				t.Errorf("found %+v", v.Mismatches)
			}
			m.exec(capability.Legacy, `UPDATE orders SET total = 12 WHERE id = 12`)
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
			m.eventually("all changed rows are compared", compared)
			if mismatches, err := m.VerifyChanged(t.Context(), capability.Legacy); err != nil || len(mismatches) > 0 {
				t.Errorf("found %+v, %v", mismatches, err)
			}
		})
	}
}
