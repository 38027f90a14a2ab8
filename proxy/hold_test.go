package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

var someWrite = writeKey{"POST", "/api/orders/**"}

func holding(limits HoldLimits) *hold {
	h := newHold(limits)
	h.set(switching(state(1, capability.Legacy, 0)))
	return h
}

var wide = HoldLimits{Requests: 1000, Bytes: 64 << 20, Age: 8 * time.Second}

type entered struct {
	n     int
	state capability.Effective
	err   error
}

func TestHeldWritesAreReleasedInOrderToTheNewOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := holding(wide)
		out := make(chan entered, 3)
		for n := range 3 {
			go func() {
				e, err := h.enter(t.Context(), someWrite, 10)
				out <- entered{n, e, err}
			}()
			synctest.Wait() // so that they queue in this order
		}
		s, _ := h.serving()
		if s.Held != 3 || s.Writes != 0 || !s.Holding {
			t.Fatalf("while holding: %+v", s)
		}
		first := h.queue.Front().Value.(*heldWrite)
		h.set(switching(state(2, capability.Legacy, 0)))
		synctest.Wait()
		if s, _ := h.serving(); s.Held != 3 || h.queue.Front().Value != first {
			t.Fatalf("a newer revision of the same phase has released: %+v", s)
		}
		h.set(state(3, capability.Extracted, 0))
		for range 3 {
			if e := <-out; e.err != nil || e.state.Owner != capability.Extracted || e.state.Revision != 3 {
				t.Errorf("released as %+v", e)
			}
		}
		if s, _ := h.serving(); s.Writes != 3 || s.Held != 0 || s.Routes["POST /api/orders/**"] != 3 || h.bytes != 0 {
			t.Errorf("after the release: %+v, %d bytes", s, h.bytes)
		}
	})
}

func TestHeldWriteExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := holding(wide)
		began := time.Now()
		_, err := h.enter(t.Context(), someWrite, 10)
		if !errors.Is(err, errHoldExpired) || time.Since(began) != wide.Age {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if s, _ := h.serving(); s.Held != 0 || s.Writes != 0 || h.bytes != 0 {
			t.Errorf("it left %+v, %d bytes", s, h.bytes)
		}
	})
}

func TestHoldIsBounded(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits HoldLimits
	}{
		{"by requests", HoldLimits{Requests: 2, Bytes: 1000, Age: time.Second}},
		{"by bytes", HoldLimits{Requests: 100, Bytes: 25, Age: time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := holding(c.limits)
				ctx, cancel := context.WithCancel(t.Context())
				out := make(chan error, 2)
				for range 2 {
					go func() { _, err := h.enter(ctx, someWrite, 10); out <- err }()
				}
				synctest.Wait()
				if _, err := h.enter(t.Context(), someWrite, 10); !errors.Is(err, errHoldFull) {
					t.Errorf("the third: %v", err)
				}
				cancel() // the clients go away, and their places are free
				for range 2 {
					if err := <-out; !errors.Is(err, errClientGone) {
						t.Errorf("gone: %v", err)
					}
				}
				go func() { _, err := h.enter(t.Context(), someWrite, 10); out <- err }()
				synctest.Wait()
				h.set(state(2, capability.Extracted, 0))
				if err := <-out; err != nil {
					t.Errorf("after places came free: %v", err)
				}
			})
		})
	}
}

func TestOlderStatesAreIgnored(t *testing.T) {
	h := newHold(wide)
	h.set(state(5, capability.Extracted, 0))
	if h.set(switching(state(4, capability.Legacy, 0))) || h.set(switching(state(5, capability.Legacy, 0))) || h.state().Owner != capability.Extracted {
		t.Errorf("took over %+v", h.state())
	}
}

// A client that goes away in the moment of the release must neither stay in the
// count nor lose somebody else's place.
func TestReleaseRacesWithClientsThatGo(t *testing.T) {
	h := newHold(wide)
	for revision := uint64(1); revision < 400; revision += 2 {
		h.set(switching(state(revision, capability.Legacy, 0)))
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := h.enter(ctx, someWrite, 1); err == nil {
					h.leave(someWrite)
				}
			})
		}
		wg.Go(cancel)
		h.set(state(revision+1, capability.Legacy, 0))
		wg.Wait()
		if s, _ := h.serving(); s.Writes != 0 || s.Held != 0 || h.bytes != 0 || len(h.routes) != 0 {
			t.Fatalf("left behind: %+v, %d bytes", s, h.bytes)
		}
	}
}

