package pool

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"strangler/capability"
)

// zoned are so many instances in zone a, and after them so many in zone b.
func zoned(a, b int) []capability.Instance {
	all := some(a + b)
	for i := range all {
		all[i].Zone = "a"
		if i >= a {
			all[i].Zone = "b"
		}
	}
	return all
}

var zoneCases = []struct {
	name     string
	zone     string
	a, b     int
	down     []int   // by number
	local    float64 // what zone a gets
	inTheEnd bool    // health is ignored
}{
	{"no zone of one's own", "", 2, 2, nil, 0.5, false},
	{"the own zone first", "a", 2, 2, nil, 1, false},
	{"even if it is small", "a", 1, 9, nil, 1, false},
	{"nobody there", "c", 2, 2, nil, 0.5, false},
	{"half of it is well", "a", 2, 2, []int{0}, 1, false},
	{"less than half of it is well", "a", 3, 3, []int{0, 1}, 0.25, false},
	{"none of it is well", "a", 2, 2, []int{0, 1}, 0, false},
	{"others do not count while it is well", "a", 4, 10, []int{4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, 1, false},
	{"too few everywhere", "a", 4, 4, []int{0, 1, 2, 4, 5}, 0.5, true},
	{"half of all", "", 2, 2, []int{0, 1}, 0, false},
	{"none at all", "", 2, 2, []int{0, 1, 2, 3}, 0.5, true},
	{"the only one", "", 1, 0, []int{0}, 1, true},
}

func TestZonesAndPanic(t *testing.T) {
	for _, c := range zoneCases {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			u := capability.Upstream{Check: capability.Check{Path: "/", Unhealthy: 1, Healthy: 1}}
			o := Options{Zone: c.zone, Log: slog.New(slog.NewTextHandler(&log, nil))}
			p, _ := poolOf(u, o, zoned(c.a, c.b)...)
			for _, n := range c.down {
				p.checked(p.the(t, at(n)), p.rules.Load(), "down")
			}
			local := 0.0
			for address, share := range shares(p, 8_000) {
				for n := range c.a {
					if address == at(n) {
						local += share
					}
				}
			}
			if !near(local, c.local, 0.03) {
				t.Errorf("zone a got %.3f, want %.3f", local, c.local)
			}
			if got := p.Endpoints()[0].Ignored; got != c.inTheEnd {
				t.Errorf("health ignored: %v", got)
			}
			if n := strings.Count(log.String(), "ignoring the health"); n > 1 || (n == 1) != c.inTheEnd {
				t.Errorf("said %d times:\n%s", n, &log)
			}
			for _, n := range c.down {
				p.checked(p.the(t, at(n)), p.rules.Load(), "")
			}
			if p.Endpoints()[0].Ignored {
				t.Error("still ignored with all well")
			}
			if n := strings.Count(log.String(), "minding the health"); (n == 1) != c.inTheEnd {
				t.Errorf("the end was said %d times", n)
			}
		})
	}
}

// Retries leave the zone before they go to those that are not well.
func TestRetriesLeaveTheZone(t *testing.T) {
	u := capability.Upstream{Check: capability.Check{Path: "/", Unhealthy: 1}}
	p, _ := poolOf(u, Options{Zone: "a"}, zoned(2, 1)...)
	p.checked(p.the(t, at(1)), p.rules.Load(), "down")
	var tried []*Endpoint
	for _, want := range []string{at(0), at(2), at(1)} {
		e := p.Pick(tried)
		if e == nil || e.Address() != want {
			t.Fatalf("after %d: %v, want %s", len(tried), e, want)
		}
		tried = append(tried, e)
	}
}
