package model

import (
	"fmt"
	"math/bits"

	"strangler/capability"
)

// The promises that are checked, as the end of a story has them.
const (
	PromiseOwner    = "never do both databases take writes"
	PromiseWrites   = "no acknowledged write is lost"
	PromiseHold     = "a write that a proxy has let through meets no closing gate"
	PromiseProgress = "when everything is well again, there is a way to a side that owns"
)

// broken says which promise a state breaks, and how; empty: none.
func (m *Model) broken(s *state) (promise, how string) {
	if s.db[legacy].state != sealed && s.db[extracted].state != sealed {
		return PromiseOwner, fmt.Sprintf("legacy is %s and extracted is %s", gateStates[s.db[legacy].state], gateStates[s.db[extracted].state])
	}
	if s.failed == holdBroken {
		return PromiseHold, "every proxy has said that it holds and has no write in flight"
	}
	for _, on := range []side{legacy, extracted} {
		if missing := s.missing(on); missing != 0 && s.db[on].state != sealed {
			return PromiseWrites, s.loss(missing, on, fmt.Sprintf("whose gate is %s", gateStates[s.db[on].state]))
		}
	}
	if s.db[legacy].state != sealed || s.db[extracted].state != sealed || s.missing(legacy)|s.missing(extracted) == 0 {
		return "", ""
	}
	v := m.product.verdict(s.gate(legacy), s.gate(extracted))
	if v.Action == capability.ActionStop { // nothing is opened; somebody has to have everything
		if s.missing(legacy) != 0 && s.missing(extracted) != 0 {
			return PromiseWrites, "neither database has them all"
		}
		return "", ""
	}
	if on := sideOf(v.On); s.missing(on) != 0 {
		return PromiseWrites, s.loss(s.missing(on), on, "which is to be opened")
	}
	return "", ""
}

func (m *Model) breaks(s *state) bool {
	promise, _ := m.broken(s)
	return promise != ""
}

// missing is the acknowledged writes that a database's row was not made upon.
func (s *state) missing(on side) uint8 { return s.owed &^ s.made[s.db[on].value] }

func (s *state) loss(missing uint8, on side, which string) string {
	w := uint8(bits.TrailingZeros8(missing))
	by := legacy
	if s.origin&bit(w) != 0 {
		by = extracted
	}
	return fmt.Sprintf("write %d was acknowledged by %s, and is not in %s, %s", w, by, on, which)
}
