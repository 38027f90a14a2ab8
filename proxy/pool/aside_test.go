package pool

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

// refuse lets one request find that nobody listens.
func (e *Endpoint) refuse() {
	e.Begin()
	e.End(Unreachable, "connection refused")
}

// probed counts how many of so many requests that are picked at once, and begin,
// go to the endpoint.
func probed(p *Pool, e *Endpoint, n int) (got int) {
	for range n {
		if picked := p.Pick(nil); picked == e {
			got++
			e.Begin()
		}
	}
	return got
}

// An endpoint at which nobody listens costs one request, and then one each time its
// wait is over, which doubles up to the time of an ejection.
func TestAnUnreachableEndpointIsSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := poolOf(capability.Upstream{}, Options{}, some(3)...)
		e := p.the(t, at(0))
		e.refuse()
		for n, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
			i := p.Endpoints()[0]
			left := time.Until(i.Until)
			if i.State != Ejected || i.Why != "connection refused" || !near(left.Seconds(), float64(want), float64(want)/10) {
				t.Fatalf("wait %d: %+v, for %v, want about %d s", n, i, left, want)
			}
			e.End(Unreachable, "one from before, which says the same") // and must not double the wait
			e.Begin()
			if again := time.Until(p.Endpoints()[0].Until); again != left {
				t.Fatalf("wait %d: a late failure made it %v", n, again)
			}
			if got := probed(p, e, 1_000); got != 0 {
				t.Fatalf("wait %d: it got %d requests", n, got)
			}
			time.Sleep(left)
			if got := probed(p, e, 1_000); got != 1 {
				t.Fatalf("after wait %d it got %d requests", n, got)
			}
			e.End(Unreachable, "connection refused")
		}
		time.Sleep(12 * time.Second)
		if got := probed(p, e, 1_000); got != 1 {
			t.Fatalf("it got %d requests", got)
		}
		e.Reached()
		if i := p.Endpoints()[0]; i.State != Healthy || i.Why != "can be reached again" || p.ejected != 0 {
			t.Fatalf("%+v, %d ejected", i, p.ejected)
		}
		if got := shares(p, 10_000); !near(got[at(1)], 1./3, 0.2) {
			t.Errorf("it is back with %v", got)
		}
		e.End(OK, "")
		e.refuse()
		if left := time.Until(p.Endpoints()[0].Until); !near(left.Seconds(), 1, 0.1) {
			t.Errorf("after it was reached it waits %v", left)
		}
	})
}

// The wait is spread: many proxies that were refused together do not come together.
func TestWaitsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		least, most := time.Hour, time.Duration(0)
		for range 200 {
			p, _ := poolOf(capability.Upstream{}, Options{}, some(2)...)
			p.the(t, at(0)).refuse()
			left := time.Until(p.Endpoints()[0].Until)
			least, most = min(least, left), max(most, left)
		}
		if least < 900*time.Millisecond || most > 1100*time.Millisecond || most-least < 150*time.Millisecond {
			t.Errorf("between %v and %v", least, most)
		}
	})
}

// A probe that learns nothing gives way to the next; one that is never heard of does
// so after a while.
func TestProbesGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := poolOf(capability.Upstream{}, Options{}, some(2)...)
		e := p.the(t, at(0))
		e.refuse()
		time.Sleep(2 * time.Second)
		if got := probed(p, e, 100); got != 1 {
			t.Fatalf("%d probes", got)
		}
		e.End(Neutral, "") // its client went away
		if got := probed(p, e, 100); got != 1 {
			t.Fatalf("%d probes after one that learnt nothing", got)
		}
		time.Sleep(probeFor - 1)
		if got := probed(p, e, 100); got != 0 {
			t.Fatalf("%d probes while one is under way", got)
		}
		time.Sleep(1 * time.Nanosecond)
		if got := probed(p, e, 100); got != 1 {
			t.Fatalf("%d probes after one that nobody heard of", got)
		}
		e.End(Failed, "answered nothing, and was not reached")
		if got := probed(p, e, 100); got != 0 || states(p) != "e0 ejected, e1 healthy" {
			t.Errorf("%d probes, %s", got, states(p))
		}
	})
}

// A probe that is not begun, as one of `route explain`, holds nothing.
func TestAPickIsNoProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := poolOf(capability.Upstream{}, Options{}, some(2)...)
		e := p.the(t, at(0))
		e.refuse()
		time.Sleep(2 * time.Second)
		for range 3 {
			if p.Pick(nil) != e {
				t.Fatal("the probe went elsewhere")
			}
		}
		if p.Pick([]*Endpoint{e}) == e {
			t.Error("who tried it already is sent there again")
		}
	})
}

