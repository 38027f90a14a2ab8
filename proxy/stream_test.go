package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"strangler/capability"
	"strangler/proxy/edge"
)

// echo upgrades a connection and sends back each line.
func echo(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_ = rw.Flush()
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = rw.WriteString("echo " + line)
		_ = rw.Flush()
	}
}

func upgrade(t *testing.T, address, path string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	conn := connect(t, address)
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", path)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 101 || res.Header.Get(headerSide) == "" {
		t.Fatalf("upgrade: %v", res)
	}
	return conn, r
}

func say(t *testing.T, conn net.Conn, r *bufio.Reader, line string) {
	t.Helper()
	fmt.Fprintln(conn, line)
	if got, err := r.ReadString('\n'); err != nil || got != "echo "+line+"\n" {
		t.Fatalf("said %q, heard %q, %v", line, got, err)
	}
}

func TestWebSocketOutlivesTimeoutAndReload(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), echo, nil, func(_ *Options, d *capability.Document) { d.Resilience.Timeout = 20 * time.Millisecond })
	conn, r := upgrade(t, s.url, "/api/orders/live")
	say(t, conn, r, "one")
	<-time.After(2 * s.doc.Resilience.Timeout)
	s.doc.Routes[0].Path = "/api/orders/live"
	s.set(state(2, capability.Legacy, 100))
	say(t, conn, r, "two")
	conn.Close()
	eventually(t, "the tunnel is forgotten", func() bool { return len(s.streams.Open()) == 0 })
}

// A write that is answered by a stream must not keep a switch waiting for good.
func TestWriteAnsweredByAStreamIsOver(t *testing.T) {
	hang := make(chan struct{})
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-hang
	}, nil)
	defer close(hang)
	res, err := s.client.Post(s.url+"/api/orders/1", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if now, _ := s.serving("orders"); now.Writes != 0 {
		t.Errorf("%+v", now)
	}
}

func TestEventsAreFlushedAtOnceAndOutliveTheTimeout(t *testing.T) {
	next := make(chan string)
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for event := range next {
			fmt.Fprintf(w, "data: %s\n\n", event)
			_ = http.NewResponseController(w).Flush()
		}
	}, nil, func(_ *Options, d *capability.Document) { d.Resilience.Timeout = 20 * time.Millisecond })
	go func() { next <- "a" }()
	res, err := s.client.Get(s.url + "/api/orders/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	r := bufio.NewReader(res.Body)
	for i, event := range []string{"a", "b", "c"} {
		if i > 0 {
			<-time.After(2 * s.doc.Resilience.Timeout)
			next <- event
		}
		if got, err := r.ReadString('\n'); err != nil || got != "data: "+event+"\n" {
			t.Fatalf("read %q, %v", got, err)
		}
		_, _ = r.ReadString('\n')
	}
	close(next)
}

// An upstream that announces a length and takes its time is passed on as it comes.
func TestKnownLengthTrickles(t *testing.T) {
	next := make(chan bool)
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3")
		for _, piece := range []string{"", "a", "b", "c"} {
			_, _ = io.WriteString(w, piece)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}, nil)
	defer close(next)
	res, err := s.client.Get(s.url + "/api/orders/1") // comes back though there is no body yet
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, piece := range []string{"a", "b", "c"} {
		next <- true
		b := make([]byte, 1)
		if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != piece {
			t.Fatalf("read %q, %v", b, err)
		}
	}
}

// Forwarding a 1xx must not erase our headers, and must not carry the
// upstream's connection headers (golang/go#81207, golang/go#81319).
func TestEarlyHints(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.WriteHeader(103)
		w.WriteHeader(200)
	}, nil, func(_ *Options, d *capability.Document) {
		d.Traffic.Subject = capability.Subject{Kind: capability.SubjectMinted}
	})
	var hints http.Header
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
		hints = http.Header(h)
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, "GET", s.url+"/api/orders/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	a := s.send(r)
	s.want(a, 200, "")
	if hints.Get("Link") == "" || hints.Get("X-Hop") != "" || hints.Get("Connection") != "" {
		t.Errorf("hints: %v", hints)
	}
	if a.header.Get("Set-Cookie") == "" || a.header.Get(headerSide) != "legacy" {
		t.Errorf("our headers are gone: %v", a.header)
	}
}

func TestLargeBodiesStreamBothWays(t *testing.T) {
	const size = 8 << 20
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		n, err := io.Copy(w, r.Body)
		if n != size || err != nil {
			t.Errorf("echoed %d, %v", n, err)
		}
	}, nil)
	a := s.do("POST", "/api/orders/1", "u", io.LimitReader(zeros{}, size))
	if a.status != 200 || len(a.body) != size {
		t.Errorf("%d, %d bytes, %v", a.status, len(a.body), a.err)
	}
}

// An upstream that answers before it has read the body, as one that refuses it
// does, answers once and leaves nothing behind.
func TestEarlyReply(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(413) }, nil)
	for range 20 {
		a := s.do("POST", "/api/orders/1", "u", io.LimitReader(zeros{}, 4<<20))
		if a.err == nil && a.status != 413 && a.status != 502 { // the upstream closes the connection; who writes into it may see that first
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	eventually(t, "nothing is in flight", func() bool { now, _ := s.serving("orders"); return now.Writes == 0 })
	a := s.do("POST", "/api/orders/1", "u", strings.NewReader("small"))
	s.want(a, 413, "legacy")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTrailers(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Announced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	}, nil)
	res, err := s.client.Get(s.url + "/api/orders/1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || string(b) != "body" || res.Trailer.Get("X-Announced") != "1" || res.Trailer.Get("X-Late") != "2" {
		t.Errorf("%q %v %v", b, res.Trailer, err)
	}
}

