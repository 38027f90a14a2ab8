package pool

import (
	"time"

	"strangler/capability"
)

// rules are what an upstream's settings say, the defaults filled in. They are
// immutable.
type rules struct {
	check     check
	ejection  capability.Ejection
	slowStart time.Duration
}

// check is how endpoints are checked.
type check struct {
	capability.Check
	host string // that is asked for; empty: the endpoint's own
}

func rulesOf(u capability.Upstream) *rules {
	r := &rules{check: check{u.Check, u.Rewrite.Host}, ejection: u.Ejection, slowStart: u.SlowStart}
	orElse(&r.check.Every, 5*time.Second)
	orElse(&r.check.Timeout, time.Second)
	orElse(&r.check.Healthy, 2)
	orElse(&r.check.Unhealthy, 3)
	orElse(&r.ejection.Failures, 5)
	orElse(&r.ejection.For, 10*time.Second)
	orElse(&r.ejection.Most, capability.Whole/2)
	return r
}

func orElse[T ~int | ~int64](value *T, otherwise T) {
	if *value <= 0 {
		*value = otherwise
	}
}

// mostEjected returns how many of so many endpoints may be ejected at once.
func (r *rules) mostEjected(endpoints int) int {
	if endpoints < 2 {
		return 0
	}
	most := endpoints * int(r.ejection.Most) / int(capability.Whole)
	return min(max(1, most), endpoints-1)
}
