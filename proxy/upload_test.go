package proxy

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"strangler/capability"
)

// net/http panics, and drops the connection, when a body is read after the
// handler has returned. An upstream that answers without reading provokes it, and one
// that breaks its answer off does.
func TestUploadEndsWithTheRequest(t *testing.T) {
	for _, c := range []struct {
		name   string
		legacy http.HandlerFunc
		broken bool
	}{{"answered", nil, false}, {"broken off", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "half")
	}, true}} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, state(1, capability.Legacy, 0), c.legacy, nil, func(_ *Options, d *capability.Document) { d.Resilience.Breaker.Requests = 1000 })
			said := &syncBuffer{}
			front := httptest.NewUnstartedServer(s.Proxy)
			front.Config.ErrorLog = log.New(said, "", 0)
			front.Start()
			defer front.Close()
			client := front.Client()
			client.Timeout = longest
			var wg sync.WaitGroup
			for i := range 6 {
				wg.Go(func() {
					for n := range 80 {
						var body io.Reader = strings.NewReader("small")
						if n%2 == 0 {
							body = struct{ io.Reader }{body} // chunked
						}
						res, err := client.Post(front.URL+"/api/orders/1", "text/plain", body)
						if err != nil {
							if !c.broken { // before its beginning was flushed, an answer that breaks off is nothing
								t.Errorf("write %d of %d: %v", n, i, err)
								return
							}
							continue
						}
						b, err := io.ReadAll(res.Body)
						res.Body.Close()
						if c.broken != (err != nil) || !c.broken && string(b) != "legacy" {
							t.Errorf("write %d of %d: %d %q %v", n, i, res.StatusCode, b, err)
							return
						}
					}
				})
			}
			wg.Wait()
			if strings.Contains(said.String(), "panic") {
				t.Error(said.String()[:min(500, len(said.String()))])
			}
		})
	}
}
