package edge

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// What the guard refuses over HTTP/1 must not come in as HTTP/2: it would become
// part of a request line to an upstream.
func TestMalformedHTTP2IsRefused(t *testing.T) {
	t.Parallel()
	s := run(t, Options{HTTP2: true, Handler: text("yes")})
	f := speak(t, dial(t, s.address))
	stream, refused := uint32(1), uint64(0)
	for _, c := range []struct{ name, value, want string }{
		{":method", "GET", "200"},
		{":method", "M-SEARCH", "200"},
		{":method", "GET /admin HTTP/1.1", "400"},
		{":method", "GET\t", "400"},
		{":method", "G(T", "400"},
		{":path", "/a?b=c", "200"},
		{":path", "/ä?ä", "200"},
		{":path", "/a?b HTTP/1.0", "400"},
		{":path", "/a?b\tc", "reset"}, // by net/http
		{":path", "/a b", "400"},
		{":path", "/a?b#c", "400"},
		{":path", "/a#b", "400"},
		{":path", "a", "reset"},
		{":path", "http://y/a", "400"},
		{":path", "*", "200"},
		{":authority", "shop.example:8080", "200"},
		{":authority", "[::1]:80", "200"},
		{":authority", "", "400"},
		{":authority", "shop.example,x", "400"},
		{":authority", "[::1", "400"},
		{":authority", "[::1]x", "400"},
		{":authority", "[x]", "400"},
		{":authority", "::1", "400"},
		{":authority", "shop.example:8o", "400"},
		{":authority", "shop.example:65535", "200"},
		{":authority", "shop.example:65536", "400"},
		{":authority", "[::1]:99999", "400"},
		{":authority", "a@shop.example", "reset"}, // by net/http
		{":authority", ":80", "400"},
		{":authority", "shop.example:", "200"},
		{":authority", "xn--\xc3\xa9", "400"},
		{"host", "X", "200"},
		{"host", "y", "400"},
		{"trailer", "a, ,b", "200"},
		{"trailer", "a b", "400"},
		{"content-length", "0", "200"},
		{"content-length", "5", "400"},
		{"content-length", "+0", "400"},
		{"content-length", "", "400"},
		{":authority", "shop.example/admin?", "400"},
		{":authority", "shop example", "400"},
		{":authority", "shop.example\tx", "400"},
		{":authority", "shop.ex\xc3\xa4mple", "400"},
	} {
		f.request(stream, true, c.name, c.value)
		got, _ := f.answer(stream)
		if got != c.want {
			t.Errorf("%s %q: %s, want %s", c.name, c.value, got, c.want)
		}
		if c.want == "400" {
			refused++
		}
		stream += 2
	}
	for _, second := range []string{"3", "4"} {
		f.request(stream, false, "content-length", "3", "content-length", second)
		if got := f.status(stream); got != "400" {
			t.Errorf("lengths 3 and %s: %s", second, got)
		}
		if frame, err := f.next(); err != nil || frame.Header().Type != http2.FrameRSTStream {
			t.Errorf("%v, %v: the body is still wanted", frame, err)
		}
		refused++
		stream += 2
	}
	if n := s.Stats().Malformed; n != refused {
		t.Errorf("counted %d of %d", n, refused)
	}
}

// Whether the connection is encrypted is not for the client to say.
func TestTheSchemeIsThatOfTheConnection(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "root")
	files := a.files("server")
	a.write(files, "x")
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, Peers{}.Client(r).Proto)
	})
	config := a.config("x")
	config.NextProtos = []string{"h2"}
	secure := run(t, Options{HTTP2: true, Handler: handler, TLS: &TLS{Certificates: []CertificateFiles{files}}})
	plain := run(t, Options{HTTP2: true, Handler: handler})
	for _, c := range []struct {
		address string
		config  *tls.Config
		want    string
	}{{secure.address, config, "https"}, {plain.address, nil, "http"}} {
		for i, scheme := range []string{"http", "https"} {
			conn := dial(t, c.address)
			if c.config != nil {
				conn = dialTLS(t, c.address, c.config)
			}
			f := speak(t, conn)
			stream := uint32(2*i + 1)
			f.request(stream, true, ":scheme", scheme)
			if status, got := f.answer(stream); status != "200" || got != c.want {
				t.Errorf("%s over %s is taken for %s (%s)", scheme, c.want, got, status)
			}
		}
	}
}

