package pool

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"strangler/capability"
)

// raw is a server that is a function of its connection, to misbehave at will.
func raw(t *testing.T, serve func(nth int, conn net.Conn, in *bufio.Reader)) *url.URL {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	running.Go(func() {
		for nth := 1; ; nth++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			running.Go(func() {
				serve(nth, conn, bufio.NewReader(conn))
				conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return parse(t, "http://"+listener.Addr().String())
}

func parse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// legTo makes a standard leg that is closed at the end of the test.
func legTo(t *testing.T, to *url.URL, u capability.Upstream) *standard {
	t.Helper()
	leg, err := Standard(u, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(leg.CloseIdleConnections)
	return leg.(*standard)
}

// exchange sends a request and reads the whole answer.
func exchange(t *testing.T, leg Leg, method string, to *url.URL, body io.Reader, header ...string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, to.String()+"/", body)
	if err != nil {
		t.Fatal(err)
	}
	req.GetBody = nil // as with a request that came in
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := leg.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	return res, string(text), nil
}

// stream is a body of unknown length that is no known type.
type stream struct{ io.Reader }

func streamOf(text string) io.Reader { return stream{strings.NewReader(text)} }

// census counts the connections that a test server has.
type census struct {
	mu    sync.Mutex
	seen  atomic.Int64
	open  map[net.Conn]bool // guarded by mu
	empty chan struct{}     // one slot
}

func newCensus() *census { return &census{open: map[net.Conn]bool{}, empty: make(chan struct{}, 1)} }

func (c *census) watch(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.seen.Add(1)
		c.open[conn] = true
		select {
		case <-c.empty:
		default:
		}
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
		if len(c.open) == 0 {
			select {
			case c.empty <- struct{}{}:
			default:
			}
		}
	}
}

func (c *census) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// spoken are the ways in which an endpoint is spoken to.
var spoken = []struct {
	name     string
	tls      bool
	protocol capability.Protocol
	major    int
}{
	{"http1", false, capability.ProtocolHTTP1, 1},
	{"auto without TLS", false, "", 1},
	{"h2c", false, capability.ProtocolH2C, 2},
	{"http1 over TLS", true, capability.ProtocolHTTP1, 1},
	{"auto over TLS", true, capability.ProtocolAuto, 2},
	{"h2", true, capability.ProtocolHTTP2, 2},
}

// serve starts a server of every protocol, and returns the upstream that trusts it.
func serve(t *testing.T, encrypted bool, c *census, handler http.HandlerFunc) (*url.URL, capability.Upstream) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetHTTP2(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	if c != nil {
		server.Config.ConnState = c.watch
	}
	var u capability.Upstream
	if encrypted {
		server.EnableHTTP2 = true
		server.StartTLS()
		u.TLS.CA = writePEM(t, "CERTIFICATE", server.Certificate().Raw)
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return parse(t, server.URL), u
}

func startForBenchmark(b *testing.B) *url.URL {
	b.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	b.Cleanup(server.Close)
	to, err := url.Parse(server.URL)
	if err != nil {
		b.Fatal(err)
	}
	return to
}
