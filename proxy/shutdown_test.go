package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"strangler/capability"
	"strangler/proxy/edge"
)

// startEdge puts the proxy behind the server that it has in production.
func startEdge(t *testing.T, s *served, grace time.Duration) (stop func(), address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := edge.New(edge.Options{Handler: s.Proxy, Listeners: []net.Listener{l}, HTTP2: true, Drain: edge.Drain{Grace: grace}, Streams: s.Streams, Log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan error, 1)
	go func() { out <- server.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-out; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop, l.Addr().String()
}

func TestEdgePassesHalves(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), changing(websocket, shouting), nil)
	_, address := startEdge(t, s, time.Second)
	conn, r, res := dialled(t, address, "GET /api/orders/live HTTP/1.1\r\nHost: x\r\n"+websocket+"\r\nearly and ")
	if res.StatusCode != 101 {
		t.Fatal(res)
	}
	_, _ = io.WriteString(conn, "late\r\n\x00")
	_ = conn.CloseWrite()
	if b, err := io.ReadAll(r); err != nil || string(b) != "EARLY AND LATE\r\n\x00" {
		t.Errorf("%q, %v", b, err)
	}
	s.closed()
}

// Tunnels go on while the server drains, and end with its grace.
func TestEdgeDrainsTunnels(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), echo, nil)
	stop, address := startEdge(t, s, 300*time.Millisecond)
	conn, r := upgrade(t, address, "/api/orders/live")
	say(t, conn, r, "one")
	stopped := make(chan bool)
	go func() { stop(); close(stopped) }()
	eventually(t, "nobody is taken any more", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	say(t, conn, r, "two")
	<-stopped
	if _, err := r.ReadByte(); err == nil {
		t.Error("the tunnel is still open")
	}
	if got := s.closed(); got["end"] != "drained" {
		t.Errorf("%v", got)
	}
}

// A 101 that comes when the drain is over already meets the end of the grace.
func TestTunnelBehindTheDrain(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), changing(websocket, silent), nil)
	ctx, cut := context.WithCancelCause(context.Background())
	front := httptest.NewUnstartedServer(s.Proxy)
	front.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	front.Start()
	defer front.Close()
	_, r, res := dialled(t, front.URL, "GET /api/orders/live HTTP/1.1\r\nHost: x\r\n"+websocket+"\r\n")
	if res.StatusCode != 101 {
		t.Fatal(res)
	}
	cut(edge.ErrEndOfGrace)
	if _, err := r.ReadByte(); err == nil {
		t.Error("the tunnel is still open")
	}
	if got := s.closed(); got["end"] != "drained" {
		t.Errorf("%v", got)
	}
}

// What the end of the grace cuts off is not the client's doing, nor the side's.
func TestCutOffByShutdown(t *testing.T) {
	for _, c := range []struct {
		method, path string
		status       int
	}{{"GET", "/api/orders/1", 503}, {"POST", "/unclaimed", 502}} {
		inside := make(chan bool)
		s := serve(t, state(1, capability.Legacy, 0), func(_ http.ResponseWriter, r *http.Request) {
			inside <- true
			<-r.Context().Done()
		}, nil)
		ctx, cut := context.WithCancelCause(context.Background())
		go func() { <-inside; cut(edge.ErrEndOfGrace) }()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(c.method, "http://x"+c.path, nil).WithContext(ctx))
		if w.Code != c.status {
			t.Errorf("%s: %d %s", c.method, w.Code, w.Body)
		}
		if got := s.closed(); got["reason"] != "shutdown" {
			t.Errorf("%s: %v", c.method, got)
		}
		if b := s.Breakers(); b[0].Failures != 0 {
			t.Errorf("%+v", b[0])
		}
	}
}