// The promise that a switch rests on: once a proxy says that it holds with no
// write in flight, none is, and none begins before another revision.
func TestNoWriteIsInFlightOnceTheProxyHolds(t *testing.T) {
	var gates [2]atomic.Bool // open, as the databases' gates would be
	gates[0].Store(true)
	var violations, writes atomic.Int64
	guard := func(side int) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			if !gates[side].Load() {
				violations.Add(1)
			}
			_, _ = io.Copy(io.Discard, r.Body)
			if !gates[side].Load() {
				violations.Add(1)
			}
			writes.Add(1)
		}
	}
	s := serve(t, state(1, capability.Legacy, 0), guard(0), guard(1))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if a := s.do("POST", "/api/orders/1", "u", strings.NewReader("body")); a.status != 200 {
					t.Errorf("a write failed: %d %v %s", a.status, a.err, a.body)
					return
				}
			}
		})
	}
	owner, revision := capability.Legacy, uint64(1)
	for range 25 {
		before := writes.Load()
		eventually(t, "writes between two switches", func() bool { return writes.Load() > before+20 || t.Failed() })
		revision++
		s.set(switching(state(revision, owner, 0)))
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		now := s.Serving(ctx, "orders", revision, true)
		cancel()
		if !now.Holding || now.Writes != 0 || now.Revision != revision {
			t.Fatalf("the hold was not reached: %+v", now)
		}
		from := 0
		if owner == capability.Extracted {
			from = 1
		}
		gates[from].Store(false)
		for range 50 { // writes that slipped through would arrive about now
			if again, _ := s.serving("orders"); again.Writes != 0 {
				t.Fatalf("writes began under the hold: %+v", again)
			}
		}
		owner = owner.Other()
		gates[1-from].Store(true)
		revision++
		s.set(state(revision, owner, 0))
	}
	close(stop)
	wg.Wait()
	if n := violations.Load(); n > 0 {
		t.Errorf("%d of %d writes met a closed gate", n, writes.Load())
	}
}

func TestProxyThatStartsIntoASwitchHolds(t *testing.T) {
	s := serve(t, switching(state(7, capability.Legacy, 0)), nil, nil, func(o *Options, _ *capability.Document) { o.Hold.Requests = 1 })
	held := make(chan answer)
	go func() { held <- s.do("POST", "/api/orders/1", "u", strings.NewReader("x")) }()
	eventually(t, "the write is held", func() bool { now, _ := s.serving("orders"); return now.Held == 1 })
	a := s.do("POST", "/api/orders/1", "u", strings.NewReader("x"))
	s.want(a, 503, "")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After on a write that found no place")
	}
	s.want(s.get("/api/orders/1", "u"), 200, "legacy")
	s.want(s.do("POST", "/api/catalog/1", "u", strings.NewReader("x")), 200, "legacy")
	s.set(state(8, capability.Extracted, 0))
	s.want(<-held, 200, "extracted")
}

// TestAdvance: states alone move a proxy on, and what is missing, older or of nobody takes nothing away.
func TestAdvance(t *testing.T) {
	s := serve(t, switching(state(7, capability.Legacy, 0)), nil, nil)
	held := make(chan answer)
	go func() { held <- s.do("POST", "/api/orders/1", "u", strings.NewReader("x")) }()
	eventually(t, "the write is held", func() bool { now, _ := s.serving("orders"); return now.Held == 1 })
	other := state(3, capability.Extracted, 0)
	other.Capability = "catalog"
	for _, states := range []map[string]capability.Effective{nil, {"catalog": other}, {"orders": state(7, capability.Extracted, 0)}, {"orders": state(6, capability.Extracted, 0)}} {
		s.Advance(states)
		if now, _ := s.serving("orders"); now.Held != 1 || now.Revision != 7 || !now.Holding {
			t.Fatalf("after %v: %+v", states, now)
		}
	}
	if now, _ := s.serving("catalog"); now.Revision != 0 {
		t.Errorf("a capability that nobody has described: %+v", now)
	}
	waiting := make(chan capability.Serving)
	go func() { waiting <- s.Serving(t.Context(), "orders", 8, false) }()
	s.Advance(map[string]capability.Effective{"orders": state(8, capability.Extracted, 0)})
	s.want(<-held, 200, "extracted")
	if now := <-waiting; now.Revision != 8 || now.Holding {
		t.Errorf("who waited for it: %+v", now)
	}
	s.want(s.do("POST", "/api/orders/1", "u", strings.NewReader("x")), 200, "extracted")
}

func TestHeldClientThatGoesFreesItsPlace(t *testing.T) {
	s := serve(t, switching(state(1, capability.Legacy, 0)), nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan error)
	go func() {
		r, _ := http.NewRequestWithContext(ctx, "DELETE", s.url+"/api/orders/1", nil)
		res, err := s.client.Do(r)
		if err == nil {
			res.Body.Close()
		}
		gone <- err
	}()
	eventually(t, "the write is held", func() bool { now, _ := s.serving("orders"); return now.Held == 1 })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	eventually(t, "its place is free", func() bool { now, _ := s.serving("orders"); return now.Held == 0 && now.Writes == 0 })
}

