package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

// Trailers reach the other side, whether or not they were announced
// (go.dev/issue/29031, 20437).
func TestConformAnswerTrailers(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/orders/unannounced" {
				w.Header().Set("Trailer", "X-Announced, X-Missing")
			}
			_, _ = io.WriteString(w, "body")
			_ = http.NewResponseController(w).Flush()
			w.Header().Set("X-Announced", "1")
			w.Header().Set(http.TrailerPrefix+"X-Late", "2")
		})
		for _, path := range []string{"/api/orders/1", "/api/orders/unannounced", "/unclaimed"} {
			a, res := r.get("GET", path, 200, nil, "Te", "trailers")
			announced := "1"
			if path == "/api/orders/unannounced" {
				announced = ""
			}
			if a.body != "body" || res.Trailer.Get("X-Announced") != announced || res.Trailer.Get("X-Late") != "2" {
				t.Errorf("%s: %q, trailers %v", path, a.body, res.Trailer)
			}
			if a.header.Get("X-Late") != "" || a.header.Get("X-Announced") != "" {
				t.Errorf("%s: a trailer is among the headers: %v", path, a.header)
			}
		}
	})
}

// So do those of a request of unknown length.
func TestConformRequestTrailers(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		got := make(chan http.Header, 1)
		r := c.start(t, func(_ http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil || string(b) != "body" {
				t.Errorf("%q arrived, %v", b, err)
			}
			got <- r.Trailer
		})
		body, say := io.Pipe()
		req := r.request("POST", "/api/orders/1", body)
		req.Trailer = http.Header{"X-Sum": nil}
		go func() {
			_, _ = io.WriteString(say, "body")
			req.Trailer.Set("X-Sum", "42")
			say.Close()
		}()
		if a, _ := r.send(req); a.err != nil || a.status != 200 {
			t.Fatalf("%d %v %s", a.status, a.err, a.body)
		}
		if trailer := <-got; trailer.Get("X-Sum") != "42" {
			t.Errorf("trailers %v arrived", trailer)
		}
	})
}

// Whatever has no announced length is not kept back until a buffer is full
// (go.dev/issue/27816, 41642).
func TestConformFlushesAtOnce(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		next := make(chan string)
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", r.Header.Get("Accept"))
			for piece := range next {
				if piece == "end" {
					return
				}
				_, _ = io.WriteString(w, piece+"\n")
				_ = http.NewResponseController(w).Flush()
			}
		})
		for _, kind := range []string{"text/event-stream", "text/event-stream; charset=utf-8", "application/json", "application/grpc"} {
			for _, path := range []string{"/api/orders/1", "/unclaimed"} {
				go func() { next <- "first" }()
				res, err := r.client.Do(r.request("GET", path, nil, "Accept", kind))
				if err != nil {
					t.Fatal(err)
				}
				in := bufio.NewReader(res.Body)
				for _, piece := range []string{"first", "second", "third"} {
					if piece != "first" {
						next <- piece // sent when the one before has been read
					}
					if line, err := in.ReadString('\n'); err != nil || line != piece+"\n" {
						t.Fatalf("%s: %q, %v", kind, line, err)
					}
				}
				next <- "end"
				if _, err := in.ReadByte(); err != io.EOF {
					t.Errorf("%s ended with %v", kind, err)
				}
				res.Body.Close()
			}
		}
	})
}

// The head of an answer does not wait for the body's first byte.
func TestConformHeadComesFirst(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		seen := make(chan struct{})
		r := c.start(t, func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-seen
			_, _ = io.WriteString(w, "late")
		})
		res, err := r.client.Do(r.request("GET", "/api/orders/1", nil))
		close(seen)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); string(b) != "late" || err != nil {
			t.Errorf("%q %v", b, err)
		}
	})
}

// Informational answers pass without what belongs to one connection
// (go.dev/issue/81319), and leave our headers on the answer that follows
// (go.dev/issue/81207).
func TestConformInformational(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			for i := range 3 {
				h.Set("Link", fmt.Sprintf("</%d.css>", i))
				h.Set("Connection", "X-Hop")
				h.Set("X-Hop", "1")
				h.Set("Keep-Alive", "timeout=5")
				w.WriteHeader(103)
			}
			delete(h, "Connection")
			delete(h, "Keep-Alive")
			delete(h, "X-Hop")
			delete(h, "Link")
			h.Set("Set-Cookie", "theirs=1")
			_, _ = io.WriteString(w, "answer")
		}, func(_ *Options, d *capability.Document) {
			d.Traffic.Subject = capability.Subject{Kind: capability.SubjectMinted}
		})
		var hints []http.Header
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code != 103 {
				t.Errorf("%d came through", code)
			}
			hints = append(hints, http.Header(h))
			return nil
		}})
		a, _ := r.send(r.request("GET", "/api/orders/1", nil, "X-Request-Id", "abc-1").WithContext(ctx))
		if a.err != nil || a.status != 200 || a.body != "answer" {
			t.Fatalf("%d %v %s", a.status, a.err, a.body)
		}
		if len(hints) != 3 {
			t.Fatalf("%d hints: %v", len(hints), hints)
		}
		for i, h := range hints {
			if h.Get("Link") != fmt.Sprintf("</%d.css>", i) || len(h["Link"]) != 1 || h.Get("Connection")+h.Get("Keep-Alive") != "" {
				t.Errorf("hint %d: %v", i, h)
			}
			if c.back.major == 1 && h.Get("X-Hop") != "" {
				t.Errorf("hint %d: X-Hop came through", i)
			}
		}
		cookies := strings.Join(a.header["Set-Cookie"], "|")
		if !strings.Contains(cookies, "theirs=1") || !strings.Contains(cookies, mintedCookie+"=") || a.header.Get(headerSide) != "legacy" ||
			a.header.Get(headerRequestID) != "abc-1" || a.header.Get("Link") != "" {
			t.Errorf("the answer's headers: %v", a.header)
		}
	})
}

