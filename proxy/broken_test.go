package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
	"strangler/proxy/breaker"
	"strangler/proxy/pool"
)

// half answers with the beginning of a body, and then breaks off.
func half(c net.Conn, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(c, okHead+"half")
}

// whole answers in full.
func whole(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, okHead+"0123456789") }

// onExtracted is a state in which everything goes to the extracted side.
func onExtracted() capability.Effective { return state(1, capability.Extracted, capability.Whole) }

func breakerAs(b capability.Breaker) func(*Options, *capability.Document) {
	return func(_ *Options, d *capability.Document) { d.Resilience.Breaker, d.Resilience.Fallback = b, false }
}

func (s *served) breaker() BreakerInfo { return s.Breakers()[1] }

// A side that begins every answer and ends none is not well.
func TestBrokenBodiesOpenTheBreaker(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		s := serve(t, onExtracted(), nil, nil, extractedAt(raw(t, half)),
			breakerAs(capability.Breaker{Ratio: 1, Requests: 4, Window: time.Minute, OpenFor: time.Minute, Trials: 1}))
		for n := range 4 {
			if b := s.breaker(); b.State != breaker.Closed || b.Requests != n || b.Failures != n {
				t.Fatalf("after %d broken answers: %+v", n, b)
			}
			if a := s.do(method, "/api/orders/1", "u", nil); a.err == nil {
				t.Fatalf("half an answer passed for a whole one: %d %q", a.status, a.body)
			}
			eventually(t, "the end is counted", func() bool { b := s.breaker(); return b.Failures == n+1 || b.State == breaker.Open })
		}
		if b := s.breaker(); b.State != breaker.Open || !strings.Contains(b.Reason, "4 of 4 requests failed") || !strings.Contains(b.Reason, "unexpected EOF") {
			t.Errorf("breaker: %+v", b)
		}
		s.want(s.do(method, "/api/orders/1", "u", nil), 503, "")
	}
}

func TestBrokenBodiesEjectTheEndpoint(t *testing.T) {
	var broken atomic.Int64
	bad := raw(t, func(c net.Conn, r *http.Request) { broken.Add(1); half(c, r) })
	s := serve(t, onExtracted(), nil, nil, extractedAt(bad, raw(t, whole)),
		breakerAs(capability.Breaker{Ratio: 1, Requests: 1000, Window: time.Minute, OpenFor: time.Minute, Trials: 1}))
	ejected := func() bool {
		for _, e := range s.Endpoints() {
			if e.Address == bad {
				return e.State == pool.Ejected && strings.Contains(e.Why, "broke off")
			}
		}
		return false
	}
	for deadline := time.Now().Add(20 * time.Second); !ejected(); {
		if time.Now().After(deadline) {
			t.Fatalf("never ejected: %+v", s.Endpoints())
		}
		s.get("/api/orders/1", "u")
	}
	if n := broken.Load(); n != 5 {
		t.Errorf("it broke %d answers off", n)
	}
	s.want(s.get("/api/orders/1", "u"), 200, "")
}

// What ends an answer on this side of the proxy says nothing about the other.
func TestAnswersThatOthersBreakOffAreNoFailures(t *testing.T) {
	const timeout = 100 * time.Millisecond
	for _, c := range []struct {
		name, method string
		end          func(res *http.Response)
	}{
		{"the client goes away", "GET", func(res *http.Response) { _ = res.Body.Close() }},
		{"the timeout of a write", "POST", func(res *http.Response) { _, _ = io.Copy(io.Discard, res.Body) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			gone := make(chan struct{})
			address := raw(t, func(conn net.Conn, _ *http.Request) {
				_, _ = io.WriteString(conn, okHead+"half")
				_, _ = io.Copy(io.Discard, conn)
				close(gone)
			})
			s := serve(t, onExtracted(), nil, nil, extractedAt(address),
				breakerAs(capability.Breaker{Ratio: 1, Requests: 100, Window: time.Minute, OpenFor: time.Minute, Trials: 1}),
				func(_ *Options, d *capability.Document) {
					if c.method == "POST" {
						d.Resilience.Timeout = timeout
					}
				})
			req, _ := http.NewRequest(c.method, s.url+"/api/orders/1", nil)
			res, err := s.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			c.end(res)
			<-gone
			eventually(t, "it is over", func() bool { return s.Endpoints()[1].InFlight == 0 })
			if b := s.breaker(); b.Requests != 1 || b.Failures != 0 {
				t.Errorf("breaker: %+v", b)
			}
		})
	}
}

