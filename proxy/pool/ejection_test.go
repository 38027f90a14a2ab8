package pool

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

func TestFailuresInARowEject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := poolOf(capability.Upstream{}, Options{}, some(3)...)
		e := p.the(t, at(0))
		e.fail(4)
		e.Begin()
		e.End(OK, "")
		e.fail(4)
		e.Begin()
		e.End(Neutral, "")
		if got := states(p); strings.Contains(got, "ejected") {
			t.Fatalf("too early: %s", got)
		}
		e.fail(1)
		i := p.Endpoints()[0]
		if i.State != Ejected || i.Why != "broke off" || !i.Since.Equal(time.Now()) || time.Until(i.Until) != 10*time.Second {
			t.Fatalf("%+v", i)
		}
		if got := shares(p, 1_000); got[at(0)] != 0 {
			t.Errorf("the ejected one got %.3f", got[at(0)])
		}
		time.Sleep(10*time.Second - 1)
		if got := shares(p, 100); got[at(0)] != 0 {
			t.Error("it came back too early")
		}
		time.Sleep(1 * time.Nanosecond)
		if got := shares(p, 10_000); !near(got[at(0)], 1./3, 0.03) {
			t.Errorf("it came back with a share of %.3f", got[at(0)])
		}
	})
}

// The row goes on over an ejection: one more failure is enough, and for longer.
func TestEjectionsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := poolOf(capability.Upstream{}, Options{}, some(2)...)
		e := p.the(t, at(0))
		e.fail(5)
		lasts := func() time.Duration {
			t.Helper()
			i := p.Endpoints()[0]
			if i.State != Ejected {
				t.Fatalf("it is %s", i.State)
			}
			return time.Until(i.Until)
		}
		for _, want := range []time.Duration{10, 20, 40, 80, 100, 100} {
			if got := lasts(); got != want*time.Second {
				t.Fatalf("ejected for %v, want %d s", got, want)
			}
			time.Sleep(want * time.Second)
			p.Pick(nil)
			e.fail(1)
		}
		time.Sleep(100 * time.Second)
		e.Begin()
		e.End(OK, "")
		time.Sleep(101 * time.Second) // well for longer than it was out
		e.fail(4)
		if got := states(p); got != "e0 healthy, e1 healthy" {
			t.Fatalf("the row did not end: %s", got)
		}
		e.fail(1)
		if got := lasts(); got != 10*time.Second {
			t.Errorf("after a good time, ejected for %v", got)
		}
	})
}

func TestOnlySoManyAreEjected(t *testing.T) {
	for _, c := range []struct {
		endpoints int
		most      capability.Weight
		want      int
	}{
		{1, 0, 0}, {2, 0, 1}, {3, 0, 1}, {4, 0, 2}, {10, 0, 5},
		{2, 1, 1}, {10, 1_000, 1}, {10, 3_000, 3}, {2, 10_000, 1}, {3, 10_000, 2}, {10, 10_000, 9},
	} {
		p, _ := poolOf(capability.Upstream{Ejection: capability.Ejection{Most: c.most}}, Options{}, some(c.endpoints)...)
		for i := range c.endpoints {
			p.the(t, at(i)).fail(20)
		}
		if got := strings.Count(states(p), "ejected"); got != c.want {
			t.Errorf("of %d with %s: %d ejected, want %d", c.endpoints, c.most, got, c.want)
		}
	}
}

func TestTheLastWellOneIsNotEjected(t *testing.T) {
	u := capability.Upstream{Check: capability.Check{Path: "/", Unhealthy: 1}}
	p, _ := poolOf(u, Options{}, some(3)...)
	r := p.rules.Load()
	p.checked(p.the(t, at(0)), r, "down")
	p.checked(p.the(t, at(1)), r, "down")
	p.the(t, at(2)).fail(20)
	if got := states(p); got != "e0 unhealthy ignored, e1 unhealthy ignored, e2 healthy ignored" {
		t.Error(got)
	}
}

func TestEjectionIsTurnedOff(t *testing.T) {
	p, r := poolOf(capability.Upstream{}, Options{}, some(2)...)
	p.the(t, at(0)).fail(5)
	if got := states(p); got != "e0 ejected, e1 healthy" {
		t.Fatal(got)
	}
	p.Use(capability.Upstream{Consul: "service", Ejection: capability.Ejection{Off: true}})
	p.the(t, at(1)).fail(20)
	if got := states(p); got != "e0 healthy, e1 healthy" {
		t.Error(got)
	}
	p.Use(capability.Upstream{Consul: "service", Ejection: capability.Ejection{Failures: 1}})
	p.the(t, at(1)).fail(1)
	if got := states(p); got != "e0 healthy, e1 ejected" {
		t.Error(got)
	}
	r.set(some(1)...) // the ejected one goes, and no longer counts as ejected
	p.Size()
	r.set(some(2)...)
	p.the(t, at(0)).fail(1)
	if got := states(p); got != "e0 ejected, e1 healthy" {
		t.Error(got)
	}
}

// An endpoint that also fails its checks does not come back by time.
func TestAnEjectionEndsWhileChecksFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := capability.Upstream{Check: capability.Check{Path: "/", Unhealthy: 1, Healthy: 1}}
		p, _ := poolOf(u, Options{}, some(3)...)
		e, r := p.the(t, at(0)), p.rules.Load()
		e.fail(5)
		p.checked(e, r, "down")
		time.Sleep(time.Minute)
		if i := p.Endpoints()[0]; i.State != Unhealthy || i.Why != "down" || p.ejected != 0 {
			t.Errorf("%+v, %d ejected", i, p.ejected)
		}
		p.checked(e, r, "")
		if got := states(p); got != "e0 healthy, e1 healthy, e2 healthy" {
			t.Error(got)
		}
	})
}
