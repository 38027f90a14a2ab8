package pool

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"strangler/capability"
)

// A client that takes nothing of an answer makes the proxy hold a bounded piece of
// it, and does not keep another answer of the same connection from passing.
func TestASlowReaderHoldsLittleOverHTTP2(t *testing.T) {
	const size, slow = 4 << 20, 40
	c := newCensus()
	var sent atomic.Int64
	stuck := make(chan struct{}, slow)
	to, u := serve(t, false, c, func(w http.ResponseWriter, r *http.Request) {
		piece := make([]byte, 4<<10)
		if r.URL.Path == "/quick" {
			for range size / len(piece) {
				w.Write(piece)
			}
			return
		}
		for n := 0; n < size; n += len(piece) {
			if n == heldPerStream { // all that the proxy takes, while nobody reads, but for the server's own buffer
				stuck <- struct{}{}
			}
			if _, err := w.Write(piece); err != nil {
				return
			}
			sent.Add(int64(len(piece)))
		}
	})
	u.Protocol = capability.ProtocolH2C
	leg := legTo(t, to, u)
	ask := func(path string) *http.Response {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, to.String()+path, nil)
		res, err := leg.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	for range slow {
		ask("/slow")
	}
	for range slow {
		<-stuck
	}
	if n, err := io.Copy(io.Discard, ask("/quick").Body); n != size || err != nil {
		t.Errorf("the quick answer ended after %d bytes: %v", n, err)
	}
	const perStream = heldPerStream + 32<<10 // with what the server keeps
	if n := sent.Load(); n > slow*perStream {
		t.Errorf("%d bytes are held for each reader, want %d at most", n/slow, perStream)
	}
	if n := c.seen.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
