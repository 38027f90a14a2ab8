package breaker

import (
	"fmt"
	"math"
	"time"

	"strangler/capability"
)

// complete fills in what a document leaves out: half of at least 20 requests
// within 10 s, open for 5 s and up to ten times that, then 3 trials.
func complete(s capability.Breaker) capability.Breaker {
	if !(s.Ratio > 0 && s.Ratio <= 1) {
		s.Ratio = 0.5
	}
	if !(s.SlowRatio > 0 && s.SlowRatio <= 1) {
		s.SlowRatio = s.Ratio
	}
	if s.Requests <= 0 {
		s.Requests = 20
	}
	if s.Window <= 0 {
		s.Window = 10 * time.Second
	}
	if s.OpenFor <= 0 {
		s.OpenFor = 5 * time.Second
	}
	if s.OpenMost <= 0 {
		s.OpenMost = 10 * min(s.OpenFor, math.MaxInt64/20)
	}
	s.OpenMost = max(s.OpenMost, s.OpenFor)
	if s.Trials <= 0 {
		s.Trials = 3
	}
	s.Trials = min(s.Trials, math.MaxInt32)
	return s
}

// openTime is that of the nth opening in a row, counted from 1. The spread is a
// factor: many proxies that opened together should not try again together.
func openTime(s capability.Breaker, n int, spread float64) time.Duration {
	d := s.OpenFor
	for ; n > 1 && d < s.OpenMost; n-- {
		if d > s.OpenMost/2 {
			d = s.OpenMost
			break
		}
		d *= 2
	}
	return time.Duration(min(float64(d)*spread, math.MaxInt64/2))
}

// trips returns why counts open a breaker, or an empty string. It divides and does
// not multiply: the quotient nearest to 3/30 is the number that 0.1 reads as.
func trips(s *capability.Breaker, c *counts, failure string) string {
	if c.done < s.Requests {
		return ""
	}
	done := float64(c.done)
	if c.failed > 0 && float64(c.failed)/done >= s.Ratio {
		return fmt.Sprintf("%d of %d requests failed within %v; the last: %s", c.failed, c.done, s.Window, failure)
	}
	if c.slow > 0 && float64(c.slow)/done >= s.SlowRatio {
		return fmt.Sprintf("%d of %d answers within %v took longer than %v to begin", c.slow, c.done, s.Window, s.Slow)
	}
	return ""
}