// Half an answer is not taken for a whole one, whether its length was announced
// or not.
func TestConformUpstreamBreaksInMidBody(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/known") {
				w.Header().Set("Content-Length", "100")
			}
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		for _, path := range []string{"/api/orders/known", "/api/orders/unknown", "/known", "/unknown"} {
			for _, method := range []string{"GET", "POST"} {
				if a, _ := r.send(r.request(method, path, nil)); a.err == nil {
					t.Errorf("%s %s: half passed for a whole: %d %q", method, path, a.status, a.body)
				}
			}
		}
		eventually(t, "it is in the log", func() bool { return strings.Count(r.log.String(), `"reason":"connection"`) == 8 })
		if strings.Contains(r.log.String(), "panic") {
			t.Error("somebody panicked")
		}
	})
}

// Nobody works on for a reader who has gone, before the answer and in its middle.
func TestConformClientGoneEndsRead(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		arrived, ended := make(chan struct{}), make(chan struct{})
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/middle") {
				_, _ = io.WriteString(w, "half\n")
				_ = http.NewResponseController(w).Flush()
			}
			arrived <- struct{}{}
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Second):
				t.Error("the upstream was not told")
			}
			ended <- struct{}{}
		})
		for _, path := range []string{"/api/orders/1", "/api/orders/middle", "/unclaimed", "/middle"} {
			ctx, leave := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				a, _ := r.send(r.request("GET", path, nil).WithContext(ctx))
				done <- a.err
			}()
			<-arrived
			leave()
			if err := <-done; err == nil {
				t.Error("the client did not leave")
			}
			<-ended
		}
		if b := r.Breakers()[0]; b.Failures != 0 {
			t.Errorf("the side was blamed: %+v", b)
		}
	})
}

// A counted write that was sent goes on, because others wait to hear of its end.
func TestConformClientGoneLeavesWrite(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		arrived, ended := make(chan struct{}), make(chan struct{})
		var r *rig
		r = c.start(t, func(_ http.ResponseWriter, in *http.Request) {
			_, _ = io.Copy(io.Discard, in.Body)
			arrived <- struct{}{}
			<-r.left // the edge knows that the client is gone
			select {
			case <-in.Context().Done():
				t.Error("the write was broken off")
			case <-time.After(50 * time.Millisecond):
			}
			if s, _ := r.serving("orders"); s.Writes != 1 {
				t.Errorf("%d writes are in flight", s.Writes)
			}
			ended <- struct{}{}
		})
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			a, _ := r.send(r.request("POST", "/api/orders/1", strings.NewReader("body")).WithContext(ctx))
			done <- a.err
		}()
		<-arrived
		leave()
		if err := <-done; err == nil {
			t.Error("the client did not leave")
		}
		<-ended
	})
}

// A client that goes in the middle of its upload takes the request with it, and the
// upstream does not take the part for the whole.
func TestConformClientGoneInMidUpload(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		arrived, result := make(chan struct{}), make(chan error)
		r := c.start(t, func(_ http.ResponseWriter, in *http.Request) {
			_, _ = io.ReadFull(in.Body, make([]byte, 4))
			arrived <- struct{}{}
			_, err := io.ReadAll(in.Body)
			result <- err
		})
		for _, path := range []string{"/api/orders/1", "/unclaimed"} {
			ctx, leave := context.WithCancel(t.Context())
			body, say := io.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = r.send(r.request("POST", path, body).WithContext(ctx))
			}()
			_, _ = io.WriteString(say, "part")
			<-arrived
			leave()
			if err := <-result; err == nil {
				t.Errorf("%s: the upstream took a part for the whole", path)
			}
			say.Close()
			<-done
		}
	})
}

// An upstream that breaks off while the client is silent in the middle of its
// upload is told of at once, not with the upload's next byte.
func TestConformUpstreamBreaksInMidUpload(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, in *http.Request) {
			_, _ = io.ReadFull(in.Body, make([]byte, 4))
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				reset(conn) // net/http itself would wait for the upload first
				return
			}
			panic(http.ErrAbortHandler)
		}, func(_ *Options, d *capability.Document) { d.Resilience.Timeout = 5 * time.Second })
		for range 2 {
			body, say := io.Pipe()
			go func() { _, _ = io.WriteString(say, "part") }()
			a, _ := r.send(r.request("POST", "/api/orders/1", body))
			say.Close()
			if a.err != nil || a.status != 502 {
				t.Errorf("%d %v %s", a.status, a.err, a.body)
			}
		}
	})
}

// The client's patience is not the side's: an upload that stalls ends as one, at the
// edge's time, whatever is left of the timeout.
func TestConformStallInMidUpload(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		t.Parallel()
		// The timeout is for what the side and this machine do meanwhile.
		r := c.start(t, func(_ http.ResponseWriter, in *http.Request) {
			_, _ = io.Copy(io.Discard, in.Body)
		}, func(_ *Options, d *capability.Document) { d.Resilience.Timeout = 3 * time.Second })
		r.limits.BodyStall = 4 * time.Second
		r.open(testCertificate(t))
		body, say := io.Pipe()
		go func() { _, _ = io.WriteString(say, "part") }()
		began := time.Now()
		a, _ := r.send(r.request("POST", "/api/orders/1", body))
		say.Close()
		if took := time.Since(began); a.err != nil || a.status != 408 || took > longest/2 {
			t.Errorf("%d %v %s after %v", a.status, a.err, a.body, took)
		}
	})
}
