package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"strangler/capability"
)

const websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\n"

// changing answers a request with that head, and gives its connection to f.
func changing(head string, f func(conn net.Conn, r *bufio.Reader)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n"+head+"\r\n"); err == nil && f != nil {
			f(conn, rw.Reader)
		}
	}
}

// shouting answers when the client has said all, and in capitals.
func shouting(conn net.Conn, r *bufio.Reader) {
	b, err := io.ReadAll(r)
	if err == nil {
		_, _ = conn.Write(bytes.ToUpper(b))
	}
}

// silent says nothing until its peer ends.
func silent(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }

// reply is an answer on a connection that the test reads itself.
type reply struct {
	StatusCode int
	Header     http.Header
	Body       io.Reader // ends with the connection, if not before
}

func nextReply(r *bufio.Reader) (reply, error) {
	res, err := http.ReadResponse(r, nil) //nolint:bodyclose // there is only the connection to close
	if err != nil {
		return reply{}, err
	}
	return reply{res.StatusCode, res.Header, res.Body}, nil
}

// dialled sends a request and returns the connection with the answer read from it.
func dialled(t *testing.T, address, raw string) (*net.TCPConn, *bufio.Reader, reply) {
	t.Helper()
	conn := connect(t, address)
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	res, err := nextReply(r)
	if err != nil {
		t.Fatal(err)
	}
	return conn, r, res
}

// body reads an ordinary answer to its end.
func body(t *testing.T, res reply) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// lines returns the access log.
func (s *served) lines() []map[string]any {
	var out []map[string]any
	for line := range strings.Lines(s.log.String()) {
		var m map[string]any
		if json.Unmarshal([]byte(line), &m) == nil && m["msg"] == "request" {
			out = append(out, m)
		}
	}
	return out
}

// closed waits until every tunnel has ended and been written down.
func (s *served) closed() map[string]any {
	s.t.Helper()
	eventually(s.t, "the tunnel is written down", func() bool { return len(s.lines()) > 0 })
	if open := s.streams.Open(); len(open) != 0 {
		s.t.Errorf("open: %v", open)
	}
	all := s.lines()
	return all[len(all)-1]
}

func TestUpgradePassesHalvesAndEarlyBytes(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), changing(websocket, shouting), nil)
	conn, r, res := dialled(t, s.url, "GET /api/orders/live HTTP/1.1\r\nHost: x\r\n"+websocket+"\r\nearly and ")
	if res.StatusCode != 101 {
		t.Fatal(res)
	}
	_, _ = io.WriteString(conn, "late")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "EARLY AND LATE" {
		t.Errorf("%q, %v", b, err)
	}
	got := s.closed()
	if got["end"] != "closed" || got["bytes_up"] != 14.0 || got["bytes_down"] != 14.0 || got["status"] != 101.0 || got["capability"] != "orders" {
		t.Errorf("%v", got)
	}
}

// The other half first: an upstream that has said all still listens.
func TestUpgradePassesTheEndOfTheUpstream(t *testing.T) {
	heard := make(chan string, 1)
	s := serve(t, state(1, capability.Legacy, 0), changing(websocket, func(conn net.Conn, r *bufio.Reader) {
		_, _ = io.WriteString(conn, "all I have to say")
		_ = conn.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(r)
		heard <- string(b)
	}), nil)
	conn, r, _ := dialled(t, s.url, "GET /api/orders/live HTTP/1.1\r\nHost: x\r\n"+websocket+"\r\n")
	if b, err := io.ReadAll(r); err != nil || string(b) != "all I have to say" {
		t.Errorf("%q, %v", b, err)
	}
	_, _ = io.WriteString(conn, "noted")
	_ = conn.CloseWrite()
	if got := <-heard; got != "noted" {
		t.Errorf("heard %q", got)
	}
	if got := s.closed(); got["end"] != "closed" {
		t.Errorf("%v", got)
	}
}

