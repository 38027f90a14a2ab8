package pool

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"strangler/capability"
)

func TestEndpointsThatStayKeepEverything(t *testing.T) {
	legs := &fakeLegs{}
	u := capability.Upstream{Consul: "service"}
	p, r := poolOf(u, Options{NewLeg: legs.make}, some(2)...)
	e := p.the(t, at(1))
	e.fail(5)
	e.Begin()
	r.set(capability.Instance{Address: at(1), Weight: 7, Zone: "b"}, capability.Instance{Address: at(2)}, capability.Instance{Address: at(3)})
	u.SlowStart = time.Minute
	p.Use(u)
	if p.the(t, at(1)) != e {
		t.Fatal("it was replaced")
	}
	i := p.Endpoints()[0]
	if i.InFlight != 1 || i.State != Ejected || i.Weight != 7 || i.Zone != "b" {
		t.Errorf("%+v", i)
	}
	if len(legs.made) != 4 || legs.made[1].closed.Load() != 0 {
		t.Errorf("%d legs, closed %d times", len(legs.made), legs.made[1].closed.Load())
	}
	if legs.made[0].closed.Load() == 0 {
		t.Error("the leg of the one that went was not closed")
	}
}

func TestAWithdrawnEndpointIsClosedAgainAtTheEnd(t *testing.T) {
	legs := &fakeLegs{}
	p, r := poolOf(capability.Upstream{}, Options{NewLeg: legs.make}, some(2)...)
	e := p.the(t, at(0))
	e.Begin()
	e.Begin()
	r.set(some(2)[1:]...)
	if got := states(p); got != "e1 healthy, e0 withdrawn" {
		t.Fatal(got)
	}
	if n := legs.made[0].closed.Load(); n != 1 {
		t.Fatalf("closed %d times", n)
	}
	e.End(OK, "")
	if n := legs.made[0].closed.Load(); n != 1 {
		t.Fatalf("closed %d times with one in flight", n)
	}
	e.End(Failed, "broke off")
	if n := legs.made[0].closed.Load(); n != 2 {
		t.Errorf("closed %d times", n)
	}
	if got := states(p); got != "e1 healthy" {
		t.Error(got)
	}
}

func TestAWithdrawnEndpointComesBack(t *testing.T) {
	p, r := poolOf(capability.Upstream{SlowStart: time.Minute}, Options{}, some(2)...)
	e := p.the(t, at(0))
	e.fail(5)
	e.Begin()
	r.set(some(2)[1:]...)
	p.Size()
	r.set(some(2)...)
	if p.the(t, at(0)) != e {
		t.Error("another one came")
	}
	if i := p.Endpoints()[0]; len(p.Endpoints()) != 2 || i.State != Healthy || i.InFlight != 1 || i.Share > 0.2 {
		t.Errorf("%+v", i)
	}
	e.End(OK, "")
	if got := states(p); got != "e0 healthy, e1 healthy" {
		t.Error(got)
	}
}

func TestOtherTLSMakesNewLegs(t *testing.T) {
	legs := &fakeLegs{}
	u := capability.Upstream{Consul: "service"}
	p, _ := poolOf(u, Options{NewLeg: legs.make}, some(3)...)
	old := p.the(t, at(0))
	old.Begin()
	p.the(t, at(1)).fail(5)
	u.TLS.ServerName = "orders.internal"
	p.Use(u)
	if got := states(p); got != "e0 healthy, e1 ejected, e2 healthy, e0 withdrawn" {
		t.Errorf("health did not stay: %s", got)
	}
	for n, leg := range legs.made {
		if closed := leg.closed.Load() > 0; closed != (n < 3) {
			t.Errorf("leg %d closed: %v", n, closed)
		}
	}
	if p.ejected != 1 {
		t.Errorf("%d count as ejected", p.ejected)
	}
	if old.End(OK, ""); legs.made[0].closed.Load() != 2 {
		t.Error("the old way was not closed at the end")
	}
}

