package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"strangler/capability"
	"strangler/proxy/breaker"
	"strangler/proxy/pool"
)

// A request that nobody can be sent is refused, by the edge or here, and blames
// nobody.
func TestRequestsThatCannotBeSentBlameNobody(t *testing.T) {
	for _, front := range fronts[:2] {
		r := pairing{front, backs[0], pool.Standard}.start(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) },
			touchy(20*time.Second))
		r.set(state(2, capability.Extracted, capability.Whole))
		for _, field := range [][2]string{{"trailer", "a b"}, {":authority", "xn--é"}, {":authority", "xn--zz--ß"}} {
			conn := connect(t, r.address)
			status, err := "", error(nil)
			if front.major == 2 {
				status, err = stream(conn, "abc", field)
			} else {
				host, more := "a", ""
				if field[0] == ":authority" {
					host = field[1]
				} else {
					more = "Trailer: " + field[1] + "\r\n"
				}
				_, _ = fmt.Fprintf(conn, "POST /api/orders/1 HTTP/1.1\r\nHost: %s\r\n%sTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", host, more)
				var res *http.Response
				if res, err = http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
					status = fmt.Sprint(res.StatusCode)
				}
			}
			if status != "400" {
				t.Errorf("%s, %v: %s %v", front.name, field, status, err)
			}
		}
		r.well()
	}
}

// Nor does a header that is larger than a side takes, whatever it speaks.
func TestHeadersThatAreTooLargeForTheSide(t *testing.T) {
	for _, b := range backs {
		t.Run(b.name, func(t *testing.T) {
			up := b.serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), func(s *http.Server) { s.MaxHeaderBytes = 4 << 10 })
			r := pairing{fronts[0], b, pool.Standard}.before(t, up, up.URL, touchy(20*time.Second))
			r.set(state(2, capability.Extracted, capability.Whole))
			for _, method := range []string{"GET", "POST"} {
				r.get(method, "/api/orders/1", 431, nil, "X-Large", strings.Repeat("a", 20<<10))
			}
			r.well()
		})
	}
}

const fewDescriptors = "STRANGLER_TEST_FEW_DESCRIPTORS"

// That this process has no descriptor left is not the side's fault. It is tried in a
// process of its own, which nobody else needs them of.
func TestOwnWantsBlameNobody(t *testing.T) {
	if os.Getenv(fewDescriptors) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=1m")
		cmd.Env = append(os.Environ(), fewDescriptors+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	r := pairing{fronts[0], backs[0], pool.Standard}.start(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") },
		touchy(20*time.Second))
	r.set(state(2, capability.Extracted, capability.Whole))
	r.get("POST", "/api/orders/1", 200, nil) // and the client has a connection
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 256, Max: 256}); err != nil {
		t.Fatal(err)
	}
	var taken []*os.File
	for _, method := range []string{"GET", "POST"} {
		for { // also what the request before has given back
			f, err := os.Open(os.DevNull)
			if err != nil {
				break
			}
			taken = append(taken, f)
		}
		a, _ := r.get(method, "/api/orders/1", 503, nil)
		if !strings.Contains(a.body, "touched nothing") || a.header.Get("Retry-After") == "" {
			t.Errorf("%s %v", a.body, a.header)
		}
	}
	for _, f := range taken {
		_ = f.Close()
	}
	r.well()
}

// A 503 that says when to come back is a side that is well, to its endpoint as to its
// breaker, if it is a write's; with the gate's header also a read's.
func TestGatesEjectNobody(t *testing.T) {
	var headers atomic.Value
	headers.Store(http.Header{})
	s := serve(t, onExtracted(), nil, func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range headers.Load().(http.Header) {
			w.Header()[name] = values
		}
		w.WriteHeader(503)
	}, func(_ *Options, d *capability.Document) {
		d.Extracted.Ejection.Failures, d.Extracted.Ejection.Most = 3, 100
		d.Resilience.Fallback = false
		d.Resilience.Breaker = capability.Breaker{Ratio: 1, Requests: 100, Window: time.Minute, OpenFor: time.Minute, Trials: 1}
	})
	// The same one under two names, for an only endpoint is never ejected.
	s.doc.Extracted.Endpoints = append(s.doc.Extracted.Endpoints, strings.Replace(s.extracted.URL, "127.0.0.1", "localhost", 1))
	s.set(state(2, capability.Extracted, capability.Whole))
	for _, c := range []struct {
		method  string
		header  http.Header
		ejected bool
	}{
		{"POST", http.Header{"Retry-After": {"1"}}, false},
		{"POST", http.Header{gateHeader: {"1"}}, false},
		{"GET", http.Header{gateHeader: {"1"}, "Retry-After": {"1"}}, false},
		{"GET", http.Header{"Retry-After": {"1"}}, true},
	} {
		headers.Store(c.header)
		for range 12 {
			s.want(s.do(c.method, "/api/orders/1", "u", nil), 503, "extracted")
		}
		ejected := false
		for _, e := range s.Endpoints() {
			ejected = ejected || e.State == pool.Ejected
		}
		if b := s.breaker(); ejected != c.ejected || (b.Failures > 0) != c.ejected || b.State != breaker.Closed {
			t.Errorf("%s with %v: ejected %v, breaker %+v", c.method, c.header, ejected, b)
		}
	}
}
