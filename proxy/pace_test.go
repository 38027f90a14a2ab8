package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"strangler/capability"
	"strangler/proxy/breaker"
	"strangler/proxy/edge"
	"strangler/proxy/pool"
)

// What is a client's own pace must cost nobody else anything. In these tests a side
// that is blamed once has its breaker open and its endpoint ejected.

// touchy is a document whose side has no second chance, with that timeout.
func touchy(timeout time.Duration) func(*Options, *capability.Document) {
	return func(_ *Options, d *capability.Document) {
		d.Routes = append(d.Routes, capability.Route{Path: "/api/orders/search", Class: capability.Read, Line: 4})
		d.Extracted.Ejection.Failures = 1
		d.Resilience.Timeout, d.Resilience.Fallback = timeout, false
		d.Resilience.Breaker = capability.Breaker{Ratio: 0.01, Requests: 1, Window: time.Minute, OpenFor: time.Minute, Trials: 1}
	}
}

// overFronts runs a test for clients of HTTP/1.1 and of h2c, with everything on the
// extracted side.
func overFronts(t *testing.T, limits edge.Limits, timeout time.Duration, h http.HandlerFunc, f func(t *testing.T, r *rig)) {
	t.Helper()
	for _, front := range fronts[:2] {
		for _, b := range backs[:2] {
			t.Run(front.name+" to "+b.name, func(t *testing.T) {
				t.Parallel()
				r := pairing{front, b, pool.Standard}.start(t, h, touchy(timeout))
				r.set(state(2, capability.Extracted, capability.Whole))
				r.limits = limits
				r.open(testCertificate(t))
				f(t, r)
				r.well()
			})
		}
	}
}

// well checks that the extracted side and its endpoint are in nobody's bad books.
func (r *rig) well() {
	r.t.Helper()
	r.settled()
	if b := r.Breakers()[1]; b.Failures != 0 || b.State != breaker.Closed {
		r.t.Errorf("breaker: %+v", b)
	}
	for _, e := range r.Endpoints() {
		if e.State != pool.Healthy {
			r.t.Errorf("endpoint: %+v", e)
		}
	}
	r.get("GET", "/api/orders/well", 200, nil)
}

// passes lets time pass, which is what these tests are about.
func passes(d time.Duration) { <-time.After(d) }

const soon = 100 * time.Millisecond // a timeout, and less than the pauses of these clients

// A client that takes an answer in pieces, with pauses that are longer than the
// timeout, gets all of it.
func TestSlowReadersAreNotCutByTheTimeout(t *testing.T) {
	const timeout = 3 * time.Second // bounds what the side does between two pieces, and of a write all of it
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			// The answers end when their clients have paused: what is there then is what the
			// buffers on the way take, and no more for a busy machine to carry in time.
			var paused sync.Map // chan struct{} by the name of the test
			overFronts(t, edge.Limits{}, timeout, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if !strings.HasSuffix(r.URL.Path, "/large") {
					return
				}
				over, _ := paused.Load(r.Header.Get("X-Test"))
				for piece := make([]byte, 64<<10); ; {
					if _, err := w.Write(piece); err != nil {
						return
					}
					select {
					case <-over.(chan struct{}):
						_, _ = io.WriteString(w, "end")
						return
					default:
					}
				}
			}, func(t *testing.T, r *rig) {
				if method == "POST" {
					r.doc.Resilience.Timeout = 5 * time.Second
					r.set(state(3, capability.Extracted, capability.Whole))
				}
				var small *net.TCPConn
				r.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
					c, err := (&net.Dialer{}).DialContext(ctx, network, address)
					if err == nil {
						small = c.(*net.TCPConn)
						_ = small.SetReadBuffer(64 << 10)
					}
					return c, err
				}
				over := make(chan struct{})
				paused.Store(t.Name(), over)
				res, err := r.client.Do(r.request(method, "/api/orders/large", nil, "X-Test", t.Name()))
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				passes(r.doc.Resilience.Timeout + time.Second)
				_ = small.SetReadBuffer(4 << 20)
				close(over)
				last := make([]byte, 0, 3)
				n, err := io.Copy(tail{&last}, res.Body)
				if string(last) != "end" || err != nil {
					t.Errorf("%d bytes that end with %q, %v\n%s", n, last, err, r.log)
				}
			})
		})
	}
}

// tail keeps the last three bytes of what is written.
type tail struct{ last *[]byte }

func (w tail) Write(p []byte) (int, error) {
	*w.last = append(*w.last, p[max(0, len(p)-3):]...)
	*w.last = (*w.last)[max(0, len(*w.last)-3):]
	return len(p), nil
}

