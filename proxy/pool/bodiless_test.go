package pool

import (
	"io"
	"net/http"
	"sync"
	"testing"

	"strangler/capability"
)

// The end of a connection, as of a withdrawn endpoint, takes no answer along, also not
// one without a body: of that net/http says that the connection is free before it hands
// the answer over.
func TestEndsOfConnectionsTakeNoAnswerAlong(t *testing.T) {
	t.Parallel()
	to, u := serve(t, false, newCensus(), func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	u.Protocol = capability.ProtocolHTTP1
	leg := legTo(t, to, u)
	done := make(chan struct{})
	var closing, clients sync.WaitGroup
	closing.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				leg.CloseIdleConnections()
			}
		}
	})
	for range 4 {
		clients.Go(func() {
			for i := range 500 {
				var body io.Reader
				if i%2 == 1 {
					body = streamOf("some")
				}
				if _, _, err := exchange(t, leg, http.MethodPost, to, body); err != nil {
					t.Errorf("%d: %v", i, err)
					return
				}
			}
		})
	}
	clients.Wait()
	close(done)
	closing.Wait()
}
