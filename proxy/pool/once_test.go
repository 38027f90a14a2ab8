package pool

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"strangler/capability"
)

const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// A server that answers once and then takes the second request and closes: the
// worst case, in which net/http's own pool would send it again.
func TestARequestThatLeftIsNeverSentAgain(t *testing.T) {
	for _, c := range []struct {
		name, method, body string
		header             []string
	}{
		{"GET", http.MethodGet, "", nil},
		{"HEAD", http.MethodHead, "", nil},
		{"OPTIONS", http.MethodOptions, "", nil},
		{"POST", http.MethodPost, "b", nil},
		{"POST with a key", http.MethodPost, "", []string{"Idempotency-Key", "k"}},
		{"POST with a body and a key", http.MethodPost, "b", []string{"X-Idempotency-Key", "k"}},
	} {
		for _, how := range []string{"closes", "resets"} {
			t.Run(c.name+" "+how, func(t *testing.T) {
				t.Parallel()
				var taken atomic.Int64
				to := raw(t, func(_ int, conn net.Conn, in *bufio.Reader) {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					io.WriteString(conn, okay)
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					taken.Add(1)
					if how == "resets" {
						conn.(*net.TCPConn).SetLinger(0)
					} else {
						io.Copy(io.Discard, req.Body)
					}
				})
				leg := legTo(t, to, capability.Upstream{})
				if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err != nil {
					t.Fatal(err)
				}
				var body io.Reader
				if c.body != "" {
					body = strings.NewReader(c.body)
				}
				_, _, err := exchange(t, leg, c.method, to, body, c.header...)
				if err == nil || errors.Is(err, ErrUnsent) || errors.Is(err, ErrUnreachable) {
					t.Errorf("error %v, want one that says neither unsent nor unreachable", err)
				}
				if n := taken.Load(); n != 1 {
					t.Errorf("the server got the request %d times", n)
				}
			})
		}
	}
}

// Every connection is closed right after its answer, so that it is dead or dying
// when the next request takes it. None may fail, unless some of it left.
func TestADeadIdleConnectionIsReplaced(t *testing.T) {
	for _, how := range []string{"closes", "resets"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			var whole atomic.Int64
			to := raw(t, func(_ int, conn net.Conn, in *bufio.Reader) {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				if text, _ := io.ReadAll(req.Body); string(text) == "the whole body" {
					whole.Add(1)
				}
				io.WriteString(conn, okay)
				if how == "resets" {
					conn.(*net.TCPConn).SetLinger(0)
				}
			})
			leg := legTo(t, to, capability.Upstream{})
			answered, left := 0, 0
			for range 300 {
				_, _, err := exchange(t, leg, http.MethodPost, to, streamOf("the whole body"))
				switch {
				case err == nil:
					answered++
				case errors.Is(err, ErrUnsent), errors.Is(err, ErrUnreachable):
					t.Fatalf("nothing was sent, and it was not sent elsewhere: %v", err)
				default:
					left++ // the race that nobody can win: written before the end was seen
				}
			}
			if int(whole.Load()) != answered {
				t.Errorf("%d answers, %d whole bodies", answered, whole.Load())
			}
			if answered < 100 {
				t.Errorf("only %d of 300 were answered, %d broke off", answered, left)
			}
		})
	}
}

// broken is a connection that fails before it writes anything, from a signal on.
type broken struct {
	net.Conn
	now *atomic.Bool
}

func (b broken) Write(p []byte) (int, error) {
	if b.now.Load() {
		return 0, errors.New("broken")
	}
	return b.Conn.Write(p)
}

// breaks makes the leg's connections of now fail at their next write once the
// signal is given, and nothing tells so before.
func breaks(leg *standard) *atomic.Bool {
	signal := new(atomic.Bool)
	connect := leg.lines.dialer.connect
	leg.lines.dialer.connect = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := connect(ctx, network, address)
		if err != nil || signal.Load() {
			return conn, err
		}
		return broken{conn, signal}, nil
	}
	return signal
}

