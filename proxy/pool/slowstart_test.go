package pool

import (
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

func TestANewEndpointStartsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r := poolOf(capability.Upstream{SlowStart: 30 * time.Second}, Options{}, some(2)...)
		if got := shares(p, 10_000); !near(got[at(0)], 0.5, 0.03) || p.current().warming {
			t.Fatalf("the first set started slowly: %v", got)
		}
		r.set(some(3)...)
		for _, c := range []struct {
			after time.Duration
			share float64
		}{{0, 0.1}, {10 * time.Second, 0.4}, {10 * time.Second, 0.7}, {10 * time.Second, 1}, {time.Hour, 1}} {
			time.Sleep(c.after)
			want := c.share / (2 + c.share)
			if got := shares(p, 30_000); !near(got[at(2)], want, 0.02) {
				t.Errorf("share of %.1f: got %.3f, want %.3f", c.share, got[at(2)], want)
			}
			if i := p.Endpoints()[2]; !near(i.Share, c.share, 1e-6) {
				t.Errorf("shown a share of %v, want %v", i.Share, c.share)
			}
		}
		if p.current().warming {
			t.Error("it is never done")
		}
	})
}

func TestBusyCountsByShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r := poolOf(capability.Upstream{SlowStart: time.Minute}, Options{}, some(1)...)
		r.set(some(2)...)
		for range 1_100 {
			p.Pick(nil).Begin()
		}
		if got := p.the(t, at(1)).InFlight(); !near(float64(got), 100, 15) {
			t.Errorf("%d in flight at the one that starts, want about 100 of 1100", got)
		}
	})
}

func TestAllStartSlowlyTogether(t *testing.T) {
	p, r := poolOf(capability.Upstream{SlowStart: time.Hour}, Options{}, some(1)...)
	r.set(capability.Instance{Address: at(7)}, capability.Instance{Address: at(8)})
	if got := shares(p, 10_000); !near(got[at(7)], 0.5, 0.03) {
		t.Errorf("%v", got)
	}
}

func TestThoseThatComeBackStartSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := capability.Upstream{SlowStart: 20 * time.Second, Check: capability.Check{Path: "/", Unhealthy: 1, Healthy: 1}}
		p, _ := poolOf(u, Options{}, some(4)...)
		ejected, failing := p.the(t, at(0)), p.the(t, at(1))
		ejected.fail(5)
		p.checked(failing, p.rules.Load(), "down")
		time.Sleep(10 * time.Second)
		p.checked(failing, p.rules.Load(), "")
		for _, i := range p.Endpoints()[:2] {
			if i.State != Healthy || !near(i.Share, 0.1, 1e-6) {
				t.Errorf("%s came back %s with a share of %v", i.Address, i.State, i.Share)
			}
		}
	})
}
