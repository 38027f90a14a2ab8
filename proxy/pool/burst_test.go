package pool

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strangler/capability"
)

// More requests at once than the peer takes streams: all are answered, on as many
// connections as it needs, whatever the peer's limit is.
func TestABurstOverTheStreamLimitIsAnswered(t *testing.T) {
	for _, limit := range []int{1, 10, 100} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: limit}
			s.Start()
			defer s.Close()
			to := parse(t, s.URL)
			leg := legTo(t, to, capability.Upstream{Protocol: capability.ProtocolH2C})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var burst sync.WaitGroup
			for range 200 {
				burst.Go(func() {
					req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
					if err != nil {
						t.Error(err)
						return
					}
					res, err := leg.RoundTrip(req)
					if err != nil {
						t.Errorf("at a limit of %d: %v", limit, err)
						return
					}
					_ = res.Body.Close()
				})
			}
			burst.Wait()
		})
	}
}

func (ls *lines) sharedNow() int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return len(ls.shared)
}

// A peer that takes connections and closes each right away, as a balancer does with
// nobody behind it, costs a request a few of them, and none is kept.
func TestConnectionsThatDieYoungAreForgotten(t *testing.T) {
	var made atomic.Int64
	to := raw(t, func(_ int, _ net.Conn, in *bufio.Reader) {
		made.Add(1)
		in.ReadByte()
	})
	leg := legTo(t, to, capability.Upstream{Protocol: capability.ProtocolH2C})
	for range 20 {
		if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err == nil {
			t.Fatal("it answered")
		}
	}
	if n := made.Load(); n > 20*attempts {
		t.Errorf("20 requests made %d connections", n)
	}
	for deadline := time.Now().Add(20 * time.Second); leg.lines.sharedNow() > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d dead connections are kept", leg.lines.sharedNow())
		}
	}
}