// Whom the end of the grace cuts off is told so.
func TestClientsHearOfTheEndOfTheGrace(t *testing.T) {
	for _, c := range []struct {
		name, method, path string
		status             int
	}{{"read", "GET", "/api/orders/1", 503}, {"unclaimed write", "POST", "/unclaimed", 502}, {"write", "POST", "/api/orders/1", 502}} {
		for _, major := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, HTTP/%d", c.name, major), func(t *testing.T) {
				inside := make(chan bool, 1)
				s := serve(t, state(1, capability.Legacy, 0), func(_ http.ResponseWriter, r *http.Request) {
					inside <- true
					<-r.Context().Done()
				}, nil)
				stop, address := startEdge(t, s, 20*time.Millisecond)
				transport := &http.Transport{Protocols: new(http.Protocols)}
				transport.Protocols.SetHTTP1(major == 1)
				transport.Protocols.SetUnencryptedHTTP2(major == 2)
				defer transport.CloseIdleConnections()
				go func() { <-inside; stop() }()
				req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+address+c.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := (&http.Client{Transport: transport, Timeout: longest}).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				content, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				text := string(content)
				if res.StatusCode != c.status || major == 1 && !res.Close || !strings.Contains(text, errShutdown.Error()) {
					t.Errorf("%d, close %v, %s", res.StatusCode, res.Close, text)
				}
				if got := s.closed(); got["reason"] != "shutdown" {
					t.Errorf("%v", got)
				}
			})
		}
	}
}

func TestAnswerCutOffByShutdown(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "the beginning")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}, nil)
	stop, address := startEdge(t, s, 20*time.Millisecond)
	_, _, res := dialled(t, address, "GET /api/orders/1 HTTP/1.1\r\nHost: x\r\n\r\n")
	if res.StatusCode != 200 {
		t.Fatal(res)
	}
	stop()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("half an answer looks like a whole one")
	}
	if got := s.closed(); got["reason"] != "shutdown" {
		t.Errorf("%v", got)
	}
}

// A hold that is cut off does not blame the client.
func TestHeldWriteCutOffByShutdown(t *testing.T) {
	s := serve(t, switching(state(1, capability.Legacy, 0)), nil, nil)
	ctx, cut := context.WithCancelCause(context.Background())
	done := make(chan *httptest.ResponseRecorder)
	go func() {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("POST", "http://x/api/orders/1", nil).WithContext(ctx))
		done <- w
	}()
	eventually(t, "the write is held", func() bool { now, _ := s.serving("orders"); return now.Held == 1 })
	cut(edge.ErrEndOfGrace)
	if w := <-done; w.Code != 503 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := s.closed(); got["reason"] != "shutdown" {
		t.Errorf("%v", got)
	}
}

// A body that turns out to be malformed is the client's fault, which it is told.
func TestMalformedBodyIs400(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "taken")
	}, nil)
	_, address := startEdge(t, s, time.Second)
	conn := connect(t, address)
	_, _ = io.WriteString(conn, "POST /api/orders/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	eventually(t, "the write is under way", func() bool { now, _ := s.serving("orders"); return now.Writes == 1 })
	_, _ = io.WriteString(conn, "3\nabc\r\n0\r\n\r\n")
	res, err := nextReply(bufio.NewReader(conn))
	if err != nil {
		t.Fatal(err)
	}
	if text := body(t, res); res.StatusCode != 400 || !strings.Contains(text, "malformed") {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	if got := s.closed(); got["reason"] != "malformed" {
		t.Errorf("%v", got)
	}
	if b := s.Breakers()[0]; b.Requests != 0 {
		t.Errorf("the side is blamed, or praised: %+v", b)
	}
}

// An upstream's Alt-Svc would lead clients around the proxy.
func TestAltSvcIsDropped(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Alt-Svc", `h3=":443"`)
		w.WriteHeader(103)
	}, nil)
	_, r, res := dialled(t, s.url, "GET /api/orders/1 HTTP/1.1\r\nHost: x\r\n\r\n")
	if res.StatusCode != 103 || res.Header.Get("Alt-Svc") != "" {
		t.Errorf("%v", res)
	}
	if res, err := nextReply(r); err != nil || res.StatusCode != 200 || res.Header.Get("Alt-Svc") != "" {
		t.Errorf("%v, %v", res, err)
	}
}
