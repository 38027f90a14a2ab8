package main

import (
	"context"
	"fmt"
)

// counts is what a capability's two breakers hold in their windows. Those of the matrix never open and forget nothing
// within a run, so what one fault adds can be told to the last request.
type counts struct {
	Requests, Failures int // of the extracted side; a failure of the monolith, which has none, would show among them
	Legacy             int // requests of the monolith's
	Broken             int // requests that may count as failures, or not: their answer had begun when it broke off
}

// hears is what the breakers hear of one trial: each request once, whatever was tried in between, and besides it the
// request that warmed the connection up.
func (c trial) hears() counts {
	n := counts{Requests: 1}
	if c.warm {
		n.Requests++
	}
	if c.mended() {
		n.Legacy = 1
	}
	switch own := c.unmended(); {
	case own.broken:
		n.Broken = 1
	case own.status >= 500:
		n.Failures = 1
	}
	return n
}

// unmended is what the extracted side makes of it.
func (c trial) unmended() outcome {
	if c.shape.read {
		return c.fault.read
	}
	return c.fault.write
}

func (n counts) plus(other counts) counts {
	return counts{n.Requests + other.Requests, n.Failures + other.Failures, n.Legacy + other.Legacy, n.Broken + other.Broken}
}

// breakers reads what every capability's breakers hold.
func (s *strangler) breakers(ctx context.Context) (map[string]counts, error) {
	var all []struct {
		Capability, Side, State string
		Requests, Failures      int
	}
	if err := s.decode(ctx, "/proxy/breakers", &all); err != nil {
		return nil, err
	}
	held := map[string]counts{}
	for _, b := range all {
		n := held[b.Capability]
		if b.Side == legacy {
			n.Legacy, n.Failures = b.Requests, n.Failures+b.Failures
		} else {
			n.Requests, n.Failures = b.Requests, n.Failures+b.Failures
		}
		held[b.Capability] = n
	}
	return held, nil
}

// counted compares what a fault added to the breakers with what it had to add.
func counted(capability string, before, after, want counts) error {
	got := counts{Requests: after.Requests - before.Requests, Failures: after.Failures - before.Failures, Legacy: after.Legacy - before.Legacy}
	if got.Requests != want.Requests || got.Legacy != want.Legacy || got.Failures < want.Failures || got.Failures > want.Failures+want.Broken {
		return mismatch{
			fmt.Sprintf("the breakers of %s to hear of %d requests, %d to %d of them failures, and of %d at the monolith", capability, want.Requests, want.Failures, want.Failures+want.Broken, want.Legacy),
			fmt.Sprintf("%d, %d and %d", got.Requests, got.Failures, got.Legacy),
		}
	}
	return nil
}
