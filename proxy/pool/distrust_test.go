package pool

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strangler/capability"
)

// A server that answers twice, a moment apart, gives one client's answer to the next
// one once at most: when it has been caught, no connection to it is kept.
func TestASideThatAnswersTwiceIsCaught(t *testing.T) {
	t.Parallel()
	var connections atomic.Int64
	to := raw(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		connections.Add(1)
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			id := req.Header.Get("X-Id")
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(id), id)
			<-time.After(time.Millisecond)
			io.WriteString(conn, stray)
		}
	})
	var logged syncLog
	p := New(Options{Log: slog.New(slog.NewTextHandler(&logged, nil))})
	p.Use(capability.Upstream{Endpoints: []string{to.String()}})
	t.Cleanup(p.Close)
	leg := p.Pick(nil).Leg()
	run := func(times int, until func() bool) (wrong int64) {
		var clients sync.WaitGroup
		var count atomic.Int64
		for client := range 4 {
			clients.Go(func() {
				for i := 0; i < times && !until(); i++ {
					id := fmt.Sprintf("%d-%d", client, i)
					method, body := http.MethodGet, io.Reader(nil)
					if i%2 == 1 {
						method, body = http.MethodPost, streamOf("some")
					}
					if _, text, err := exchange(t, leg, method, to, body, "X-Id", id); err != nil {
						t.Errorf("%s: %v", id, err)
					} else if text != id {
						count.Add(1)
					}
				}
			})
		}
		clients.Wait()
		return count.Load()
	}
	run(100_000, func() bool { return p.Strays() > 0 })
	if p.Strays() == 0 {
		t.Fatal("it was never caught")
	}
	connections.Store(0)
	const each = 100
	if wrong := run(each, func() bool { return false }); wrong > 0 {
		t.Errorf("%d clients got another's answer", wrong)
	}
	if n := connections.Load(); n != 4*each {
		t.Errorf("%d connections for %d requests", n, 4*each)
	}
	if text := logged.String(); strings.Count(text, "sends more than it announces") != 1 || !strings.Contains(text, to.Host) || !strings.Contains(text, "for=1m0s") ||
		strings.Contains(text, "LEAKED") {
		t.Errorf("logged: %s", text)
	}
}

// What lies behind the answer already, when that is read, shows the same.
func TestBytesBehindAnAnswerAreCaught(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"HEAD with a body":    fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(stray)) + stray,
		"304 with a body":     "HTTP/1.1 304 Not Modified\r\n\r\n" + stray,
		"bytes behind a body": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n?",
	} {
		to := raw(t, func(_ int, conn net.Conn, in *bufio.Reader) {
			for {
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				io.WriteString(conn, answer)
			}
		})
		p := New(Options{})
		p.Use(capability.Upstream{Endpoints: []string{to.String()}})
		t.Cleanup(p.Close)
		if _, _, err := exchange(t, p.Pick(nil).Leg(), http.MethodHead, to, nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		eventually(t, name+" is seen", func() bool { return p.Strays() == 1 })
	}
}

// Servers may end an idle connection, say so with a 408, or hang up on a request:
// nobody is blamed for that.
func TestFarewellsAreNoStrays(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{}, 8)
	to := raw(t, func(nth int, conn net.Conn, in *bufio.Reader) {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		io.WriteString(conn, okay)
		if nth == 1 {
			io.WriteString(conn, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		}
		if nth == 2 {
			_, _ = in.Peek(1) // until the test has closed it or asked again
			io.WriteString(conn, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		}
		conn.Close()
		ended <- struct{}{}
	})
	p := New(Options{})
	p.Use(capability.Upstream{Endpoints: []string{to.String()}})
	t.Cleanup(p.Close)
	leg := p.Pick(nil).Leg().(*standard)
	for i := range 4 {
		if _, text, err := exchange(t, leg, http.MethodGet, to, nil); err != nil || text != "ok" && text != "" {
			t.Fatalf("%d: %q, %v", i, text, err)
		}
	}
	leg.CloseIdleConnections()
	if n := p.Strays(); n != 0 {
		t.Errorf("caught %d times", n)
	}
	if !isFarewell([]byte("HTTP/1.0 408 x")) || isFarewell([]byte("HTTP/1.1 200 OK")) || isFarewell([]byte("HTTP/1.1 40")) {
		t.Error("farewells are not told from answers")
	}
}

// Who is caught again soon is distrusted for longer, and at last for ten minutes.
func TestDistrustGrowsAndIsForgotten(t *testing.T) {
	t.Parallel()
	var d distrust
	now := time.Unix(1_000_000, 0)
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute} {
		if got := d.catch(now); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
		if d.catch(now.Add(want-1)) != 0 || !d.holds(now.Add(want-1)) || d.holds(now.Add(want)) {
			t.Fatalf("after %v it does not last as long", want)
		}
		now = now.Add(want + time.Second)
	}
	if got := d.catch(now.Add(keepNoneLongest)); got != time.Minute {
		t.Errorf("after ten quiet minutes: %v", got)
	}
}

type syncLog struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *syncLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}
