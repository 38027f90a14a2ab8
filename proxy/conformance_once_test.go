package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"strangler/capability"
)

// once counts what arrives by X-Number.
type once struct {
	mu      sync.Mutex
	arrived map[string]int // guarded by mu
}

func (o *once) count(number string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.arrived == nil {
		o.arrived = map[string]int{}
	}
	o.arrived[number]++
}

func (o *once) of(number string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.arrived[number]
}

// writesInDisguise are requests that net/http's own transport would send again when
// a kept connection dies under them.
var writesInDisguise = []struct {
	name, method, path string
	header             []string
	body               bool
}{
	{"GET classed as write", "GET", "/api/orders/claim", nil, false},
	{"HEAD classed as write", "HEAD", "/api/orders/claim", nil, false},
	{"POST with Idempotency-Key", "POST", "/api/orders/1", []string{"Idempotency-Key", "k"}, true},
	{"POST with X-Idempotency-Key", "POST", "/api/orders/1", []string{"X-Idempotency-Key", "k"}, false},
	{"unclaimed POST with Idempotency-Key", "POST", "/other", []string{"Idempotency-Key", "k"}, true},
	{"PUT", "PUT", "/api/orders/1", nil, true},
	{"DELETE", "DELETE", "/api/orders/1", nil, false},
}

// A write that was sent on a kept connection and lost there is not sent again.
func TestConformWritesAreSentOnce(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		var seen once
		r := c.start(t, func(w http.ResponseWriter, in *http.Request) {
			_, _ = io.Copy(io.Discard, in.Body)
			number := in.Header.Get("X-Number")
			if number == "" {
				return // it warms the connection up
			}
			seen.count(number)
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				reset(conn)
				return
			}
			panic(http.ErrAbortHandler)
		}, func(_ *Options, d *capability.Document) {
			d.Routes = append(d.Routes, capability.Route{Path: "/api/orders/claim", Class: capability.Write, Line: 4})
			d.Resilience.Retries = 3
		})
		for i, write := range writesInDisguise {
			r.get("GET", write.path, 200, nil)
			var body io.Reader
			if write.body {
				body = strings.NewReader("body")
			}
			number := fmt.Sprint(i)
			a, _ := r.send(r.request(write.method, write.path, body, append(write.header, "X-Number", number)...))
			if a.err != nil || a.status != 502 || write.method != "HEAD" && !strings.Contains(a.body, "not known") {
				t.Errorf("%s: %d %v %s", write.name, a.status, a.err, a.body)
			}
			if n := seen.of(number); n != 1 {
				t.Errorf("%s arrived %d times", write.name, n)
			}
		}
	})
}

// leaver is an HTTP/1 upstream that leaves its connections after each answer
// without a word about it.
func leaver(t *testing.T, seen *once, leave func(conn net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				seen.count(req.Header.Get("X-Number"))
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				leave(conn)
			})
		}
	})
	return "http://" + l.Addr().String()
}

// A kept connection that the upstream has closed costs nobody anything: not one
// byte of the next write was sent (go.dev/issue/22158, 19943).
func TestConformKeptConnectionIsGone(t *testing.T) {
	conformWhere(t, toHTTP1, func(t *testing.T, c pairing) {
		var seen once
		noticed := make(chan struct{}, 64)
		r := c.before(t, nil, leaver(t, &seen, func(conn net.Conn) {
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn) // until the proxy has closed its end, too
			noticed <- struct{}{}
		}))
		for i := range 20 {
			number := fmt.Sprint(i)
			r.get("POST", "/api/orders/1", 200, strings.NewReader("body"), "X-Number", number)
			<-noticed
			if n := seen.of(number); n != 1 {
				t.Errorf("it arrived %d times", n)
			}
		}
	})
}

// The same while the write is on its way: it arrives once at most, and whoever
// hears of an error hears whether it may have taken effect.
func TestConformKeptConnectionGoesUnderWrite(t *testing.T) {
	conformWhere(t, toHTTP1, func(t *testing.T, c pairing) {
		var seen once
		var well atomic.Int64
		r := c.before(t, nil, leaver(t, &seen, func(net.Conn) {}))
		for i := range 200 {
			number := fmt.Sprint(i)
			a, _ := r.send(r.request("POST", "/api/orders/1", strings.NewReader("body"), "X-Number", number))
			n := seen.of(number)
			switch {
			case a.err == nil && a.status == 200 && n == 1:
				well.Add(1)
			case a.err == nil && a.status == 502 && n <= 1 && strings.Contains(a.body, "not known"):
			default:
				t.Fatalf("%d %v %s; it arrived %d times", a.status, a.err, a.body, n)
			}
		}
		if well.Load() == 0 {
			t.Error("none did well")
		}
		t.Logf("%d of 200 did well", well.Load())
	})
}