func TestSettingAsideKeepsTheCap(t *testing.T) {
	p, _ := poolOf(capability.Upstream{}, Options{}, some(4)...)
	for i := range 4 {
		p.the(t, at(i)).refuse()
	}
	if got := states(p); got != "e0 ejected, e1 ejected, e2 healthy, e3 healthy" {
		t.Error(got)
	}
	p, _ = poolOf(capability.Upstream{}, Options{}, some(1)...)
	p.the(t, at(0)).refuse()
	if got := states(p); got != "e0 healthy" {
		t.Error(got)
	}
	p, _ = poolOf(capability.Upstream{Ejection: capability.Ejection{Off: true}}, Options{}, some(2)...)
	p.the(t, at(0)).refuse()
	if got := states(p); got != "e0 healthy, e1 healthy" {
		t.Error(got)
	}
}

// A check that passes is as good as a probe; one that fails leaves it to the checks
// to say when the endpoint is back.
func TestChecksEndASettingAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := capability.Upstream{Check: capability.Check{Path: "/", Unhealthy: 1, Healthy: 1}}
		p, _ := poolOf(u, Options{}, some(3)...)
		e, r := p.the(t, at(0)), p.rules.Load()
		e.refuse()
		p.checked(e, r, "")
		if got := states(p); got != "e0 healthy, e1 healthy, e2 healthy" || p.ejected != 0 {
			t.Fatalf("%s, %d ejected", got, p.ejected)
		}
		e.refuse()
		p.checked(e, r, "down")
		time.Sleep(time.Minute)
		if got := probed(p, e, 100); got != 0 || states(p) != "e0 unhealthy, e1 healthy, e2 healthy" || p.ejected != 0 {
			t.Fatalf("%d probes, %s, %d ejected", got, states(p), p.ejected)
		}
		p.checked(e, r, "")
		if got := states(p); got != "e0 healthy, e1 healthy, e2 healthy" {
			t.Error(got)
		}
		e.refuse()
		p.checked(e, r, "down")
		p.checked(e, r, "")
		if got := states(p); got != "e0 healthy, e1 healthy, e2 healthy" || p.ejected != 0 {
			t.Errorf("%s, %d ejected", got, p.ejected)
		}
	})
}

// What is known of an endpoint outlives its connections, and goes with it.
func TestSettingAsideOutlivesAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r := poolOf(capability.Upstream{}, Options{}, some(2)...)
		p.the(t, at(0)).refuse()
		u := capability.Upstream{Consul: "service", Protocol: capability.ProtocolH2C} // reached anew
		p.Use(u)
		if got := states(p); got != "e0 ejected, e1 healthy" || p.ejected != 1 {
			t.Fatalf("%s, %d ejected", got, p.ejected)
		}
		time.Sleep(2 * time.Second)
		again := p.the(t, at(0))
		if got := probed(p, again, 100); got != 1 {
			t.Errorf("%d probes", got)
		}
		again.End(Neutral, "")
		u.Ejection.Off = true
		p.Use(u)
		if got := states(p); got != "e0 healthy, e1 healthy" || p.ejected != 0 {
			t.Fatalf("%s, %d ejected", got, p.ejected)
		}
		p.Use(capability.Upstream{Consul: "service"})
		p.the(t, at(0)).refuse()
		r.set(some(2)[1:]...)
		p.Size()
		r.set(some(2)...)
		if got := states(p); got != "e1 healthy, e0 healthy" && got != "e0 healthy, e1 healthy" || p.ejected != 0 {
			t.Errorf("%s, %d ejected", got, p.ejected)
		}
	})
}

// Requests, checks and reloads race over endpoints that come and go; in the end all
// are reached, and nothing is left over.
func TestSettingAsideUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down [4]atomic.Bool
		legs := &fakeLegs{answer: func(host string, _ *http.Request) (*http.Response, error) {
			if down[host[1]-'0'].Load() {
				return nil, ErrUnreachable
			}
			return answer(200), nil
		}}
		p, r := poolOf(capability.Upstream{}, Options{NewLeg: legs.make}, some(4)...)
		defer run(t, p)()
		stop := make(chan struct{})
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
					e := p.Pick(nil)
					e.Begin()
					_, err := e.Leg().RoundTrip(nil)
					if err != nil {
						e.End(Unreachable, err.Error())
						continue
					}
					e.Reached()
					e.End(OK, "")
				}
			})
		}
		for n := range 40 {
			down[n%4].Store(n%3 == 0)
			if n%7 == 0 {
				r.set(some(2 + n%3)...)
			}
			time.Sleep(700 * time.Millisecond)
		}
		for i := range down {
			down[i].Store(false)
		}
		r.set(some(4)...)
		time.Sleep(20 * time.Second)
		if got := states(p); strings.Contains(got, "ejected") || p.ejected != 0 {
			t.Errorf("%s, %d ejected", got, p.ejected)
		}
		close(stop)
		clients.Wait()
	})
}
