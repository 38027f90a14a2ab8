package edge

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// gated is a handler that says when a request of /wait is inside, and answers it
// when told to. Others are answered at once.
type gated struct{ inside, release chan struct{} }

func newGated() *gated { return &gated{make(chan struct{}, 10), make(chan struct{})} }

func (g *gated) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/wait" {
		g.inside <- struct{}{}
		<-g.release
	}
	_, _ = io.WriteString(w, "done")
}

func TestServerDrains(t *testing.T) {
	t.Parallel()
	for name, protocols := range map[string][]func(*http.Protocols){"HTTP/1.1": nil, "HTTP/2": {h2c}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGated()
			draining := make(chan struct{})
			s := run(t, Options{Handler: g, HTTP2: true, OnDrain: func() { close(draining) }})
			got := make(chan string, 1)
			c := client(t, protocols...)
			go func() {
				res, err := c.Get("http://" + s.address + "/wait")
				if err != nil {
					got <- err.Error()
					return
				}
				defer res.Body.Close()
				b, _ := io.ReadAll(res.Body)
				got <- res.Proto[:6] + " " + string(b)
			}()
			within(t, "the request", g.inside)
			s.stop()
			within(t, "OnDrain", draining)
			// The listener closes though the request is still there.
			for {
				c, err := net.Dial("tcp", s.address)
				if err != nil {
					break
				}
				c.Close()
			}
			close(g.release)
			if body := within(t, "the answer", got); body != name[:6]+" done" {
				t.Errorf("in flight: %q", body)
			}
			if err := within(t, "the end", s.stopped); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServerServesDuringTheDelay(t *testing.T) {
	t.Parallel()
	draining := make(chan struct{})
	s := run(t, Options{Handler: text("yes"), HTTP2: true, Drain: Drain{Delay: 300 * time.Millisecond}, OnDrain: func() { close(draining) }})
	old := dial(t, s.address)
	r := bufio.NewReader(old)
	send(t, old, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if res, _ := answerOf(t, r); res.Close {
		t.Fatal("the connection closes though nobody drains")
	}
	two := client(t, h2c)
	get(t, two, "http://"+s.address)
	s.stop()
	within(t, "OnDrain", draining)
	send(t, old, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if res, body := answerOf(t, r); !res.Close || body != "yes" {
		t.Errorf("kept connection: close %v, %q", res.Close, body)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection goes on: %v", err)
	}
	if res, body := get(t, client(t), "http://"+s.address); !res.Close || body != "yes" {
		t.Errorf("new connection: close %v, %q", res.Close, body)
	}
	if res, body := get(t, two, "http://"+s.address); res.ProtoMajor != 2 || body != "yes" {
		t.Errorf("HTTP/2: %s, %q", res.Proto, body)
	}
	if err := within(t, "the end", s.stopped); err != nil {
		t.Error(err)
	}
}

func TestServerClosesIdleConnections(t *testing.T) {
	t.Parallel()
	s := run(t, Options{Handler: text("yes")})
	c := dial(t, s.address)
	r := bufio.NewReader(c)
	send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	answerOf(t, r)
	s.stop()
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection: %v", err)
	}
	if err := within(t, "the end", s.stopped); err != nil {
		t.Error(err)
	}
}

// net/http would drop the connection without an answer.
func TestServerAnswersAConnectionThatWasJustAccepted(t *testing.T) {
	t.Parallel()
	draining := make(chan struct{})
	s := run(t, Options{Handler: text("yes"), OnDrain: func() { close(draining) }})
	c := dial(t, s.address)
	send(t, c, "GET / HTTP/1.1\r\n")
	for s.Stats().Open == 0 {
		<-time.After(time.Millisecond)
	}
	s.stop()
	within(t, "OnDrain", draining)
	send(t, c, "Host: x\r\n\r\n")
	if res, body := answerOf(t, bufio.NewReader(c)); body != "yes" || !res.Close {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

func TestServerCutsStreamsAtTheEndOfTheGrace(t *testing.T) {
	t.Parallel()
	for name, protocols := range map[string][]func(*http.Protocols){"HTTP/1.1": nil, "HTTP/2": {h2c}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cause := make(chan error, 1)
			told := make(chan bool, 1)
			s := run(t, Options{
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, "begin")
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
					cause <- context.Cause(r.Context())
				}),
				HTTP2:   true,
				Drain:   Drain{Grace: 50 * time.Millisecond},
				Streams: func(ctx context.Context) int { <-ctx.Done(); told <- true; return 1 },
			})
			res, err := client(t, protocols...).Get("http://" + s.address)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			s.stop()
			if err := within(t, "the end", s.stopped); err != nil {
				t.Error(err)
			}
			within(t, "Streams", told)
			if err := within(t, "the handler", cause); !errors.Is(err, ErrEndOfGrace) {
				t.Errorf("the cause: %v", err)
			}
		})
	}
}

func TestServerFailsWithItsListener(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := run(t, Options{Handler: text("yes"), Listeners: []net.Listener{l}})
	get(t, client(t), "http://"+s.address)
	l.Close()
	if err := within(t, "the end", s.stopped); err == nil {
		t.Error("no error though the listener is gone")
	}
}

// An idle HTTP/2 connection is not one whose first request is about to come.
func TestDrainDoesNotSettleHTTP2(t *testing.T) {
	t.Parallel()
	s := run(t, Options{Handler: text("yes"), HTTP2: true})
	f := speak(t, dial(t, s.address))
	f.request(1, true)
	if got := f.status(1); got != "200" {
		t.Fatal(got)
	}
	until(t, "the stream ends", func() bool {
		frame, err := f.next()
		return err != nil || frame.Header().Flags.Has(http2.FlagDataEndStream)
	})
	if s.unsettled() {
		t.Error("a drain would wait for it")
	}
}