// The clock stands while a client is waited for: a read's answer in which nothing comes
// for a whole timeout stands still over there, and is one failure of the side and of the
// endpoint, the breaker's trials included.
func TestABodyThatStandsStillIsAFailure(t *testing.T) {
	s := serve(t, onExtracted(), nil, nil, extractedAt(raw(t, func(conn net.Conn, _ *http.Request) {
		_, _ = io.WriteString(conn, okHead+"half")
		_, _ = io.Copy(io.Discard, conn)
	})), breakerAs(capability.Breaker{Ratio: 1, Requests: 3, Window: time.Minute, OpenFor: 10 * time.Millisecond, OpenMost: 10 * time.Millisecond, Trials: 1}),
		func(_ *Options, d *capability.Document) { d.Resilience.Timeout = 50 * time.Millisecond })
	read := func() {
		t.Helper()
		if a := s.get("/api/orders/1", "u"); a.err == nil {
			t.Fatalf("half an answer passed for a whole one: %d %q", a.status, a.body)
		}
	}
	for n := range 3 {
		if b := s.breaker(); b.State != breaker.Closed || b.Requests != n || b.Failures != n {
			t.Fatalf("after %d answers that stood still: %+v", n, b)
		}
		read()
		eventually(t, "the end is counted", func() bool {
			return s.breaker().Failures == n+1 || s.binding().reach[capability.Extracted].breaker.Info().Opened > 0
		})
	}
	opened := func(n int) {
		t.Helper()
		eventually(t, "it opens", func() bool { return s.binding().reach[capability.Extracted].breaker.Info().Opened >= n })
	}
	opened(1)
	if b := s.breaker(); !strings.Contains(b.Reason, "3 of 3 requests failed") || !strings.Contains(b.Reason, "stood still") {
		t.Errorf("breaker: %+v", b)
	}
	eventually(t, "its open time ends", func() bool { return s.breaker().State == breaker.HalfOpen })
	read()
	opened(2)
}

// A chunk that comes in small pieces, and so is not read as a whole for longer than the
// timeout, does not stand still.
func TestAChunkInPiecesDoesNotStandStill(t *testing.T) {
	const timeout, pieces = 500 * time.Millisecond, 60
	s := serve(t, onExtracted(), nil, nil, extractedAt(raw(t, func(conn net.Conn, _ *http.Request) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", pieces)
		pace := time.NewTicker(2 * timeout / pieces)
		defer pace.Stop()
		for range pieces {
			<-pace.C
			if _, err := io.WriteString(conn, "."); err != nil {
				return
			}
		}
		_, _ = io.WriteString(conn, "\r\n0\r\n\r\n")
	})), breakerAs(capability.Breaker{Ratio: 0.01, Requests: 1, Window: time.Minute, OpenFor: time.Minute, Trials: 1}),
		func(_ *Options, d *capability.Document) { d.Resilience.Timeout = timeout })
	a := s.get("/api/orders/1", "u")
	if a.err != nil || a.body != strings.Repeat(".", pieces) {
		t.Errorf("%d %q: %v", a.status, a.body, a.err)
	}
	if b := s.breaker(); b.State != breaker.Closed || b.Failures != 0 {
		t.Errorf("breaker: %+v", b)
	}
}

// Bytes of a head do not keep it waiting for longer than the timeout.
func TestAHeadInPiecesIsBounded(t *testing.T) {
	const timeout = 100 * time.Millisecond
	s := serve(t, onExtracted(), nil, nil, extractedAt(raw(t, func(conn net.Conn, _ *http.Request) {
		pace := time.NewTicker(timeout / 10)
		defer pace.Stop()
		for _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Slow: "); err == nil; _, err = io.WriteString(conn, "a") {
			<-pace.C
		}
	})), func(_ *Options, d *capability.Document) { d.Resilience.Timeout, d.Resilience.Fallback = timeout, false })
	s.want(s.get("/api/orders/1", "u"), 504, "")
}

