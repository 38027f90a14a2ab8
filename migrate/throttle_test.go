package migrate

import (
	"context"
	"errors"
	"testing"
	"time"

	"strangler/capability"
)

// scale is a database that says what it is told to.
type scale struct {
	strain Strain
	err    error
	asked  int
}

func (s *scale) Strain(context.Context) (Strain, error) {
	s.asked++
	return s.strain, s.err
}

func TestThrottleSaysWhy(t *testing.T) {
	t.Parallel()
	all := capability.Restraint{ReplicaLag: 2 * time.Second, Busy: 20, Headroom: 1 << 30}
	for name, test := range map[string]struct {
		limits            capability.Restraint
		legacy, extracted Strain
		err               error
		want              string
	}{
		"nothing": {limits: all, legacy: Strain{Standby: "a", Lag: time.Second, Busy: 20, Slot: "s", Headroom: 1 << 30}},
		"lag":     {limits: all, legacy: Strain{Standby: "a", Lag: 3200 * time.Millisecond}, want: "replica lag 3.2 s > 2s (a of the legacy database)"},
		"both sides": {limits: all, legacy: Strain{Busy: 21}, extracted: Strain{Slot: "s", Headroom: -5},
			want: "21 sessions at work > 20 in the legacy database; slot s of the extracted cluster is 0 B < 1.0 GiB from being given up"},
		"hidden standby":       {limits: all, extracted: Strain{Standby: "a", Hidden: true}, want: "what the extracted database has to bear is hidden from the mover's role; GRANT pg_read_all_stats to it"},
		"nothing that matters": {limits: capability.Restraint{ReplicaLag: time.Second}, extracted: Strain{Busy: 1000, Slot: "s", Hidden: true}},
		"not to be read":       {limits: all, err: errors.New("it is away"), want: "the strain of the legacy database cannot be read: it is away; the strain of the extracted database cannot be read: it is away"},
		"without limits":       {legacy: Strain{Standby: "a", Lag: time.Hour, Busy: 1000, Slot: "s"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			th := &throttle{limits: test.limits, databases: map[capability.Side]Strained{
				capability.Legacy: &scale{strain: test.legacy, err: test.err}, capability.Extracted: &scale{strain: test.extracted, err: test.err}}}
			if got := th.look(t.Context()); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// Many workers ask once a second together, and whoever waits hears a reason once.
func TestThrottleAsksOnceASecond(t *testing.T) {
	t.Parallel()
	busy := &scale{strain: Strain{Busy: 5}}
	th := &throttle{limits: capability.Restraint{Busy: 4}, databases: map[capability.Side]Strained{capability.Legacy: busy, capability.Extracted: &scale{}}}
	for range 100 {
		th.look(t.Context())
	}
	if busy.asked != 1 {
		t.Errorf("asked %d times", busy.asked)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	var told []string
	err := th.wait(ctx, func(reason string) { told = append(told, reason); cancel(stopped) })
	if !errors.Is(err, stopped) || len(told) != 1 {
		t.Errorf("told %q, ended with %v", told, err)
	}
}
