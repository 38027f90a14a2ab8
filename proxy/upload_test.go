package proxy

import (
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"strangler/capability"
)

// net/http panics, and drops the connection, when a body is read after the
// handler has returned. An upstream that answers without reading provokes it.
func TestUploadEndsWithTheRequest(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), nil, nil)
	said := &syncBuffer{}
	front := httptest.NewUnstartedServer(s.Proxy)
	front.Config.ErrorLog = log.New(said, "", 0)
	front.Start()
	defer front.Close()
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for n := range 80 {
				var body io.Reader = strings.NewReader("small")
				if n%2 == 0 {
					body = struct{ io.Reader }{body} // chunked
				}
				res, err := front.Client().Post(front.URL+"/api/orders/1", "text/plain", body)
				if err != nil {
					t.Errorf("write %d of %d: %v", n, i, err)
					return
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || string(b) != "legacy" {
					t.Errorf("write %d of %d: %q %v", n, i, b, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if strings.Contains(said.String(), "panic") {
		t.Error(said.String()[:min(500, len(said.String()))])
	}
}