// TLS has halves of its own, on both sides.
func TestUpgradeOverTLS(t *testing.T) {
	upstream := httptest.NewTLSServer(changing(websocket, func(conn net.Conn, r *bufio.Reader) {
		shouting(conn, r)
		_ = conn.(*tls.Conn).CloseWrite()
	}))
	defer upstream.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: upstream.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, state(1, capability.Legacy, 0), nil, nil, func(o *Options, _ *capability.Document) {
		o.Legacy = capability.Upstream{Endpoints: []string{upstream.URL}, TLS: capability.UpstreamTLS{CA: ca}}
	})
	front := httptest.NewTLSServer(s.Proxy)
	defer front.Close()
	conn, err := tls.Dial("tcp", front.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}) //nolint:gosec // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, "GET /api/orders/live HTTP/1.1\r\nHost: x\r\n"+websocket+"\r\nearly and ")
	r := bufio.NewReader(conn)
	if res, err := nextReply(r); err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	_, _ = io.WriteString(conn, "late")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "EARLY AND LATE" {
		t.Errorf("%q, %v", b, err)
	}
	if got := s.closed(); got["end"] != "closed" {
		t.Errorf("%v", got)
	}
}

func TestUpgradeHeaders(t *testing.T) {
	asked := make(chan http.Header, 1)
	answer := changing("Connection: X-Hop, upgrade\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: WebSocket\r\nContent-Length: 5\r\n"+
		"Alt-Svc: h3=\":443\"\r\nX_Strangler_Side: extracted\r\nX-Strangler-Side: extracted\r\nSec-WebSocket-Accept: s3p\r\nSec-WebSocket-Protocol: chat\r\nSet-Cookie: a=b\r\n", silent)
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, r *http.Request) { asked <- r.Header; answer(w, r) }, nil,
		func(_ *Options, d *capability.Document) { d.Traffic.Subject = capability.Subject{} })
	conn, _, res := dialled(t, s.url, "GET /api/orders/live HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade, X-Mine\r\nX-Mine: 1\r\nX-Forwarded-For: 6.6.6.6\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
	conn.Close()
	h := res.Header
	for name, want := range map[string]string{"Connection": "Upgrade", "Upgrade": "WebSocket", "Sec-Websocket-Accept": "s3p", "Sec-Websocket-Protocol": "chat",
		"X-Hop": "", "Keep-Alive": "", "Alt-Svc": "", "Content-Length": "", "X_strangler_side": "", headerSide: "legacy"} {
		if got := strings.Join(h[name], "|"); got != want {
			t.Errorf("answer: %s: %q, want %q", name, got, want)
		}
	}
	if h.Get(headerRequestID) == "" || len(h["Set-Cookie"]) != 2 {
		t.Errorf("our headers are missing: %v", h)
	}
	in := <-asked
	for name, want := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Key": "k", "Sec-Websocket-Protocol": "chat",
		"X-Mine": "", "X-Forwarded-For": "127.0.0.1", headerRequestID: h.Get(headerRequestID)} {
		if got := strings.Join(in[name], "|"); got != want {
			t.Errorf("request: %s: %q, want %q", name, got, want)
		}
	}
	s.closed()
}

