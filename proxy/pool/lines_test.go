package pool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// piped makes a leg whose connections are pipes, for tests of time. Requests are
// answered by serve, one connection after the other; open counts them.
func piped(t *testing.T, u capability.Upstream, serve func(nth int, conn net.Conn, in *bufio.Reader)) (*standard, *atomic.Int64) {
	t.Helper()
	leg := legTo(t, parse(t, "http://e0"), u)
	var open atomic.Int64
	var made atomic.Int64
	leg.lines.dialer.connect = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		open.Add(1)
		nth := int(made.Add(1))
		go func() {
			out := queue(far)
			serve(nth, out, bufio.NewReader(far))
			close(out.pieces)
			far.Close()
			open.Add(-1)
		}()
		return near, nil
	}
	return leg, &open
}

// queued is a pipe's end with room for what was written, as a socket has.
type queued struct {
	net.Conn
	pieces chan []byte
}

func queue(conn net.Conn) queued {
	q := queued{conn, make(chan []byte, 64)}
	go func() {
		for piece := range q.pieces {
			conn.Write(piece)
		}
	}()
	return q
}

func (q queued) Write(p []byte) (int, error) {
	q.pieces <- bytes.Clone(p)
	return len(p), nil
}

// answering serves HTTP/1.1 until the connection ends.
func answering(_ int, conn net.Conn, in *bufio.Reader) {
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		io.WriteString(conn, okay)
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	for _, protocol := range []capability.Protocol{capability.ProtocolHTTP1, capability.ProtocolH2C} {
		synctest.Test(t, func(t *testing.T) {
			serve := answering
			if protocol == capability.ProtocolH2C {
				serve = func(_ int, conn net.Conn, in *bufio.Reader) {
					frames(conn, in, func(id uint32) bool { succeed(conn, id); return true })
				}
			}
			leg, open := piped(t, capability.Upstream{Protocol: protocol}, serve)
			to := parse(t, "http://e0")
			once := func() {
				t.Helper()
				if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			once()
			for range 5 {
				time.Sleep(20 * time.Second)
				once()
				if n := open.Load(); n != 1 {
					t.Fatalf("%s: %d connections while in use", protocol, n)
				}
			}
			time.Sleep(idleFor - time.Second)
			synctest.Wait()
			if n := open.Load(); n != 1 {
				t.Errorf("%s: closed too early", protocol)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if n := open.Load(); n != 0 {
				t.Errorf("%s: still open after %v", protocol, idleFor)
			}
			once()
			leg.CloseIdleConnections()
			synctest.Wait()
			if n := open.Load(); n != 0 {
				t.Errorf("%s: open after closing", protocol)
			}
		})
	}
}

// The last used comes first, so that what a burst left runs out.
func TestABurstsConnectionsRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leg, open := piped(t, capability.Upstream{}, answering)
		to := parse(t, "http://e0")
		burst := func(n int) {
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			synctest.Wait()
		}
		burst(2 * mostIdle)
		if n := open.Load(); n < 2 || n > mostIdle {
			t.Errorf("%d connections are kept", n)
		}
		for range 5 {
			time.Sleep(10 * time.Second)
			burst(1)
		}
		if n := open.Load(); n != 1 {
			t.Errorf("%d connections are left", n)
		}
		time.Sleep(idleFor + time.Second)
		synctest.Wait()
		if n := open.Load(); n != 0 {
			t.Errorf("%d connections are left for good", n)
		}
	})
}

// A client that goes away while its connection is made takes nobody along.
func TestADialOutlivesItsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leg, _ := piped(t, capability.Upstream{Protocol: capability.ProtocolH2C}, func(_ int, conn net.Conn, in *bufio.Reader) {
			frames(conn, in, func(id uint32) bool { succeed(conn, id); return true })
		})
		connect := leg.lines.dialer.connect
		leg.lines.dialer.connect = func(ctx context.Context, network, address string) (net.Conn, error) {
			select {
			case <-time.After(time.Second):
				return connect(ctx, network, address)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		first, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			req, _ := http.NewRequestWithContext(first, http.MethodGet, "http://e0", nil)
			if _, err := leg.RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the first: %v", err)
			}
		})
		all.Go(func() {
			time.Sleep(100 * time.Millisecond)
			if _, _, err := exchange(t, leg, http.MethodGet, parse(t, "http://e0"), nil); err != nil {
				t.Errorf("the second: %v", err)
			}
		})
		all.Wait()
		leg.CloseIdleConnections()
		synctest.Wait()
	})
}

// Nobody waits for a connection any more, and it was closed before it was there.
func TestAnAbandonedDialIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leg, open := piped(t, capability.Upstream{Protocol: capability.ProtocolH2C}, func(_ int, conn net.Conn, in *bufio.Reader) {
			frames(conn, in, func(uint32) bool { return true })
		})
		connect := leg.lines.dialer.connect
		goOn := make(chan struct{})
		leg.lines.dialer.connect = func(ctx context.Context, network, address string) (net.Conn, error) {
			<-goOn // deaf to its context, as a dial that has just succeeded
			return connect(ctx, network, address)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://e0", nil)
			if _, err := leg.RoundTrip(req); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		}()
		synctest.Wait()
		cancel()
		<-done
		leg.CloseIdleConnections()
		close(goOn)
		synctest.Wait()
		if n := open.Load(); n != 0 {
			t.Error("the connection is open")
		}
	})
}

func BenchmarkRoundTrip(b *testing.B) {
	to := startForBenchmark(b)
	leg, err := Standard(capability.Upstream{}, to)
	if err != nil {
		b.Fatal(err)
	}
	bare := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	for _, c := range []struct {
		name string
		leg  Leg
	}{{"leg", leg}, {"http.Transport", bare}} {
		for _, body := range []string{"", "a small body"} {
			name := c.name + " GET"
			if body != "" {
				name = c.name + " POST"
			}
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						req, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, to.String(), nil)
						if body != "" {
							// Not a type that net/http knows to be in memory, as a client's body is not.
							req.Method, req.Body, req.ContentLength = http.MethodPost, io.NopCloser(streamOf(body)), int64(len(body))
						}
						res, err := c.leg.RoundTrip(req)
						if err != nil {
							b.Error(err)
							return
						}
						io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
				})
			})
		}
		c.leg.CloseIdleConnections()
	}
}