// The timeout is of the side: it begins when the request has come in.
func TestSlowUploadsAreNotCutByTheTimeout(t *testing.T) {
	overFronts(t, edge.Limits{}, soon, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprint(w, len(b), err)
	}, func(t *testing.T, r *rig) {
		for _, path := range []string{"/api/orders/1", "/api/orders/search"} {
			body, say := io.Pipe()
			go func() {
				for range 4 {
					_, _ = io.WriteString(say, "abc")
					passes(2 * soon)
				}
				_ = say.Close()
			}()
			if a, _ := r.get("POST", path, 200, body); a.body != "12 <nil>" {
				t.Errorf("%s: %s arrived", path, a.body)
			}
		}
	})
}

// Nor do slow uploads look like slow answers.
func TestSlowUploadsAreNoSlowAnswers(t *testing.T) {
	r := pairing{fronts[0], backs[0], pool.Standard}.start(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) },
		touchy(20*time.Second), func(_ *Options, d *capability.Document) { d.Resilience.Breaker.Slow = 10 * soon })
	r.set(state(2, capability.Extracted, capability.Whole))
	body, say := io.Pipe()
	go func() {
		_, _ = io.WriteString(say, "abc")
		passes(11 * soon)
		_ = say.Close()
	}()
	r.get("POST", "/api/orders/1", 200, body)
	r.well()
	if b := r.Breakers()[1]; b.Slow != 0 || b.Requests != 2 {
		t.Errorf("breaker: %+v", b)
	}
}

// A side that gets all of a request and does not answer is still to blame.
func TestTheTimeoutBeginsWithTheEndOfTheRequest(t *testing.T) {
	hang := make(chan struct{})
	r := pairing{fronts[0], backs[0], pool.Standard}.start(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-hang
	}, touchy(soon))
	defer close(hang)
	r.set(state(2, capability.Extracted, capability.Whole))
	body, say := io.Pipe()
	var ended atomic.Int64
	go func() {
		passes(2 * soon)
		ended.Store(time.Now().UnixNano())
		_ = say.Close()
	}()
	r.get("POST", "/api/orders/1", 504, body)
	if took := time.Since(time.Unix(0, ended.Load())); ended.Load() == 0 || took < soon-soon/10 {
		t.Errorf("it was over %v after the end of the request", took)
	}
	if b := r.Breakers()[1]; b.State != breaker.Open {
		t.Errorf("breaker: %+v", b)
	}
}

// A body that stalls is its client's fault, and gives its place back.
func TestStalledUploadsAre408(t *testing.T) {
	overFronts(t, edge.Limits{BodyStall: soon}, 20*time.Second, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) },
		func(t *testing.T, r *rig) {
			r.doc.Resilience.Concurrency = capability.Concurrency{Requests: 1, Queue: -1}
			r.set(state(3, capability.Extracted, capability.Whole))
			for _, c := range [][2]string{{"POST", "/api/orders/1"}, {"POST", "/api/orders/search"}, {"GET", "/api/orders/1"}} {
				body, say := io.Pipe()
				go func() { _, _ = io.WriteString(say, "abc") }()
				// net/http's client waits for the end of the body when it gets no answer.
				late := time.AfterFunc(30*time.Second, func() { _ = say.Close() })
				a, res := r.get(c[0], c[1], 408, body)
				late.Stop()
				_ = say.Close()
				if r.front.major == 1 && !res.Close {
					t.Errorf("the connection is to go on: %v", a.header)
				}
				r.settled()
			}
			eventually(t, "it is logged", func() bool { return strings.Count(r.log.String(), `"status":408,`) == 3 })
			if strings.Contains(r.log.String(), `"status":499,`) {
				t.Errorf("a client that is there counts as gone:\n%s", r.log)
			}
		})
}

// endsFirst is a body that net/http reads for HTTP/1: a failed read ends the context of
// the request, and is returned a while later.
type endsFirst struct {
	end  context.CancelFunc
	why  error
	head string
}

func (b *endsFirst) Read(p []byte) (int, error) {
	if n := copy(p, b.head); n > 0 {
		b.head = b.head[n:]
		return n, nil
	}
	b.end()
	passes(soon)
	return 0, b.why
}

func (b *endsFirst) Close() error { return nil }