// A client that asks and takes back costs more than it spends (CVE-2023-44487). It
// is told to go, which leaves alone what it still waits for.
func TestAClientThatResetsIsToldToGo(t *testing.T) {
	t.Parallel()
	inside, done, release := make(chan bool, 1), make(chan bool, 1), make(chan bool)
	log := &lines{}
	overFrames(t, Options{Log: log.logger(), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/wait":
			<-release
		case "/reset":
			inside <- true
			<-r.Context().Done()
			done <- true
		}
	})}, func(t *testing.T, _ *running, f *frames) {
		before := log.count("told to go")
		f.request(1, true, ":path", "/wait")
		stream := uint32(1)
		reset := func() {
			stream += 2
			f.request(stream, true, ":path", "/reset")
			within(t, "the request", inside)
			f.must(f.WriteRSTStream(stream, http2.ErrCodeCancel))
			within(t, "the request's end", done)
		}
		for range mostResets - 1 {
			reset()
		}
		f.quiet("a client that has taken back fewer requests")
		reset()
		if frame, err := f.next(); err != nil || frame.Header().Type != http2.FrameGoAway {
			t.Errorf("%v, %v", frame, err)
		}
		f.request(stream+2, true, ":path", "/reset")
		f.quiet("what it asks for after that")
		release <- true
		if got := f.status(1); got != "200" {
			t.Errorf("the other request: %s", got)
		}
		if n := log.count("told to go") - before; n != 1 || len(inside) > 0 {
			t.Errorf("%d lines:\n%s", n, log)
		}
	})
}

// Some requests are taken back by everybody.
func TestAClientThatResetsSomeStays(t *testing.T) {
	t.Parallel()
	inside, done := make(chan bool, 1), make(chan bool, 1)
	s := run(t, Options{HTTP2: true, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/reset") {
			inside <- true
			<-r.Context().Done()
			done <- true
		}
	})})
	f := speak(t, dial(t, s.address))
	stream := uint32(1)
	for range mostResets + 1 {
		f.request(stream, true, ":path", "/reset")
		within(t, "the request", inside)
		f.must(f.WriteRSTStream(stream, http2.ErrCodeCancel))
		within(t, "the request's end", done)
		for range 2 {
			stream += 2
			f.request(stream, true)
			if got := f.status(stream); got != "200" {
				t.Fatal(got)
			}
		}
		stream += 2
	}
	f.quiet("a client that has taken back a third of its requests")
}

// A header that does not come to its end holds up the answer to our ping, too.
func TestASlowHeaderOverHTTP2(t *testing.T) {
	t.Parallel()
	inside := make(chan bool, 1)
	s, err := New(Options{HTTP2: true, Listeners: listener(t), Log: slog.New(slog.DiscardHandler), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		inside <- true
		<-r.Context().Done()
	})})
	if err != nil {
		t.Fatal(err)
	}
	s.http.HTTP2.SendPingTimeout, s.http.HTTP2.PingTimeout = short, short
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	f := speak(t, dial(t, s.inbox.Addr().String()))
	f.request(1, true) // keeps the connection from being idle
	within(t, "the request", inside)
	f.must(f.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: f.encode(":method", "GET")}))
	until(t, "the connection ends", func() bool {
		<-time.After(short / 5)
		return f.WriteContinuation(3, false, f.encode("a", "b")) != nil
	})
	stop()
	if err := within(t, "the end", ended); err != nil {
		t.Error(err)
	}
}
