package pool

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
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