// A trial is not won with a head.
func TestATrialFailsWithItsBody(t *testing.T) {
	var well atomic.Bool
	s := serve(t, onExtracted(), nil, nil, extractedAt(raw(t, func(c net.Conn, r *http.Request) {
		if well.Load() {
			whole(c, r)
			return
		}
		half(c, r)
	})), breakerAs(capability.Breaker{Ratio: 1, Requests: 1, Window: time.Minute, OpenFor: 10 * time.Millisecond, OpenMost: 10 * time.Millisecond, Trials: 1}))
	opened := func(n int) {
		t.Helper()
		eventually(t, "it opens", func() bool { return s.binding().reach[capability.Extracted].breaker.Info().Opened >= n })
	}
	s.get("/api/orders/1", "u")
	opened(1)
	for n := 2; n < 5; n++ {
		eventually(t, "its open time ends", func() bool { return s.breaker().State == breaker.HalfOpen })
		if a := s.get("/api/orders/1", "u"); a.err == nil {
			t.Fatalf("%d %s", a.status, a.body)
		}
		opened(n)
	}
	well.Store(true)
	eventually(t, "its open time ends", func() bool { return s.breaker().State == breaker.HalfOpen })
	s.want(s.get("/api/orders/1", "u"), 200, "")
	if b := s.breaker(); b.State != breaker.Closed {
		t.Errorf("breaker: %+v", b)
	}
}

func (s *served) binding() *binding { return s.table.Load().bindings[0] }

// A body that goes on and on says soon enough that the side is well.
func TestATrialDoesNotWaitForALongBody(t *testing.T) {
	var well atomic.Bool
	end := make(chan struct{})
	s := serve(t, onExtracted(), nil, func(w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			w.WriteHeader(500)
			return
		}
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		<-end
	}, breakerAs(capability.Breaker{Ratio: 1, Requests: 1, Window: time.Minute, OpenFor: 10 * time.Millisecond, Trials: 1}))
	s.want(s.get("/api/orders/1", "u"), 500, "")
	well.Store(true)
	eventually(t, "its open time ends", func() bool { return s.breaker().State == breaker.HalfOpen })
	asked := time.Now()
	res, err := s.client.Get(s.url + "/api/orders/1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	eventually(t, "it closes", func() bool { return s.breaker().State == breaker.Closed })
	if waited := s.breaker().Since.Sub(asked); waited < bodyOfTrial {
		t.Errorf("it closed %v after the question, in the middle of a body", waited)
	}
	close(end)
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "half" {
		t.Errorf("%q %v", b, err)
	}
}

// tired breaks off when it is read for the second time.
type tired struct{ reads int }

func (b *tired) Read(p []byte) (int, error) {
	if b.reads++; b.reads > 1 {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(p, "half"), nil
}

func (b *tired) Close() error { return nil }

// A side that loses its patience with a client who takes nothing is well: a handful
// of clients must not be able to close it to all the others.
func TestASideThatWaitsForTheClientIsNotBlamed(t *testing.T) {
	for _, c := range []struct {
		takes  time.Duration
		blamed bool
	}{{0, true}, {time.Second, true}, {2 * time.Second, false}} {
		synctest.Test(t, func(t *testing.T) {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://e0/", nil)
			w := &watcher{ReadCloser: &tired{}, clock: &clock{}, since: time.Now()}
			why := ""
			w.end = func(err error) { why = (&exchange{request: req}).brokeOff(req, w, err) }
			p := make([]byte, 10)
			_, _ = w.Read(p)
			time.Sleep(c.takes)
			if _, err := w.Read(p); err == nil || (why != "") != c.blamed {
				t.Errorf("a client that took %v: %q", c.takes, why)
			}
		})
	}
}
