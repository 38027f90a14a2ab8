package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strangler/capability"
	"strangler/proxy/breaker"
	"strangler/proxy/pool"
)

// raw listens and lets f do what it likes with each connection, after the
// headers of a request were read.
func raw(t *testing.T, f func(net.Conn, *http.Request)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					f(conn, r)
				}
			})
		}
	})
	return "http://" + l.Addr().String()
}

func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// nobody is an address at which connections are refused.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return "http://" + l.Addr().String()
}

func extractedAt(addresses ...string) func(*Options, *capability.Document) {
	return func(_ *Options, d *capability.Document) { d.Extracted.Endpoints = addresses }
}

func TestReadsFallBack(t *testing.T) {
	for _, c := range []struct {
		name    string
		address func(*testing.T) string
	}{
		{"refused", nobody},
		{"reset before the headers", func(t *testing.T) string {
			return raw(t, func(c net.Conn, _ *http.Request) { reset(c) })
		}},
		{"closed before the headers", func(t *testing.T) string { return raw(t, func(net.Conn, *http.Request) {}) }},
		{"reset in mid-header", func(t *testing.T) string {
			return raw(t, func(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConte"); reset(c) })
		}},
		{"garbage", func(t *testing.T) string {
			return raw(t, func(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n\r\n") })
		}},
		{"502", func(t *testing.T) string {
			return answering(t, "x", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }).URL
		}},
		{"503", func(t *testing.T) string {
			return answering(t, "x", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }).URL
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, state(1, capability.Legacy, capability.Whole), nil, nil, extractedAt(c.address(t)))
			for range 30 { // before and after the breaker opens
				a := s.get("/api/orders/1", "u")
				s.want(a, 200, "legacy")
				if a.header.Get(headerSide) != "legacy" {
					t.Fatalf("the answer names %q", a.header.Get(headerSide))
				}
			}
			if b := s.Breakers(); b[1].State != breaker.Open {
				t.Errorf("breaker of extracted: %+v", b[1])
			}
			if !strings.Contains(s.log.String(), `"reason":"fallback"`) {
				t.Error("the access log does not say fallback")
			}
		})
	}
}

// lagging is the state of a capability whose other side is not current.
func lagging(e capability.Effective) capability.Effective {
	e.Shared = false
	return e
}

func TestNoFallback(t *testing.T) {
	for _, c := range []struct {
		name   string
		state  capability.Effective
		adjust func(*capability.Document)
		before func(*served)
		status int
		reason string
	}{
		{"not wanted", state(1, capability.Legacy, capability.Whole), func(d *capability.Document) { d.Resilience.Fallback = false }, nil, 503, "cannot be reached"},
		{"the other side lags", lagging(state(1, capability.Extracted, capability.Whole)), nil, nil, 503, "older data"},
		{"own write not there yet", state(1, capability.Extracted, 5000), nil,
			func(s *served) { s.want(s.do("POST", "/api/orders/1", "u", nil), 503, "") }, 503, "older data"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.state, nil, nil, extractedAt(nobody(t)), func(_ *Options, d *capability.Document) {
				if c.adjust != nil {
					c.adjust(d)
				}
			})
			user := subjectOn(t, capability.Extracted, c.state.Weight)
			if c.before != nil {
				p := s.table.Load().bindings[0].lasting.marks.begin(user)
				defer s.table.Load().bindings[0].lasting.marks.end(p)
			}
			a := s.get("/api/orders/1", user)
			s.want(a, c.status, "")
			if !strings.Contains(a.body, c.reason) || a.header.Get("Retry-After") == "" {
				t.Errorf("said %s", a.body)
			}
		})
	}
}