// The end of its request's context is not the end of the client.
func TestTheReasonOfABrokenUploadIsWaitedFor(t *testing.T) {
	for _, b := range backs[:2] {
		for status, why := range map[int]error{408: os.ErrDeadlineExceeded, 400: io.ErrUnexpectedEOF, 499: net.ErrClosed} {
			t.Run(fmt.Sprint(b.name, status), func(t *testing.T) {
				r := pairing{fronts[0], b, pool.Standard}.start(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }, touchy(20*time.Second))
				r.set(state(2, capability.Extracted, capability.Whole))
				ctx, end := context.WithCancel(t.Context())
				w := httptest.NewRecorder()
				func() {
					defer func() { _ = recover() }() // nobody is there to be answered
					r.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "http://shop.example/api/orders/search", &endsFirst{end, why, "abc"}))
				}()
				if log := r.log.String(); !strings.Contains(log, fmt.Sprintf(`"status":%d,`, status)) || status != 499 && w.Code != status {
					t.Errorf("it is answered with %d:\n%s", w.Code, log)
				}
			})
		}
	}
}

// One that is a trial of the breaker gives its place to the next.
func TestATrialDoesNotWaitForAnUpload(t *testing.T) {
	var well atomic.Bool
	s := serve(t, onExtracted(), nil, func(w http.ResponseWriter, r *http.Request) {
		if !well.Load() {
			w.WriteHeader(500)
		}
		_, _ = io.Copy(io.Discard, r.Body)
	}, breakerAs(capability.Breaker{Ratio: 1, Requests: 1, Window: time.Minute, OpenFor: 10 * time.Millisecond, Trials: 1}))
	s.want(s.get("/api/orders/1", "u"), 500, "")
	well.Store(true)
	eventually(t, "its open time ends", func() bool { return s.breaker().State == breaker.HalfOpen })
	body, say := io.Pipe()
	slow := make(chan answer, 1)
	go func() { slow <- s.do("POST", "/api/orders/1", "u", body) }()
	_, _ = io.WriteString(say, "abc")
	eventually(t, "the upload is the trial", func() bool { return s.breaker().InFlight == 1 })
	eventually(t, "it closes", func() bool { s.get("/api/orders/1", "u"); return s.breaker().State == breaker.Closed })
	if n := s.binding().reach[capability.Extracted].breaker.Info().Opened; n != 1 {
		t.Errorf("it opened %d times", n)
	}
	_ = say.Close()
	s.want(<-slow, 200, "extracted")
}

// A body that ends before its length is malformed, and its client is there to hear
// it: over HTTP/1.1 it has closed its half only.
func TestBodiesThatEndEarlyAre400(t *testing.T) {
	overFronts(t, edge.Limits{}, 20*time.Second, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) },
		func(t *testing.T, r *rig) {
			conn := connect(t, r.address)
			if r.front.major == 1 {
				_, _ = io.WriteString(conn, "POST /api/orders/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc")
				_ = conn.CloseWrite()
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || res.StatusCode != 400 || !res.Close {
					t.Fatalf("%+v %v", res, err)
				}
				return
			}
			if status, err := stream(conn, "abc", [2]string{"content-length", "5"}); err != nil || status != "400" {
				t.Errorf("%s %v\n%s", status, err, r.log)
			}
		})
}

// stream sends a POST over HTTP/2 with one header field more, or another pseudo
// header, and returns the status.
func stream(conn net.Conn, body string, more [2]string) (string, error) {
	_, _ = io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = f.WriteSettings()
	fields := [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/api/orders/1"}, {":authority", "a"}}
	if more[0] == ":authority" {
		fields[3] = more
	} else {
		fields = append(fields, more)
	}
	var head strings.Builder
	encoder := hpack.NewEncoder(&head)
	for _, field := range fields {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(head.String()), EndHeaders: true})
	_ = f.WriteData(1, true, []byte(body))
	for {
		switch frame, err := f.ReadFrame(); frame := frame.(type) {
		case nil:
			return "", err
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status"), nil
		case *http2.RSTStreamFrame:
			return "", fmt.Errorf("reset: %v", frame.ErrCode)
		}
	}
}

// Who has gone gets nothing, and is known as gone.
func TestClientsThatWentAwayGetNothing(t *testing.T) {
	arrived, hang := make(chan struct{}, 1), make(chan struct{})
	r := pairing{fronts[0], backs[0], pool.Standard}.start(t, func(_ http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/well") {
			arrived <- struct{}{}
			<-hang
		}
	}, touchy(20*time.Second))
	defer close(hang)
	r.set(state(2, capability.Extracted, capability.Whole))
	conn := connect(t, r.address)
	_, _ = io.WriteString(conn, "GET /api/orders/1 HTTP/1.1\r\nHost: a\r\n\r\n")
	<-arrived
	_ = conn.CloseWrite() // which is how net/http knows
	if b, err := io.ReadAll(conn); len(b) > 0 || err != nil {
		t.Errorf("%q %v", b, err)
	}
	eventually(t, "it is logged", func() bool {
		return strings.Contains(r.log.String(), `"status":499,`) && strings.Contains(r.log.String(), `"reason":"client"`)
	})
	r.well()
}
