package proxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"strangler/proxy/pool"
)

// pieces answers a call with its path's number of messages, then waits for the signal,
// says one more and ends well.
func pieces(on <-chan struct{}, ended chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		for range len(r.URL.Path[len("/api/orders/"):]) {
			_, _ = io.WriteString(w, "\x00\x00\x00\x00\x01x")
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-on:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "\x00\x00\x00\x00\x01x")
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		ended <- r.Context().Err()
	}
}

func grpcStreams(t *testing.T, class capability.Class, timeout time.Duration) (r *rig, on chan struct{}, ended chan error) {
	t.Helper()
	on, ended = make(chan struct{}), make(chan error, 8)
	r = pairing{fronts[1], backs[1], pool.Standard}.start(t, pieces(on, ended), func(_ *Options, d *capability.Document) {
		d.Routes[0].Class, d.Resilience.Timeout = class, timeout
		d.Resilience.Concurrency = capability.Concurrency{Requests: 1}
	})
	return r, on, ended
}

// released reports whether nobody counts the call any more.
func (r *rig) released() bool {
	s, _ := r.serving("orders")
	return s.Writes == 0 && r.Breakers()[0].InFlight == 0
}

// A stream is neither cut by the timeout nor in the way of a switch, whether it shows by
// its second message, or by its age alone.
func TestGRPCStreamsOutliveTheTimeout(t *testing.T) {
	for _, class := range []capability.Class{capability.Read, capability.Write} {
		for path, timeout := range map[string]time.Duration{"/api/orders/a": 50 * time.Millisecond, "/api/orders/ab": 20 * time.Second} {
			r, on, ended := grpcStreams(t, class, timeout)
			res, err := r.client.Do(r.call(path))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			eventually(t, "it is taken for a stream", r.released)
			close(on)
			b, err := io.ReadAll(res.Body)
			if want := 6 * len(path[len("/api/orders/"):]); err != nil || len(b) != want+6 || res.Trailer.Get("Grpc-Status") != "0" {
				t.Errorf("%s, %s: %d bytes, %v, %v", class, path, len(b), err, res.Trailer)
			}
			if err := <-ended; err != nil {
				t.Errorf("%s, %s: the server saw %v", class, path, err)
			}
		}
	}
}

// The stream of a write ends with its client.
func TestGRPCStreamOfAWriteEndsWithItsClient(t *testing.T) {
	r, _, ended := grpcStreams(t, capability.Write, 20*time.Second)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	res, err := r.client.Do(r.call("/api/orders/ab").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	eventually(t, "it is taken for a stream", r.released)
	leave()
	if err := <-ended; err == nil {
		t.Error("the server did not hear of it")
	}
}

// A call of one message that writes is in flight until its status is there.
func TestGRPCWriteIsInFlightUntilItsTrailers(t *testing.T) {
	r, on, ended := grpcStreams(t, capability.Write, 20*time.Second)
	res, err := r.client.Do(r.call("/api/orders/a"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	if r.released() {
		t.Error("its status is still to come, and it is not in flight")
	}
	close(on)
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Error(err)
	}
	<-ended
}

// Before an answer begins the timeout holds, or what the client says in its place.
func TestGRPCTimeoutUntilTheAnswer(t *testing.T) {
	ended := make(chan struct{}, 8)
	for deadline, timeout := range map[string]time.Duration{"": 50 * time.Millisecond, "50m": 20 * time.Second} {
		r := pairing{fronts[1], backs[1], pool.Standard}.start(t, begins(ended, nil), func(_ *Options, d *capability.Document) {
			d.Routes[0].Class, d.Resilience.Timeout = capability.Read, timeout
		})
		var header []string
		if deadline != "" {
			header = []string{"Grpc-Timeout", deadline}
		}
		if a, _ := r.get("POST", "/api/orders/x", 200, strings.NewReader("\x00\x00\x00\x00\x00"), append(header, "Content-Type", "application/grpc")...); a.header.Get("Grpc-Status") != "4" {
			t.Errorf("%q: %v", deadline, a.header)
		}
		<-ended
	}
}

func TestMessages(t *testing.T) {
	for text, want := range map[string]int{"": 0, "\x00": 1, "\x00\x00\x00\x00\x00": 1, "\x00\x00\x00\x00\x02ab": 1,
		"\x00\x00\x00\x00\x00\x00": 2, "\x00\x00\x00\x00\x02ab\x01": 2, "\x00\x00\x00\x01\x00ab": 1} {
		for size := 1; size <= len(text)+1; size++ {
			var m messages
			n := 0
			for at := 0; at < len(text); at += size {
				n = m.hear([]byte(text[at:min(at+size, len(text))]))
			}
			if n != want {
				t.Errorf("%q in pieces of %d: %d messages, want %d", text, size, n, want)
			}
		}
	}
}

// A route without a timeout takes answers that never end, and a write without one
// ends all the same when its client has gone.
func TestARouteWithoutATimeout(t *testing.T) {
	ended := make(chan struct{}, 8)
	s := serve(t, state(1, capability.Legacy, 0), begins(ended, nil), nil, func(_ *Options, d *capability.Document) {
		d.Resilience.Timeout = 30 * time.Millisecond
		d.Routes = append(d.Routes, capability.Route{Path: "/api/orders/feed", Timeout: capability.NoTimeout, Line: 4})
	})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r, err := http.NewRequestWithContext(ctx, "POST", s.url+"/api/orders/feed", nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		res, err := s.client.Do(r)
		if err == nil {
			_ = res.Body.Close()
		}
		failed <- err
	}()
	for range 5 { // each takes the timeout that it does not have
		s.want(s.get("/api/orders/1", "u"), 504, "")
		<-ended
	}
	if now, _ := s.serving("orders"); now.Writes != 1 {
		t.Errorf("it is not in flight: %+v", now)
	}
	leave()
	<-failed
	<-ended
	eventually(t, "it is over", func() bool { now, _ := s.serving("orders"); return now.Writes == 0 })
}