// The whole extracted service dies under load, with reads in flight, and comes
// back: nobody gets to see it.
func TestExtractedDiesUnderLoad(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }
	s := serve(t, state(1, capability.Legacy, 3000), slow, slow, func(_ *Options, d *capability.Document) {
		d.Resilience.Breaker = capability.Breaker{Ratio: 0.5, Requests: 10, Window: time.Second, OpenFor: 50 * time.Millisecond, Trials: 2}
		d.Resilience.Budget = capability.Budget{Least: 6} // for all that are there when it dies
	})
	address := s.extracted.Listener.Addr().String()
	stop := make(chan struct{})
	var onExtracted atomic.Int64
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				method := "GET"
				if n%4 == 0 {
					method = "POST"
				}
				path := fmt.Sprintf("/api/orders/%d", n)
				a := s.do(method, path, fmt.Sprint("user", i, "-", n%20), nil)
				if a.err != nil || a.status != 200 || a.body != path {
					t.Errorf("%s %s: %d %v %s", method, path, a.status, a.err, a.body)
					return
				}
				if a.header.Get(headerSide) == "extracted" {
					onExtracted.Add(1)
				}
			}
		})
	}
	eventually(t, "reads on extracted", func() bool { return onExtracted.Load() > 50 || t.Failed() })
	_ = s.extracted.Listener.Close()
	s.extracted.CloseClientConnections()
	eventually(t, "the breaker opens", func() bool { return s.Breakers()[1].State == breaker.Open || t.Failed() })
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	back := httptest.NewUnstartedServer(http.HandlerFunc(slow))
	_ = back.Listener.Close()
	back.Listener = l
	back.Start()
	defer back.Close()
	before := onExtracted.Load()
	eventually(t, "reads on extracted again", func() bool { return onExtracted.Load() > before+50 || t.Failed() })
	close(stop)
	wg.Wait()
}

// The one thing that must never happen: a write sent twice.
func TestWritesAreNeverSentTwice(t *testing.T) {
	var arrived atomic.Int64
	dying := func(t *testing.T) string {
		return raw(t, func(c net.Conn, r *http.Request) {
			if r.Method != "GET" {
				arrived.Add(1)
			}
			_, _ = io.Copy(io.Discard, r.Body)
			reset(c)
		})
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		arrived.Store(0)
		s := serve(t, state(1, capability.Extracted, 5000), nil, nil, extractedAt(dying(t), dying(t)))
		a := s.do(method, "/api/orders/1", "u", strings.NewReader("body"))
		s.want(a, 502, "")
		if arrived.Load() != 1 || !strings.Contains(a.body, "not known") {
			t.Errorf("%s arrived %d times: %s", method, arrived.Load(), a.body)
		}
	}
	s := serve(t, state(1, capability.Extracted, 5000), nil, nil, extractedAt(dying(t)),
		func(_ *Options, d *capability.Document) { d.Routes[0].Class = capability.Write })
	s.want(s.get("/api/orders/1", "u"), 502, "") // a GET that writes
}

func TestWriteGoesToAnotherEndpointOnlyIfNothingWasSent(t *testing.T) {
	s := serve(t, state(1, capability.Extracted, 5000), nil, nil)
	s.doc.Extracted.Endpoints = []string{nobody(t), s.extracted.URL, nobody(t)}
	s.set(state(2, capability.Extracted, 5000))
	for range 20 {
		s.want(s.do("POST", "/api/orders/1", "u", strings.NewReader("body")), 200, "extracted")
	}
	s.doc.Extracted.Endpoints = []string{nobody(t), nobody(t)}
	s.set(state(3, capability.Extracted, 5000))
	a := s.do("POST", "/api/orders/1", "u", strings.NewReader("body"))
	s.want(a, 503, "")
	if !strings.Contains(a.body, "touched nothing") {
		t.Errorf("said %s", a.body)
	}
}

func TestUpstreamThatDiesInMidBodyBreaksTheAnswerOff(t *testing.T) {
	address := raw(t, func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
		reset(c)
	})
	s := serve(t, state(1, capability.Legacy, capability.Whole), nil, nil, extractedAt(address))
	if a := s.get("/api/orders/1", "u"); a.err == nil {
		t.Errorf("half an answer passed for a whole one: %d %q", a.status, a.body)
	}
	eventually(t, "it is in the log", func() bool { return strings.Contains(s.log.String(), `"reason":"connection"`) })
}