func TestALegThatCannotBeMade(t *testing.T) {
	cannot := errors.New("no certificate")
	var err error
	legs := &fakeLegs{}
	o := Options{NewLeg: func(u capability.Upstream, to *url.URL) (Leg, error) {
		if err != nil {
			return nil, err
		}
		return legs.make(u, to)
	}}
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	err = cannot
	p, _ := poolOf(capability.Upstream{}, o, some(1)...)
	e := p.the(t, at(0))
	_, _, got := exchange(t, e.Leg(), http.MethodPost, e.URL(), strings.NewReader("b"))
	if !errors.Is(got, ErrUnreachable) || !errors.Is(got, cannot) {
		t.Fatalf("error %v", got)
	}
	err = nil
	if _, _, got = exchange(t, e.Leg(), http.MethodGet, e.URL(), nil); got != nil {
		t.Fatalf("once it can be made: %v", got)
	}
	err = cannot
	changed := capability.Upstream{Consul: "service", TLS: capability.UpstreamTLS{CA: "gone.pem"}}
	p.Use(changed)
	if p.the(t, at(0)) != e {
		t.Error("a way that works was given up for one that cannot be made")
	}
	err = nil
	p.Use(changed)
	if p.the(t, at(0)) == e {
		t.Error("the next reload did not try again")
	}
	if n := strings.Count(log.String(), "no certificate"); n != 2 {
		t.Errorf("said %d times:\n%s", n, &log)
	}
}

func TestTheSameInstancesInAnotherSlice(t *testing.T) {
	p, r := poolOf(capability.Upstream{}, Options{}, some(3)...)
	e := p.the(t, at(2))
	for range 10 {
		r.set(some(3)...)
		if p.the(t, at(2)) != e {
			t.Fatal("it was replaced")
		}
	}
}

func TestAClosedPool(t *testing.T) {
	legs := &fakeLegs{}
	p, r := poolOf(capability.Upstream{}, Options{NewLeg: legs.make}, some(2)...)
	e := p.the(t, at(0))
	e.Begin()
	p.Close()
	p.Close()
	r.set(some(3)...)
	p.Use(capability.Upstream{Endpoints: []string{at(8)}})
	if p.Pick(nil) != nil || p.Size() != 0 {
		t.Error("it still has endpoints")
	}
	if e.End(OK, ""); legs.made[0].closed.Load() != 2 || legs.made[1].closed.Load() != 1 {
		t.Error("legs were not closed")
	}
}

// Everything at once, for the race detector: picks, results, reloads, another set,
// and readers. In the end nothing is in flight anywhere, and what was withdrawn
// is closed.
func TestUseWhilePicking(t *testing.T) {
	legs := &fakeLegs{}
	u := capability.Upstream{Consul: "service", Ejection: capability.Ejection{For: time.Millisecond}, SlowStart: 5 * time.Millisecond}
	p, r := poolOf(u, Options{NewLeg: legs.make, Zone: "a"}, some(20)...)
	stop := make(chan struct{})
	var busy, changing sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for range 20_000 {
				e := p.Pick(nil)
				if e == nil {
					t.Error("nothing to pick")
					return
				}
				e.Begin()
				if other := p.Pick([]*Endpoint{e}); other == e {
					t.Error("picked what was tried")
				}
				e.End(Outcome(rand.IntN(3)), "by chance")
			}
		})
	}
	until := func(change func(i int)) {
		changing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					change(i)
				}
			}
		})
	}
	until(func(i int) { r.set(zoned(1+i%7, 1+i%11)...) })
	until(func(i int) {
		u := u
		u.TLS.ServerName = strings.Repeat("x", i%3)
		u.Ejection.Off = i%5 == 0
		p.Use(u)
	})
	until(func(int) { p.Endpoints(); p.Size() })
	busy.Wait()
	close(stop)
	changing.Wait()
	r.set(some(3)...)
	p.Use(u)
	if p.Size() != 3 {
		t.Errorf("%d endpoints", p.Size())
	}
	out := 0
	for _, i := range p.Endpoints() {
		if i.InFlight != 0 || i.State == Withdrawn {
			t.Errorf("%+v", i)
		}
		if i.State == Ejected {
			out++
		}
	}
	if p.ejected != out {
		t.Errorf("%d are ejected, %d count as that", out, p.ejected)
	}
	open := 0
	for _, leg := range legs.made {
		if leg.closed.Load() == 0 {
			open++
		}
	}
	if open > 3 {
		t.Errorf("%d legs were not closed", open)
	}
}

// An endpoint that was away while the way to it changed comes back by the new one.
func TestOneThatComesBackIsReachedByTheNewWay(t *testing.T) {
	legs := &fakeLegs{}
	u := capability.Upstream{Consul: "service"}
	p, r := poolOf(u, Options{NewLeg: legs.make}, some(2)...)
	old := p.the(t, at(0))
	old.Begin()
	r.set(some(2)[1:]...)
	p.Size()
	u.TLS.ServerName = "orders.internal"
	p.Use(u)
	r.set(some(2)...)
	if back := p.the(t, at(0)); back == old || back.Leg() == old.Leg() {
		t.Error("it is reached by the old way")
	}
	old.End(OK, "")
	if got := states(p); got != "e0 healthy, e1 healthy" {
		t.Error(got)
	}
}
