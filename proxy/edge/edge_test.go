package edge

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(envProcess) != "" {
		os.Exit(process()) // a server of TestHandOver
	}
	goleak.VerifyTestMain(m)
}

// running is a server under test.
type running struct {
	*Server
	address string
	stop    context.CancelFunc
	stopped chan error // takes what Run returned
}

// run starts a server on loopback and stops it when the test ends.
func run(t testing.TB, o Options) *running {
	t.Helper()
	if o.Listeners == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o.Listeners = []net.Listener{l}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{s, o.Listeners[0].Addr().String(), stop, make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.stopped <- s.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return r
}

func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// reply is what the tests want of a response.
type reply struct {
	Proto                  string
	ProtoMajor, StatusCode int
	Close                  bool
}

func replyOf(res *http.Response) reply {
	return reply{res.Proto, res.ProtoMajor, res.StatusCode, res.Close}
}

// answerOf reads one response and its body.
func answerOf(t testing.TB, r *bufio.Reader) (reply, string) {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("read an answer: %v", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read an answer's body: %v", err)
	}
	return replyOf(res), string(b)
}

// client returns one with connections of its own.
func client(t testing.TB, protocols ...func(*http.Protocols)) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	if len(protocols) == 0 {
		tr.Protocols.SetHTTP1(true)
	}
	for _, p := range protocols {
		p(tr.Protocols)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func h2c(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }

func get(t testing.TB, c *http.Client, url string) (reply, string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return replyOf(res), string(b)
}

// within fails the test when c does not come.
func within[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: nothing came", what)
	}
	return v
}

// until fails the test when ok does not become true.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not in time", what)
		}
		<-time.After(time.Millisecond)
	}
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, s) })
}

// listener returns one that closes with the test.
func listener(t testing.TB) []net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return []net.Listener{l}
}
