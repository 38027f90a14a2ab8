package pool

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

// run starts Run and returns what stops it and waits.
func run(t *testing.T, p *Pool) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestChecksDecide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var status atomic.Int64
		status.Store(204)
		legs := &fakeLegs{answer: func(host string, req *http.Request) (*http.Response, error) {
			if req.URL.Path != "/healthz" || req.Host != "orders.internal" || req.Method != http.MethodGet {
				t.Errorf("asked for %s %s of %s", req.Method, req.URL.Path, req.Host)
			}
			if host == "e0" {
				return answer(int(status.Load())), nil
			}
			return answer(302), nil
		}}
		u := capability.Upstream{
			Check:   capability.Check{Path: "/healthz", Every: time.Second},
			Rewrite: capability.Rewrite{Host: "orders.internal"},
		}
		p, _ := poolOf(u, Options{NewLeg: legs.make}, some(3)...)
		defer run(t, p)()
		time.Sleep(10 * time.Second)
		if got := states(p); got != "e0 healthy, e1 healthy, e2 healthy" {
			t.Fatal(got)
		}
		status.Store(500)
		begun := time.Now()
		time.Sleep(5 * time.Second)
		i := p.Endpoints()[0]
		took := i.Since.Sub(begun)
		if i.State != Unhealthy || i.Why != "/healthz answered 500" || i.InFlight != 0 {
			t.Fatalf("%+v", i)
		}
		if took < 1800*time.Millisecond || took > 3300*time.Millisecond {
			t.Errorf("three failures took %v", took)
		}
		if got := shares(p, 1_000); got[at(0)] != 0 {
			t.Errorf("it still gets %.3f", got[at(0)])
		}
		status.Store(200)
		time.Sleep(3 * time.Second)
		if got := states(p); got != "e0 healthy, e1 healthy, e2 healthy" {
			t.Error(got)
		}
	})
}

func TestAnEndpointThatDoesNotAnswerIsUnhealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		legs := &fakeLegs{answer: func(_ string, req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}}
		u := capability.Upstream{Check: capability.Check{Path: "/", Every: time.Second, Timeout: 100 * time.Millisecond}}
		p, _ := poolOf(u, Options{NewLeg: legs.make}, some(1)...)
		stop := run(t, p)
		time.Sleep(6 * time.Second)
		i := p.Endpoints()[0]
		if i.State != Unhealthy || i.Why != errCheckTime.Error() {
			t.Errorf("%+v", i)
		}
		if p.Pick(nil) == nil {
			t.Error("the only endpoint is not used")
		}
		stop() // while a check may be under way: it says nothing then
	})
}

func TestOneFailureIsNotEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		legs := &fakeLegs{answer: func(string, *http.Request) (*http.Response, error) {
			if n.Add(1)%3 != 0 {
				return nil, errors.New("broke off")
			}
			return answer(200), nil
		}}
		u := capability.Upstream{Check: capability.Check{Path: "/", Every: time.Second}}
		p, _ := poolOf(u, Options{NewLeg: legs.make}, some(1)...)
		defer run(t, p)()
		time.Sleep(time.Minute)
		if got := states(p); got != "e0 healthy" || n.Load() < 50 {
			t.Errorf("%s after %d checks", got, n.Load())
		}
	})
}

// The checks of a thousand endpoints are spread over the interval, and each keeps
// to its interval by a tenth.
func TestChecksAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var mu sync.Mutex
		bySecond := make([]int, 50)
		last := map[string]time.Time{}
		legs := &fakeLegs{answer: func(host string, _ *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			bySecond[int(time.Since(begun)/time.Second)]++
			if before, ok := last[host]; ok {
				if apart := time.Since(before); apart < 9*time.Second || apart > 11*time.Second {
					t.Errorf("two checks %v apart", apart)
				}
			}
			last[host] = time.Now()
			return answer(200), nil
		}}
		u := capability.Upstream{Check: capability.Check{Path: "/", Every: 10 * time.Second}}
		p, _ := poolOf(u, Options{NewLeg: legs.make}, some(1_000)...)
		stop := run(t, p)
		time.Sleep(49 * time.Second)
		stop()
		for second, n := range bySecond[:49] {
			if n < 50 || n > 160 {
				t.Errorf("%d checks in second %d", n, second)
			}
		}
	})
}

func TestChecksFollowTheSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked := map[string]int{}
		legs := &fakeLegs{answer: func(host string, _ *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			asked[host]++
			return answer(200), nil
		}}
		count := func() map[string]int {
			mu.Lock()
			defer mu.Unlock()
			defer func() { asked = map[string]int{} }()
			return asked
		}
		u := capability.Upstream{Consul: "service", Check: capability.Check{Path: "/", Every: time.Second}}
		p, r := poolOf(u, Options{NewLeg: legs.make}, some(2)...)
		stop := run(t, p)
		time.Sleep(10 * time.Second)
		if got := count(); got["e0"] < 8 || got["e1"] < 8 {
			t.Fatalf("%v", got)
		}
		r.set(capability.Instance{Address: at(1)}, capability.Instance{Address: at(5)}) // nobody picks
		time.Sleep(2 * time.Second)
		count()
		time.Sleep(10 * time.Second)
		if got := count(); got["e0"] != 0 || got["e1"] < 8 || got["e5"] < 8 {
			t.Errorf("after the change: %v", got)
		}
		u.Check.Every = time.Minute
		p.Use(u)
		synctest.Wait()
		count()
		time.Sleep(2 * time.Minute)
		if got := count(); got["e1"] < 1 || got["e1"] > 3 {
			t.Errorf("with another interval: %v", got)
		}
		p.Use(capability.Upstream{Consul: "service"})
		synctest.Wait()
		count()
		time.Sleep(5 * time.Minute)
		if got := count(); len(got) != 0 {
			t.Errorf("without a path: %v", got)
		}
		stop()
	})
}

func TestAnUncheckedEndpointIsWellAgain(t *testing.T) {
	u := capability.Upstream{Consul: "service", Check: capability.Check{Path: "/", Unhealthy: 1}}
	p, _ := poolOf(u, Options{}, some(2)...)
	r := p.rules.Load()
	p.checked(p.the(t, at(0)), r, "down")
	u.Check = capability.Check{}
	p.Use(u)
	p.checked(p.the(t, at(1)), r, "down") // late: these checks are over
	if got := states(p); got != "e0 healthy, e1 healthy" {
		t.Error(got)
	}
}

// The host is part of what is checked.
func TestChecksFollowTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		last := ""
		legs := &fakeLegs{answer: func(_ string, req *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			last = req.Host
			return answer(200), nil
		}}
		u := capability.Upstream{Consul: "service", Check: capability.Check{Path: "/", Every: time.Second}, Rewrite: capability.Rewrite{Host: "old"}}
		p, _ := poolOf(u, Options{NewLeg: legs.make}, some(1)...)
		defer run(t, p)()
		time.Sleep(3 * time.Second)
		u.Rewrite.Host = "new"
		p.Use(u)
		time.Sleep(3 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if last != "new" {
			t.Errorf("asked for %s", last)
		}
	})
}
