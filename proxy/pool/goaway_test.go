package pool

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"strangler/capability"
)

// A server that takes one request of each connection and declares the others
// unprocessed, as one that restarts gracefully does: requests that shared a new
// connection with it are sent again, each of them arrives once, and none fails.
func TestStreamsThatWereNotProcessedAreSentAgain(t *testing.T) {
	const burst = 6
	var arrived atomic.Int64
	together := make(chan struct{})
	to := raw(t, func(nth int, conn net.Conn, in *bufio.Reader) {
		if nth == 1 {
			<-together // until all of the burst wait for this one
		}
		last := uint32(0)
		frames(conn, in, func(id uint32) bool {
			if last > 0 && id > last {
				return true // it is not looked at, as was said
			}
			arrived.Add(1)
			if last == 0 {
				last = id
				writeFrame(conn, frameGoAway, 0, 0, number(last, 0)...)
			}
			succeed(conn, id)
			return true
		})
	})
	leg := legTo(t, to, capability.Upstream{Protocol: capability.ProtocolH2C})
	var requests sync.WaitGroup
	var begun atomic.Int64
	for range burst {
		requests.Go(func() {
			if begun.Add(1) == burst {
				close(together)
			}
			if _, _, err := exchange(t, leg, http.MethodPost, to, streamOf("a body")); err != nil {
				t.Error(err)
			}
		})
	}
	requests.Wait()
	if n := arrived.Load(); n != burst {
		t.Errorf("%d requests arrived %d times", burst, n)
	}
}