func TestServing(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	reloads := make(chan string, 1)
	s := serve(t, state(1, capability.Legacy, 0), func(http.ResponseWriter, *http.Request) { inside <- struct{}{}; <-release }, nil,
		func(o *Options, _ *capability.Document) {
			o.Reload = func(_ context.Context, name string) error { reloads <- name; return nil }
		})
	short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if now := s.Serving(short, "orders", 9, false); now.Revision != 1 || now.Proxy != "p1" || now.Holding {
		t.Errorf("behind: %+v", now)
	}
	if name := <-reloads; name != "orders" {
		t.Errorf("asked to reload %q", name)
	}
	written := make(chan answer)
	go func() { written <- s.do("PUT", "/api/orders/1", "u", strings.NewReader("x")) }()
	<-inside
	asked := make(chan capability.Serving)
	go func() { asked <- s.Serving(context.Background(), "orders", 2, true) }()
	<-reloads
	s.set(switching(state(2, capability.Legacy, 0)))
	busy, cancelBusy := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancelBusy()
	if now := s.Serving(busy, "orders", 2, true); !now.Holding || now.Writes != 1 || now.Routes["PUT /api/orders/**"] != 1 {
		t.Errorf("busy: %+v", now)
	}
	close(release)
	if now := <-asked; !now.Holding || now.Writes != 0 || now.Revision != 2 {
		t.Errorf("idle: %+v", now)
	}
	s.want(<-written, 200, "legacy")
	if now := s.Serving(context.Background(), "unknown", 0, true); now.Capability != "unknown" || now.Revision != 0 {
		t.Errorf("unknown: %+v", now)
	}
	s.Report([]capability.Problem{{File: "routes/x.yaml", Message: "broken"}})
	if now := s.Serving(context.Background(), "orders", 0, false); len(now.Problems) != 1 {
		t.Errorf("problems: %+v", now)
	}
}

// The same promise without a network in between, so that the two critical
// sections meet often enough for a mistake of a few instructions to show.
func TestCountingAndHoldingAreOneDecision(t *testing.T) {
	h := newHold(wide)
	h.set(state(1, capability.Legacy, 0))
	var idleAt atomic.Uint64 // the revision that was seen to hold with nothing in flight
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				e, err := h.enter(context.Background(), someWrite, 1)
				if err != nil {
					t.Error(err)
					return
				}
				if idle := idleAt.Load(); e.Revision < idle {
					t.Errorf("a write of revision %d is under way after the proxy was idle at %d", e.Revision, idle)
				}
				h.leave(someWrite)
			}
		})
	}
	for revision := uint64(2); revision < 20_000 && !t.Failed(); revision += 2 {
		h.set(switching(state(revision, capability.Legacy, 0)))
		for {
			if s, _ := h.serving(); s.Holding && s.Writes == 0 {
				break
			}
			runtime.Gosched()
		}
		idleAt.Store(revision)
		h.set(state(revision+1, capability.Legacy, 0))
	}
	close(stop)
	wg.Wait()
}

func TestHeldWriteThatExpiresHasTouchedNothing(t *testing.T) {
	var touched atomic.Bool
	touch := func(http.ResponseWriter, *http.Request) { touched.Store(true) }
	s := serve(t, switching(state(1, capability.Legacy, capability.Whole)), touch, touch, func(o *Options, _ *capability.Document) { o.Hold.Age = 5 * time.Millisecond })
	a := s.do("POST", "/api/orders/1", "u", strings.NewReader("x"))
	s.want(a, 503, "")
	if touched.Load() || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "touched nothing") {
		t.Errorf("touched %v; %v %s", touched.Load(), a.header, a.body)
	}
	s.want(s.get("/api/orders/1", "u"), 200, "extracted") // and pins nobody
}