// What is not forwarded as an upgrade is an ordinary request, with an ordinary
// answer.
func TestWhatIsForwardedAsAnUpgrade(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s|%s|%s|%s", r.Header["Connection"], r.Header["Upgrade"], r.Header["Http2-Settings"], b)
	}, nil)
	for raw, want := range map[string]string{
		"Connection: Upgrade\r\nUpgrade: websocket\r\n":                                                       "[Upgrade]|[websocket]|[]|",
		"connection: foo, UPGRADE\r\nupgrade: WebSocket\r\n":                                                  "[Upgrade]|[WebSocket]|[]|",
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n": "[]|[]|[]|",
		"Connection: Upgrade\r\nUpgrade: H2C\r\nHTTP2-Settings: AA\r\n":                                       "[]|[]|[]|",
		"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\nUpgrade: TLS/1.0, foo/2,,\r\n":                     "[Upgrade]|[websocket, foo/2]|[]|",
		"Connection: Upgrade\r\nUpgrade: HTTP/2.0, TLS/1.3\r\n":                                               "[]|[]|[]|",
		"Connection: Upgrade\r\nUpgrade: web socket, \xff, a/, /b\r\n":                                        "[]|[]|[]|",
		"Connection: Upgrade\r\nUpgrade:\r\n":                                                                 "[]|[]|[]|",
		"Upgrade: websocket\r\n":                                                                              "[]|[]|[]|",
		"Connection: Upgrade\r\n":                                                                             "[]|[]|[]|",
		"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n":                                  "[]|[]|[]|body",
	} {
		text := ""
		if strings.Contains(raw, "Content-Length") {
			text = "body"
		}
		conn, r, res := dialled(t, s.url, "GET /api/orders/1 HTTP/1.1\r\nHost: x\r\n"+raw+"\r\n"+text)
		if got := body(t, res); res.StatusCode != 200 || got != want {
			t.Errorf("%q: %d %s, want %s", raw, res.StatusCode, got, want)
		}
		// An upgrade that was declined leaves the connection as it was.
		_, _ = io.WriteString(conn, "GET /api/orders/2 HTTP/1.1\r\nHost: x\r\n\r\n")
		if res, err := nextReply(r); err != nil || res.StatusCode != 200 {
			t.Errorf("%q: the next one: %v, %v", raw, res, err)
		}
	}
	_, _, res := dialled(t, s.url, "GET /api/orders/1 HTTP/1.0\r\nHost: x\r\n"+websocket+"\r\n")
	if got := body(t, res); got != "[]|[]|[]|" {
		t.Errorf("HTTP/1.0: %s", got)
	}
}

func TestUpgradeToWhatWasNotAsked(t *testing.T) {
	for head, request := range map[string]string{
		"Connection: Upgrade\r\nUpgrade: h2c\r\n":            websocket,
		"Connection: Upgrade\r\n":                            websocket,
		"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n": websocket,
		"Connection: Upgrade\r\nUpgrade: websocket\r\n":      "",
		"Upgrade: websocket\r\nConnection: Upgrade\r\n":      "Connection: Upgrade\r\nUpgrade: h2c\r\n",
	} {
		ended := make(chan bool, 1)
		s := serve(t, state(1, capability.Legacy, 0), changing(head, func(c net.Conn, r *bufio.Reader) { silent(c, r); ended <- true }), nil,
			func(_ *Options, d *capability.Document) { d.Resilience.Fallback = false })
		_, _, res := dialled(t, s.url, "GET /api/orders/1 HTTP/1.1\r\nHost: x\r\n"+request+"\r\n")
		if res.StatusCode != 502 || res.Header.Get("Upgrade") != "" || !strings.Contains(body(t, res), "not asked for") {
			t.Fatalf("%q to %q: %v", head, request, res)
		}
		<-ended
		eventually(t, "the endpoint is free", func() bool { return s.Endpoints()[0].InFlight == 0 })
		s.closed()
	}
}

func TestDeclinedUpgradeIsPassedOn(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Sec-WebSocket-Version", "13")
		w.WriteHeader(http.StatusUpgradeRequired)
		_, _ = io.WriteString(w, "no")
	}, nil)
	_, _, res := dialled(t, s.url, "GET /api/orders/1 HTTP/1.1\r\nHost: x\r\n"+websocket+"\r\n")
	if body(t, res) != "no" || res.StatusCode != 426 || res.Header.Get("Sec-WebSocket-Version") != "13" || res.Header.Get(headerSide) != "legacy" {
		t.Errorf("%v", res)
	}
}