func TestTimeouts(t *testing.T) {
	hang := make(chan struct{})
	stall := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/halfway") {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		<-hang
	}
	s := serve(t, state(1, capability.Legacy, 0), stall, nil, func(_ *Options, d *capability.Document) {
		d.Resilience.Timeout = time.Hour
		d.Routes[0].Timeout = 30 * time.Millisecond // the route's goes first
	})
	defer close(hang)
	s.want(s.get("/api/orders/1", "u"), 504, "")
	s.want(s.do("POST", "/api/orders/1", "u", strings.NewReader("x")), 504, "")
	if a := s.get("/api/orders/halfway", "u"); a.err == nil {
		t.Errorf("a body that stands still: %d %q", a.status, a.body)
	}
}

func TestReadIsRetriedOnTheSameSide(t *testing.T) {
	var n atomic.Int64
	address := raw(t, func(c net.Conn, _ *http.Request) {
		if n.Add(1) == 1 {
			reset(c)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Served-By: extracted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	s := serve(t, state(1, capability.Legacy, capability.Whole), nil, nil, extractedAt(address))
	s.want(s.get("/api/orders/1", "u"), 200, "extracted")
}

// The unclaimed rest has no breaker, no fallback and no side but legacy.
func TestUnclaimedRequestsPassThrough(t *testing.T) {
	s := serve(t, state(1, capability.Extracted, capability.Whole), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, nil)
	for range 50 {
		s.want(s.get("/other", "u"), 500, "legacy")
	}
	for _, path := range []string{"/api/orders/..%2fx", "/a/%2e%2e/b", "/a%00", `/a%5cb`} {
		s.want(s.get(path, "u"), 400, "")
	}
}

// An endpoint that refuses connections costs one request a retry, and not every
// second one until it is ejected.
func TestAnEndpointThatRefusesIsSetAside(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		s := serve(t, onExtracted(), nil, nil)
		s.doc.Extracted.Endpoints = []string{nobody(t), s.extracted.URL}
		s.doc.Extracted.Ejection.For = time.Hour // which bounds the wait, that begins with a second
		s.set(state(2, capability.Extracted, capability.Whole))
		aside := func() bool { return s.Endpoints()[1].State == pool.Ejected }
		for deadline := time.Now().Add(20 * time.Second); !aside() && time.Now().Before(deadline); {
			s.want(s.do(method, "/api/orders/1", "u", nil), 200, "extracted")
		}
		if !aside() {
			t.Fatalf("%s: never set aside: %+v", method, s.Endpoints())
		}
		eventually(t, "one request is logged as tried twice", func() bool { return strings.Count(s.log.String(), `"attempts":2`) == 1 })
		if b := s.breaker(); b.Failures != 0 {
			t.Errorf("breaker: %+v", b)
		}
	}
}

// It is back with the first request that reaches it.
func TestAnEndpointThatCanBeReachedAgainIsBack(t *testing.T) {
	address := nobody(t)
	s := serve(t, onExtracted(), nil, nil)
	s.doc.Extracted.Endpoints = []string{address, s.extracted.URL}
	s.doc.Extracted.Ejection.For = 10 * time.Millisecond // between two probes
	s.set(state(2, capability.Extracted, capability.Whole))
	until := func(what string, state pool.State) {
		t.Helper()
		eventually(t, what, func() bool {
			s.want(s.get("/api/orders/1", "u"), 200, "extracted")
			return s.Endpoints()[1].State == state
		})
	}
	until("it is set aside", pool.Ejected)
	l, err := net.Listen("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	back := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Served-By", "extracted") }))
	_ = back.Listener.Close()
	back.Listener = l
	back.Start()
	defer back.Close()
	until("it is back", pool.Healthy)
	if b := s.breaker(); b.Failures != 0 {
		t.Errorf("breaker: %+v", b)
	}
}
