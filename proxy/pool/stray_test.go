package pool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"strangler/capability"
)

const stray = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nLEAKED"

// A server sends more than it has announced, in one write: another request's
// answer, to whoever takes the connection next.
func TestAnAnswerIsForItsRequestAlone(t *testing.T) {
	for _, c := range []struct {
		name, head, get string
	}{
		{"HEAD with a body", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(stray)) + stray, ""},
		{"304 with a body", "HTTP/1.1 304 Not Modified\r\n\r\n" + stray, ""},
		{"bytes behind a body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", stray},
		{"bytes behind no body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + stray, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			to := raw(t, func(_ int, conn net.Conn, in *bufio.Reader) {
				for {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if req.Method == http.MethodHead {
						io.WriteString(conn, c.head)
						continue
					}
					id := req.Header.Get("X-Id")
					fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", len(id), id, c.get)
				}
			})
			leg := legTo(t, to, capability.Upstream{})
			var clients sync.WaitGroup
			for client := range 8 {
				clients.Go(func() {
					for i := range 1000 {
						method, id := http.MethodGet, fmt.Sprintf("%d-%d", client, i)
						if i%2 == 0 {
							method = http.MethodHead
						}
						_, text, err := exchange(t, leg, method, to, nil, "X-Id", id)
						for again := 0; errors.Is(err, ErrUnreachable) && again < 10; again++ { // a busy machine
							_, text, err = exchange(t, leg, method, to, nil, "X-Id", id)
						}
						switch {
						case err != nil:
							t.Errorf("%s %s: %v", method, id, err)
						case method == http.MethodGet && text != id:
							t.Errorf("%s got %q", id, text)
						}
					}
				})
			}
			clients.Wait()
		})
	}
}

// What comes on an idle connection closes it, also when a request has taken it
// but not yet written to it, and nothing of it is read or logged.
func TestWhatComesUnaskedClosesTheConnection(t *testing.T) {
	for _, taken := range []bool{false, true} {
		t.Run(fmt.Sprintf("taken %t", taken), func(t *testing.T) {
			var logged bytes.Buffer // read once the connection is closed, which comes after the line
			log.SetOutput(&logged)
			defer log.SetOutput(os.Stderr)
			send, closed := make(chan struct{}), make(chan struct{})
			to := raw(t, func(nth int, conn net.Conn, in *bufio.Reader) {
				if nth > 1 {
					answering(nth, conn, in)
					return
				}
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				io.WriteString(conn, okay)
				<-send
				io.WriteString(conn, stray)
				_, _ = in.ReadByte() // ends with the connection
				close(closed)
			})
			leg := legTo(t, to, capability.Upstream{})
			if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err != nil {
				t.Fatal(err)
			}
			if taken {
				if _, reused, err := leg.lines.take(t.Context(), wanted{}); err != nil || !reused {
					t.Fatalf("reused %t, error %v", reused, err)
				}
			}
			close(send)
			<-closed
			if _, text, err := exchange(t, leg, http.MethodPost, to, streamOf("b")); err != nil || text != "ok" {
				t.Errorf("%q, error %v", text, err)
			}
			if logged.Len() > 0 {
				t.Errorf("logged: %s", logged.String())
			}
		})
	}
}

// A connection is used again by whoever comes next, at once.
func TestConnectionsAreUsedAgain(t *testing.T) {
	for _, way := range spoken {
		if way.major > 1 {
			continue
		}
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			c := newCensus()
			to, u := serve(t, way.tls, c, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				switch r.URL.Query().Get("as") {
				case "chunks":
					http.NewResponseController(w).Flush()
				case "nothing":
					w.WriteHeader(http.StatusNoContent)
					return
				}
				io.WriteString(w, "hello")
			})
			u.Protocol = way.protocol
			leg := legTo(t, to, u)
			kept := func() bool {
				leg.lines.mu.Lock()
				defer leg.lines.mu.Unlock()
				return len(leg.lines.parked) == 1
			}
			one := func(i int) {
				method, query := http.MethodGet, *to
				query.Path = "/"
				query.RawQuery = "as=" + []string{"length", "chunks", "nothing"}[i%3]
				var body io.Reader
				switch i % 4 {
				case 1:
					method = http.MethodHead
				case 2:
					method, body = http.MethodPost, streamOf("some")
				}
				req, _ := http.NewRequestWithContext(t.Context(), method, query.String(), body)
				res, err := leg.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			for i := range 600 {
				one(i)
				// net/http says from a goroutine of its own that the connection is free, which a
				// busy machine may run after the next request.
				eventually(t, "the connection is kept", kept)
			}
			if n := c.seen.Load(); n != 1 {
				t.Errorf("%d connections for one client", n)
			}
			var clients sync.WaitGroup
			var next atomic.Int64
			for range 8 {
				clients.Go(func() {
					for range 200 {
						one(int(next.Add(1)))
					}
				})
			}
			clients.Wait()
			// 8, and a new one where that word came late: far from one for each of some kind of
			// request.
			if n := c.seen.Load(); n > 1600/12/2 {
				t.Errorf("%d connections for eight clients", n)
			}
		})
	}
}

// A notice that an answer was read to its end may come when the next request has
// begun already: that one's answer is not taken for bytes that nobody asked for.
func TestALateNoticeSpoilsNothing(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	defer there.Close() //nolint:errcheck // the test's
	w := newWire(here)
	defer w.Close() //nolint:errcheck // the test's
	answers := make(chan error)
	read := func() {
		n, err := w.Read(make([]byte, 8))
		if err == nil && n == 0 {
			err = io.ErrNoProgress
		}
		answers <- err
	}
	go read()
	for mark := w.mark(); !w.isReading(); mark = w.mark() { // as net/http, which waits for bytes before the notice comes
		w.end(mark)
	}
	w.end(w.mark())
	mark := w.mark()
	go func() {
		if _, err := w.Write([]byte("request")); err != nil {
			t.Error(err)
		}
	}()
	if _, err := io.ReadFull(there, make([]byte, len("request"))); err != nil {
		t.Fatal(err)
	}
	w.end(mark)
	if _, err := there.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if err := <-answers; err != nil {
		t.Errorf("the answer was lost: %v", err)
	}
}

func (w *wire) isReading() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reading
}
