package migrate

import (
	"testing"
	"time"
)

// TestTheLagIsThatOfTheOldest transaction which is not applied, however many are.
func TestTheLagIsThatOfTheOldest(t *testing.T) {
	t.Parallel()
	var c lagClock
	begun := time.Now()
	at := func(n int) time.Time { return begun.Add(time.Duration(n) * time.Second) }
	lag := func(want int) {
		t.Helper()
		if got := c.lag(at(10)); got != time.Duration(want)*time.Second {
			t.Errorf("lag %s, not %d s", got, want)
		}
	}
	lag(0)
	c.note(100, 2*time.Second, at(1)) // two seconds old when it came
	c.note(110, -time.Second, at(4))  // a clock that is ahead
	c.note(120, 0, at(4).Add(lagGrain/2))
	c.note(130, 0, at(7))
	lag(11)
	c.clear(100) // the first is still to come
	lag(11)
	c.clear(111)
	lag(6) // one that came with it is not applied
	c.clear(131)
	lag(0)
	c.note(140, 0, at(9))
	lag(1)
}
