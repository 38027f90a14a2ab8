package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strangler/capability"
)

// begins answers with what start writes and then says nothing until the request
// ends.
func begins(ended chan<- struct{}, start func(http.ResponseWriter)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if start != nil {
			start(w)
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
		ended <- struct{}{}
	}
}

// A gateway's error whose body never comes keeps no read from the other side, and
// does not use its time up.
func TestStalledFailureFallsBackAtOnce(t *testing.T) {
	ended := make(chan struct{}, 1)
	s := serve(t, state(1, capability.Legacy, capability.Whole), nil, begins(ended, func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }),
		func(_ *Options, d *capability.Document) { d.Resilience.Timeout = 20 * time.Second })
	s.want(s.get("/api/orders/1", "u"), 200, "legacy")
	<-ended // the stalled answer was given up
	for _, b := range s.Breakers() {
		if b.Side == capability.Legacy && b.Failures > 0 {
			t.Errorf("the side that stood in is blamed: %+v", b)
		}
	}
}

// A failure that calls itself an event stream takes the timeout from nobody.
func TestFailureThatIsAnEventStreamKeepsTheTimeout(t *testing.T) {
	ended := make(chan struct{}, 1)
	s := serve(t, state(1, capability.Legacy, capability.Whole), begins(ended, nil), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusServiceUnavailable)
	}, func(_ *Options, d *capability.Document) { d.Resilience.Timeout = 100 * time.Millisecond })
	s.want(s.get("/api/orders/1", "u"), 504, "")
	<-ended
}

// A write that is answered by a stream is over for the switch, and its stream ends
// with its client.
func TestStreamOfAWriteEndsWithItsClient(t *testing.T) {
	ended := make(chan struct{}, 1)
	s := serve(t, state(1, capability.Legacy, 0), begins(ended, func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/event-stream") }), nil)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r, err := http.NewRequestWithContext(ctx, "POST", s.url+"/api/orders/1", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	leave()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the upstream's stream is held though nobody reads it")
	}
}

// What has reached nobody is tried at the next endpoint, a read like a write,
// claimed or not.
func TestNothingSentIsTriedElsewhere(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), nil, nil, func(o *Options, d *capability.Document) {
		o.Legacy = capability.Upstream{Endpoints: []string{o.Legacy.Endpoints[0], nobody(t)}, Ejection: capability.Ejection{Off: true}}
		d.Resilience.Retries = 0
	})
	for _, path := range []string{"/elsewhere", "/api/orders/1"} {
		for range 20 {
			for _, method := range []string{"GET", "POST"} {
				s.want(s.do(method, path, "u", nil), 200, "legacy")
			}
		}
	}
}

// A side that has begun to answer a write may not have committed it: the write is
// in flight until the answer ends, though its client has left.
func TestWriteIsInFlightUntilItsAnswerEnds(t *testing.T) {
	left, finish := make(chan struct{}), make(chan struct{})
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-left
		for range 64 { // until the proxy finds that nobody takes it
			_, _ = w.Write(make([]byte, 64<<10))
		}
		<-finish
	}, nil)
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", s.url+"/api/orders/1", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	_ = res.Body.Close()
	close(left)
	// Enough for the proxy to notice that its client has left.
	asked, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	s.set(switching(state(2, capability.Legacy, 0)))
	if now := s.Serving(asked, "orders", 0, true); now.Writes != 1 {
		t.Errorf("its answer goes on, and it is not in flight: %+v", now)
	}
	close(finish)
	if now := s.Serving(t.Context(), "orders", 0, true); now.Writes != 0 {
		t.Errorf("its answer has ended: %+v", now)
	}
}

// A side that answers some reads with 503 does not double onto the other one: no more
// than the budget allows are there at once, and the rest gets the 503.
func TestFallingBackTakesFromTheBudget(t *testing.T) {
	const clients, least = 30, 4
	free := make(chan struct{})
	var at, most atomic.Int64
	s := serve(t, state(1, capability.Legacy, capability.Whole), func(w http.ResponseWriter, _ *http.Request) {
		now := at.Add(1)
		for have := most.Load(); now > have && !most.CompareAndSwap(have, now); have = most.Load() {
		}
		<-free
		at.Add(-1)
		_, _ = io.WriteString(w, "legacy")
	}, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}, func(_ *Options, d *capability.Document) {
		d.Resilience.Timeout, d.Resilience.Retries = 20*time.Second, 0
		d.Resilience.Budget = capability.Budget{Share: 1, Least: least}
		d.Resilience.Breaker = capability.Breaker{Ratio: 1, Requests: 10 * clients, Window: time.Minute, OpenFor: time.Second, Trials: 1}
	})
	release := sync.OnceFunc(func() { close(free) })
	t.Cleanup(release)
	answers := make(chan answer, clients)
	for i := range clients {
		go func() { answers <- s.get("/api/orders/1", fmt.Sprint("u", i)) }()
	}
	// All but those that the budget lets through are answered while these are still there.
	for range clients - least {
		s.want(<-answers, 503, "")
	}
	release()
	for range least {
		s.want(<-answers, 200, "legacy")
	}
	if most.Load() != least {
		t.Errorf("%d fell back at once, want %d", most.Load(), least)
	}
	s.want(s.get("/api/orders/1", "u"), 200, "legacy") // the budget is whole again
}

// Reads that an open breaker turns away are no retries.
func TestAnOpenBreakerTakesNothingFromTheBudget(t *testing.T) {
	const clients = 30
	var at atomic.Int64
	all := make(chan struct{})
	s := serve(t, state(1, capability.Legacy, capability.Whole), func(w http.ResponseWriter, _ *http.Request) {
		if at.Add(1) == clients {
			close(all)
		}
		<-all
		_, _ = io.WriteString(w, "legacy")
	}, nil, func(_ *Options, d *capability.Document) {
		d.Resilience.Timeout = 20 * time.Second
		d.Resilience.Budget = capability.Budget{Share: 1, Least: 1}
		d.Breakers.Extracted = capability.BreakerForced
	})
	answers := make(chan answer, clients)
	for i := range clients {
		go func() { answers <- s.get("/api/orders/1", fmt.Sprint("u", i)) }()
	}
	for range clients {
		s.want(<-answers, 200, "legacy")
	}
}