// An open tunnel takes no place of requests, keeps no switch waiting, earns no
// retries, and keeps its endpoint, until it ends.
func TestWhatATunnelHolds(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := serve(t, state(1, capability.Legacy, 0), changing(websocket, silent), nil, func(o *Options, d *capability.Document) {
		o.Metrics = registry
		d.Resilience.Concurrency = capability.Concurrency{Requests: 1}
	})
	first, _, res := dialled(t, s.url, "POST /api/orders/live HTTP/1.1\r\nHost: x\r\n"+websocket+"\r\n")
	second, _, other := dialled(t, s.url, "GET /api/orders/live HTTP/1.1\r\nHost: x\r\n"+websocket+"\r\n")
	if res.StatusCode != 101 || other.StatusCode != 101 {
		t.Fatal(res, other)
	}
	if now, _ := s.serving("orders"); now.Writes != 0 {
		t.Errorf("%+v", now)
	}
	if n := s.lasting["orders"].budget.InFlight(); n != 0 {
		t.Errorf("%d in the budget", n)
	}
	if n := s.Endpoints()[0].InFlight; n != 2 {
		t.Errorf("%d at the endpoint", n)
	}
	want := func(orders int) {
		t.Helper()
		text := fmt.Sprintf("# HELP strangler_tunnels Connections that were upgraded, as to WebSockets, and are open.\n# TYPE strangler_tunnels gauge\n"+
			"strangler_tunnels{capability=\"\"} 0\nstrangler_tunnels{capability=\"orders\"} %d\n", orders)
		if err := testutil.GatherAndCompare(registry, strings.NewReader(text), "strangler_tunnels"); err != nil {
			t.Error(err)
		}
	}
	want(2)
	if problems := s.Update(nil, nil); len(problems) > 0 { // it is nobody's now, and goes on
		t.Fatal(problems)
	}
	want(2)
	first.Close()
	second.Close()
	eventually(t, "the endpoint is free", func() bool { return s.Endpoints()[0].InFlight == 0 })
	eventually(t, "both are written down", func() bool { return len(s.lines()) == 2 })
	if n := s.Endpoints()[0].InFlight; n != 0 {
		t.Errorf("%d at the endpoint", n)
	}
	if n := s.lasting["orders"].budget.InFlight(); n != 0 {
		t.Errorf("%d in the budget", n)
	}
}

func TestIdleTunnelIsClosed(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), changing(websocket, silent), nil, func(o *Options, _ *capability.Document) { o.TunnelIdle = 30 * time.Millisecond })
	_, r, _ := dialled(t, s.url, "GET /api/orders/live HTTP/1.1\r\nHost: x\r\n"+websocket+"\r\n")
	if _, err := r.ReadByte(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("still open: %v", err)
	}
	if got := s.closed(); got["end"] != "idle" {
		t.Errorf("%v", got)
	}
}

func TestBrokenTunnelSaysWhy(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), changing(websocket, func(conn net.Conn, r *bufio.Reader) {
		_, _ = r.ReadByte()
		reset(conn)
	}), nil)
	conn, r, _ := dialled(t, s.url, "GET /api/orders/live HTTP/1.1\r\nHost: x\r\n"+websocket+"\r\n")
	_, _ = io.WriteString(conn, "x")
	if said, _ := io.ReadAll(r); len(said) > 0 {
		t.Errorf("the client of a connection that is its own was told %q", said)
	}
	if got := s.closed(); got["end"] != "broken" || got["failure"] == nil || got["reason"] != "owner" {
		t.Errorf("%v", got)
	}
}

// A client of HTTP/2 has no connection of its own to change over.
func TestHTTP2HasNoTunnels(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), changing(websocket, silent), nil)
	front, address := startEdge(t, s, time.Second)
	defer front()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequest(http.MethodConnect, "http://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: transport, Timeout: longest}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != 400 {
		t.Errorf("%v", res)
	}
}

func FuzzAsked(f *testing.F) {
	f.Add("Upgrade", "websocket")
	f.Add("upgrade, x", "h2c, a/b,, TLS/1.0")
	f.Fuzz(func(t *testing.T, connection, upgrade string) {
		r := &http.Request{ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Connection": {connection}, "Upgrade": {upgrade}}}
		x := &exchange{}
		x.offer(r)
		out := r.Header.Get("Upgrade")
		if strings.Contains(strings.ToLower(","+strings.ReplaceAll(out, " ", "")+","), ",h2c,") {
			t.Fatalf("h2c goes on: %q", out)
		}
		if out == "" {
			return
		}
		if !strings.Contains(strings.ToLower(connection), "upgrade") || strings.ContainsFunc(out, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Fatalf("%q of %q, %q", out, connection, upgrade)
		}
		if !x.agreed(r.Header) || x.agreed(http.Header{"Upgrade": {out + ", other-than-" + upgrade}}) {
			t.Fatalf("agreed on %q wrongly", out)
		}
	})
}