func TestMintedCookie(t *testing.T) {
	minted := func(_ *Options, d *capability.Document) { d.Traffic.Subject = capability.Subject{} }
	s := serve(t, state(1, capability.Legacy, 5000), nil, nil, minted)
	a := s.get("/api/orders/1", "")
	set, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
	if err != nil || set.Name != mintedCookie || !set.HttpOnly || set.Secure || set.SameSite != http.SameSiteLaxMode || set.Path != "/" {
		t.Fatalf("%v, %v", set, err)
	}
	side := a.header.Get("X-Served-By")
	for range 5 {
		r, _ := http.NewRequest("GET", s.url+"/api/orders/1", nil)
		r.AddCookie(set)
		a := s.send(r)
		s.want(a, 200, side)
		if a.header.Get("Set-Cookie") != "" {
			t.Error("minted again")
		}
	}
	if a := s.get("/other", ""); a.header.Get("Set-Cookie") != "" {
		t.Error("minted for what nobody claims")
	}
	secure := httptest.NewTLSServer(s.Proxy)
	defer secure.Close()
	client := secure.Client()
	client.Timeout = longest
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // a test's own server
	res, err := client.Get(secure.URL + "/api/orders/1")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if !strings.Contains(res.Header.Get("Set-Cookie"), "Secure") {
		t.Errorf("over TLS: %q", res.Header.Get("Set-Cookie"))
	}
}

// startServer runs a Server, and returns its address and what ends it.
func startServer(t *testing.T, s *served, grace time.Duration) (address string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan error, 1)
	server, err := edge.New(edge.Options{Handler: s.Proxy, Listeners: []net.Listener{l}, Drain: edge.Drain{Grace: grace},
		OnDrain: s.Drain, Streams: s.Streams, Log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	go func() { out <- server.Run(ctx) }()
	var once sync.Once
	var result error
	stop = func() error { once.Do(func() { cancel(); result = <-out }); return result }
	t.Cleanup(func() { _ = stop() })
	return "http://" + l.Addr().String(), stop
}

func TestServerDrains(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			echo(w, r)
			return
		}
		inside <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "done")
	}, nil)
	address, stop := startServer(t, s, 10*time.Second)
	conn, r := upgrade(t, address, "/api/orders/live")
	say(t, conn, r, "one")
	got := make(chan string)
	go func() {
		res, err := s.client.Get(address + "/api/orders/1")
		if err != nil {
			got <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		got <- string(b)
	}()
	<-inside
	if !s.Ready() {
		t.Error("not ready while it serves")
	}
	stopped := make(chan error)
	go func() { stopped <- stop() }()
	eventually(t, "readiness is gone", func() bool { return !s.Ready() })
	say(t, conn, r, "two") // streams go on within the grace
	close(release)
	if body := <-got; body != "done" {
		t.Errorf("in flight: %q", body)
	}
	conn.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestServerClosesTunnelsAtTheEndOfTheGrace(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), echo, nil)
	address, stop := startServer(t, s, 20*time.Millisecond)
	conn, r := upgrade(t, address, "/api/orders/live")
	say(t, conn, r, "one")
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("the tunnel is still open")
	}
}

// A client could speak for others in the trailer as well as in the header.
func TestTrailersOfRequestsAreScrubbed(t *testing.T) {
	got := make(chan http.Header, 1)
	s := serve(t, state(1, capability.Legacy, 0), func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	}, nil)
	for _, announce := range []string{"X-Sum, X-Forwarded-For, X_real_ip, X-Strangler-Side", "X-Sum"} {
		conn := connect(t, s.url)
		fmt.Fprintf(conn, "POST /api/orders/1 HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\nTrailer: %s\r\nConnection: close\r\n\r\n"+
			"4\r\nbody\r\n0\r\nX-Sum: 1\r\nX-Forwarded-For: 6.6.6.6\r\nX_real_ip: 6.6.6.6\r\nX-Strangler-Side: extracted\r\nAuthorization: x\r\n\r\n", announce)
		answer, _ := io.ReadAll(conn)
		conn.Close()
		if !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
			t.Fatalf("%s", answer)
		}
		if trailer := <-got; trailer.Get("X-Sum") != "1" || len(trailer) != 1 {
			t.Errorf("with %s announced the upstream got %v", announce, trailer)
		}
	}
}

// What a handler around the proxy has set is for the final answer: a 1xx neither
// takes it along nor erases it.
func TestInformationalAnswersLeaveHeadersOfOuterHandlers(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusOK)
	}, nil)
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=1")
		s.Proxy.ServeHTTP(w, r)
	}))
	defer outer.Close()
	hints := make(chan string, 1)
	trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
		hints <- h.Get("Strict-Transport-Security")
		return nil
	}}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", outer.URL+"/api/orders/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := outer.Client()
	client.Timeout = longest
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if early := <-hints; early != "" || res.Header.Get("Strict-Transport-Security") != "max-age=1" {
		t.Errorf("the hints have %q, the answer %v", early, res.Header)
	}
}
