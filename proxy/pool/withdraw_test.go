package pool

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"strangler/capability"
)

// After an endpoint was withdrawn, and its requests have ended, no connection to
// it is open, whatever is spoken.
func TestWithdrawalLeavesNoConnection(t *testing.T) {
	for _, c := range spoken {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			connections := newCensus()
			release, arrived := make(chan struct{}), make(chan struct{}, 100)
			to, u := serve(t, c.tls, connections, func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != c.major {
					t.Errorf("spoken is %s", r.Proto)
				}
				io.WriteString(w, "first")
				if r.URL.Path == "/slow" {
					w.(http.Flusher).Flush()
					arrived <- struct{}{}
					<-release
				}
				io.WriteString(w, "last")
			})
			u.Protocol = c.protocol
			u.Endpoints = []string{to.String()}
			p := New(Options{})
			p.Use(u)
			var all sync.WaitGroup
			request := func(path string) {
				e := p.Pick(nil)
				e.Begin()
				all.Go(func() {
					defer e.End(OK, "")
					req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, to.String()+path, strings.NewReader("body"))
					res, err := e.Leg().RoundTrip(req)
					if err != nil {
						t.Errorf("round trip: %v", err)
						return
					}
					text, err := io.ReadAll(res.Body)
					res.Body.Close()
					if err != nil || string(text) != "firstlast" {
						t.Errorf("answer %q, %v", text, err)
					}
				})
			}
			for range 5 {
				request("/")
			}
			all.Wait()
			for range 5 {
				request("/slow")
			}
			for range 5 {
				<-arrived
			}
			if connections.count() == 0 {
				t.Fatal("no connection was kept")
			}
			u.Endpoints = nil
			p.Use(u)
			close(release)
			all.Wait()
			select {
			case <-connections.empty:
			case <-time.After(5 * time.Second):
				t.Fatalf("%d of %d connections are open", connections.count(), connections.seen.Load())
			}
			if n := len(p.Endpoints()); n != 0 {
				t.Errorf("%d are still leaving", n)
			}
		})
	}
}

// A leg alone closes what comes back after it was told to close, also without the
// pool's second call.
func TestConnectionsInUseAreClosedWhenTheyComeBack(t *testing.T) {
	for _, c := range spoken {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			connections := newCensus()
			release := make(chan struct{})
			to, u := serve(t, c.tls, connections, func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				<-release
			})
			u.Protocol = c.protocol
			leg := legTo(t, to, u)
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, to.String(), nil)
			res, err := leg.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			leg.CloseIdleConnections()
			if connections.count() != 1 {
				t.Fatal("the connection was closed under its request")
			}
			close(release)
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Errorf("read answer: %v", err)
			}
			res.Body.Close()
			select {
			case <-connections.empty:
			case <-time.After(5 * time.Second):
				t.Error("the connection is open")
			}
		})
	}
}

func TestAnUpstreamIsReachedAnewAfterClosing(t *testing.T) {
	for _, c := range spoken {
		to, u := serve(t, c.tls, nil, func(http.ResponseWriter, *http.Request) {})
		u.Protocol = c.protocol
		leg := legTo(t, to, u)
		for range 3 {
			if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			leg.CloseIdleConnections()
		}
	}
}

// A withdrawn endpoint that was picked before is used once more and leaves nothing.
func TestALateRequestToAWithdrawnEndpoint(t *testing.T) {
	connections := newCensus()
	to, u := serve(t, false, connections, func(http.ResponseWriter, *http.Request) {})
	u.Endpoints = []string{to.String()}
	p := New(Options{})
	p.Use(u)
	e := p.Pick(nil)
	p.Use(capability.Upstream{})
	e.Begin()
	if _, _, err := exchange(t, e.Leg(), http.MethodGet, to, nil); err != nil {
		t.Fatal(err)
	}
	e.End(OK, "")
	select {
	case <-connections.empty:
	case <-time.After(5 * time.Second):
		t.Error("the connection is open")
	}
}

// Closing while requests run interrupts none of them, and in the end leaves
// nothing open.
func TestClosingUnderLoad(t *testing.T) {
	for _, c := range spoken {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			connections := newCensus()
			to, u := serve(t, c.tls, connections, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
			u.Protocol = c.protocol
			leg := legTo(t, to, u)
			var all, closing sync.WaitGroup
			stop := make(chan struct{})
			closing.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						leg.CloseIdleConnections()
					}
				}
			})
			for range 6 {
				all.Go(func() {
					for range 20 {
						_, text, err := exchange(t, leg, http.MethodPost, to, streamOf("there and back"))
						if err != nil || text != "there and back" {
							t.Errorf("answer %q, %v", text, err)
							return
						}
					}
				})
			}
			all.Wait()
			close(stop)
			closing.Wait()
			leg.CloseIdleConnections()
			for connections.count() > 0 {
				select {
				case <-connections.empty:
				case <-time.After(5 * time.Second):
					t.Fatalf("%d of %d connections are open", connections.count(), connections.seen.Load())
				}
			}
		})
	}
}