// TestReleaseIsPaced: the new owner does not meet all that have waited at once, those
// that come meanwhile wait behind them, and a queue that grows faster than it is let
// through ends all the same.
func TestReleaseIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := holding(HoldLimits{Requests: 1000, Bytes: 64 << 20, Age: 8 * time.Second, Release: 100})
		began := time.Now()
		out := make(chan entered, 2000)
		enter := func(n int) {
			go func() {
				e, err := h.enter(t.Context(), someWrite, 10)
				if err == nil {
					h.leave(someWrite)
				}
				out <- entered{n, e, err}
			}()
			synctest.Wait()
		}
		for n := range 50 {
			enter(n)
		}
		h.set(state(2, capability.Extracted, 0))
		synctest.Wait()
		if s, _ := h.serving(); s.Writes != 0 || s.Held != 48 || s.Holding {
			t.Errorf("at once: %+v", s)
		}
		enter(50)
		for n := range 51 { // in their order, those at the same beat in any
			if e := <-out; e.err != nil || e.state.Owner != capability.Extracted || e.n/2 > n/2+1 || e.n/2 < n/2-1 {
				t.Errorf("place %d: %+v", n, e)
			}
		}
		if took := time.Since(began); took < 480*time.Millisecond || took > 520*time.Millisecond {
			t.Errorf("51 at 100 a second took %s", took)
		}
		synctest.Wait()
		if h.releasing {
			t.Error("it goes on beside an empty queue")
		}
		enter(51)
		if e := <-out; e.err != nil || time.Since(began) > 520*time.Millisecond {
			t.Errorf("behind the release: %+v", e)
		}

		// Held again while some wait: they wait on, for another owner.
		h.set(switching(state(3, capability.Extracted, 0)))
		for n := range 10 {
			enter(n)
		}
		h.set(state(4, capability.Extracted, 0))
		synctest.Wait()
		h.set(switching(state(5, capability.Extracted, 0)))
		time.Sleep(time.Second)
		if s, _ := h.serving(); s.Held != 8 || !s.Holding {
			t.Errorf("held again: %+v", s)
		}
		h.set(state(6, capability.Legacy, 0))
		owners := map[capability.Side]int{}
		for range 10 {
			e := <-out
			owners[e.state.Owner]++
		}
		if owners[capability.Extracted] != 2 || owners[capability.Legacy] != 8 {
			t.Errorf("released to %v", owners)
		}

		// 400 a second come while 100 a second are let through.
		h.set(switching(state(7, capability.Legacy, 0)))
		for n := range 100 {
			enter(n)
		}
		h.set(state(8, capability.Extracted, 0))
		began = time.Now()
		for waiting := true; waiting; {
			time.Sleep(time.Second / 400)
			enter(0)
			s, _ := h.serving()
			waiting = s.Held > 0
			if time.Since(began) > 8*time.Second {
				t.Fatalf("it does not end: %+v", s)
			}
		}
	})
}

// TestNobodyIsRefusedByAnOwner: whoever finds the queue full, or has waited for too long
// in it, goes at once when there is an owner.
// TestReleaseFollowsAnswers: a new owner that is slow at first has few writes at once, and more as it answers; one that answers none
// for long keeps nobody from it for ever.
func TestReleaseFollowsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := holding(HoldLimits{Requests: 1000, Bytes: 64 << 20, Age: 8 * time.Second, Release: 5000})
		go func() {
			for range 200 {
				go func() { _, _ = h.enter(t.Context(), someWrite, 10) }()
			}
		}()
		synctest.Wait()
		h.set(state(2, capability.Extracted, 0))
		expect := func(writes, held int) {
			t.Helper()
			synctest.Wait()
			if s, _ := h.serving(); s.Writes != writes || s.Held != held {
				t.Fatalf("%d in flight and %d held, want %d and %d", s.Writes, s.Held, writes, held)
			}
		}
		expect(4, 196)
		for range 3 {
			h.leave(someWrite)
		}
		expect(4, 193)
		h.leave(someWrite)
		expect(5, 191)
		for range 16 {
			h.leave(someWrite)
		}
		expect(9, 171)

		// 20 have their answer, and nobody else's comes.
		time.Sleep(50 * time.Millisecond)
		expect(9, 171)
		time.Sleep(100 * time.Millisecond) // 750 by time, of which 15 in a hundred
		expect(92, 88)
		time.Sleep(300 * time.Millisecond)
		expect(180, 0)
		time.Sleep(beat)
		if h.releasing {
			t.Error("it goes on beside an empty queue")
		}
	})
}

func TestNobodyIsRefusedByAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := holding(HoldLimits{Requests: 3, Bytes: 1000, Age: time.Second, Release: 1})
		out := make(chan error, 3)
		for range 3 {
			go func() { _, err := h.enter(t.Context(), someWrite, 10); out <- err }()
		}
		time.Sleep(900 * time.Millisecond)
		h.set(state(2, capability.Extracted, 0))
		synctest.Wait()
		if s, _ := h.serving(); s.Held != 2 {
			t.Fatalf("%+v", s)
		}
		go func() { _, err := h.enter(t.Context(), someWrite, 10); out <- err }()
		synctest.Wait()
		began := time.Now()
		if e, err := h.enter(t.Context(), someWrite, 10); err != nil || e.Owner != capability.Extracted || time.Since(began) != 0 {
			t.Errorf("beside a full queue: %v after %s", err, time.Since(began))
		}
		for range 4 {
			if err := <-out; err != nil {
				t.Error(err)
			}
		}
		if s, _ := h.serving(); s.Held != 0 || s.Writes != 5 || h.bytes != 0 {
			t.Errorf("it left %+v, %d bytes", s, h.bytes)
		}
	})
}