// arm gives the signal as soon as there is a connection.
func arm(connect dialFunc, signal *atomic.Bool) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		defer signal.Store(true)
		return connect(ctx, network, address)
	}
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func TestABodyIsPutBack(t *testing.T) {
	for n, size := range []int{1, 100, 5_000, 60_000, 300_000, 1, 300_000} {
		method := http.MethodPost
		if n > 4 {
			method = http.MethodDelete // of which net/http reads a byte to see whether there is a body
		}
		got := make(chan int, 2)
		to, u := serve(t, false, nil, func(_ http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			got <- int(n)
		})
		leg := legTo(t, to, u)
		signal := breaks(leg)
		if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err != nil {
			t.Fatal(err)
		}
		<-got
		signal.Store(true)
		if _, _, err := exchange(t, leg, method, to, streamOf(strings.Repeat("x", size))); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if n := <-got; n != size {
			t.Errorf("%d bytes were sent, %d arrived", size, n)
		}
	}
}

// greedy hands out more than is kept before anything could be written.
type greedy struct{ left int }

func (g *greedy) Read(p []byte) (int, error) {
	if g.left == 0 {
		return 0, io.EOF
	}
	n := min(g.left, len(p))
	g.left -= n
	return n, nil
}

func TestASpoolKeepsOnlyTheBeginning(t *testing.T) {
	s := NewSpool(io.NopCloser(&greedy{left: 1 << 20}))
	read := func(n int) {
		if _, err := io.ReadFull(s, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	read(spooled)
	if !s.Rewind() {
		t.Fatal("what fits was not put back")
	}
	read(spooled + 1)
	if s.Rewind() {
		t.Error("more than is kept was put back")
	}
	if n, _ := io.Copy(io.Discard, s); n != 1<<20-spooled-1 {
		t.Errorf("%d bytes are left", n)
	}
}

func TestUnsentIsSaidAfterAFreshConnection(t *testing.T) {
	to := raw(t, func(_ int, _ net.Conn, in *bufio.Reader) { http.ReadRequest(in) })
	leg := legTo(t, to, capability.Upstream{})
	signal := breaks(leg)
	body := NewSpool(io.NopCloser(strings.NewReader("body")))
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, to.String(), body)
	leg.lines.dialer.connect = arm(leg.lines.dialer.connect, signal)
	if _, err := leg.RoundTrip(req); !errors.Is(err, ErrUnsent) {
		t.Fatalf("error %v, want ErrUnsent", err)
	}
	if !body.Rewind() {
		t.Fatal("the caller cannot have the body back")
	}
	if text, _ := io.ReadAll(body); string(text) != "body" {
		t.Errorf("the body is %q now", text)
	}
}

func TestNothingListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := parse(t, "http://"+listener.Addr().String())
	listener.Close()
	for _, protocol := range []capability.Protocol{capability.ProtocolAuto, capability.ProtocolH2C} {
		leg := legTo(t, to, capability.Upstream{Protocol: protocol})
		_, _, err := exchange(t, leg, http.MethodGet, to, nil)
		var op *net.OpError
		if !errors.Is(err, ErrUnreachable) || !errors.As(err, &op) {
			t.Errorf("%s: error %v, want ErrUnreachable with its cause", protocol, err)
		}
	}
}

// A read of an attempt that was given up may be on its way into the body at the very
// moment at which it is put back. It must not take what belongs to the next attempt.
func TestALateReadTakesNothingFromTheNextAttempt(t *testing.T) {
	s := NewSpool(io.NopCloser(strings.NewReader("the whole body")))
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://e0/", s)
	body := spoolOf(req)
	late := body.request(req, 0).Body
	if _, err := io.ReadFull(late, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock() // the late read gets past the attempt's own check, and no further
	refused := make(chan error, 1)
	go func() {
		_, err := late.Read(make([]byte, 5))
		refused <- err
	}()
	for !body.parcel().underWay() {
		runtime.Gosched()
	}
	body.parcel().abandon()
	if !s.putBack() {
		t.Fatal("the body was not put back")
	}
	s.mu.Unlock()
	if err := <-refused; !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("the late read ended with %v", err)
	}
	if text, _ := io.ReadAll(body.request(req, 0).Body); string(text) != "the whole body" {
		t.Errorf("the next attempt got %q", text)
	}
}

func (p *parcel) underWay() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reading
}
