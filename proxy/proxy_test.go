package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"strangler/capability"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served is a proxy in front of two real servers.
type served struct {
	*Proxy
	t         *testing.T
	url       string
	client    *http.Client
	legacy    *httptest.Server
	extracted *httptest.Server
	log       *syncBuffer
	doc       capability.Document
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// longest bounds a request of a test, from its first byte to the last of its answer. It
// is long beyond all load: whatever takes that long hangs.
const longest = time.Minute

// bounded is a body that ends with an error after the longest time. net/http's client
// waits, whatever its timeout, for the end of a Read of its request's body when the
// connection has ended without an answer.
func bounded(t testing.TB, what string, body io.Reader) io.Reader {
	pipe, ok := body.(*io.PipeReader)
	if !ok {
		return body
	}
	timer := time.AfterFunc(longest, func() { _ = pipe.CloseWithError(errors.New("the body of " + what + " does not end")) })
	t.Cleanup(func() { timer.Stop() })
	return body
}

// watched ends the run with the stacks of all goroutines where the test, with what it
// cleans up, hangs: a channel that nobody sends on, a server whose handlers wait for a
// test that has failed. It is to be called before anything else is cleaned up.
func watched(t testing.TB) {
	t.Helper()
	timer := time.AfterFunc(5*longest, func() {
		debug.SetTraceback("all")
		panic(t.Name() + " hangs")
	})
	t.Cleanup(func() { timer.Stop() })
}

// connect opens a connection of the test's own, on which nothing takes longer than a
// request may. It is closed with the test.
func connect(t testing.TB, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(address, "http://"), longest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(longest)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// answered reads an answer to its end.
func answered(r *http.Request, res *http.Response, err error) answer {
	if err != nil {
		return answer{err: err} // which names the request
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		err = fmt.Errorf("the answer to %s %s: %w", r.Method, r.URL, err)
	}
	return answer{res.StatusCode, res.Header, string(b), err}
}

// answering returns a server that names itself, and runs a handler first.
func answering(t testing.TB, name string, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Served-By", name)
		if h != nil {
			h(w, r)
			return
		}
		_, _ = io.WriteString(w, name)
	}))
	t.Cleanup(s.Close)
	return s
}

func ordersDocument(extracted ...string) capability.Document {
	return capability.Document{
		Name: "orders", File: "routes/orders.yaml",
		Routes: []capability.Route{{Path: "/api/orders/**", Line: 3}},
		Extracted: capability.Upstream{
			Endpoints: extracted,
		},
		Traffic:    capability.Traffic{Owner: capability.Legacy, Subject: capability.Subject{Kind: capability.SubjectHeader, Name: "X-User"}},
		Resilience: capability.Resilience{Timeout: 5 * time.Second, Retries: 1, Fallback: true},
		Data:       &capability.Data{State: capability.DataRunning},
	}
}

func state(revision uint64, owner capability.Side, weight capability.Weight) capability.Effective {
	return capability.Effective{Capability: "orders", Revision: revision, Epoch: revision, Owner: owner, Weight: weight, Phase: capability.Steady, HasData: true, Shared: true}
}

func switching(e capability.Effective) capability.Effective {
	e.Phase = capability.Switching
	return e
}

// serve starts a proxy; h of each side may be nil.
func serve(t *testing.T, e capability.Effective, legacy, extracted http.HandlerFunc, adjust ...func(*Options, *capability.Document)) *served {
	t.Helper()
	watched(t)
	s := &served{t: t, legacy: answering(t, "legacy", legacy), extracted: answering(t, "extracted", extracted), log: &syncBuffer{}}
	options := Options{ID: "p1", Legacy: capability.Upstream{Endpoints: []string{s.legacy.URL}},
		Log: slog.New(slog.NewJSONHandler(s.log, nil))}
	s.doc = ordersDocument(s.extracted.URL)
	for _, f := range adjust {
		f(&options, &s.doc)
	}
	p, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Proxy = p
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	s.set(e)
	front := httptest.NewServer(p)
	t.Cleanup(front.Close)
	s.url = front.URL
	s.client = front.Client()
	s.client.Timeout = longest
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s
}

func (s *served) set(e capability.Effective) {
	s.t.Helper()
	if problems := s.Update([]capability.Document{s.doc}, map[string]capability.Effective{"orders": e}); len(problems) > 0 {
		s.t.Fatal(problems)
	}
}

type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

func (s *served) do(method, path, user string, body io.Reader) answer {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+path, bounded(s.t, method+" "+path, body))
	if err != nil {
		s.t.Fatal(err)
	}
	if user != "" {
		r.Header.Set("X-User", user)
	}
	return s.send(r)
}

func (s *served) send(r *http.Request) answer {
	res, err := s.client.Do(r)
	return answered(r, res, err)
}

func (s *served) get(path, user string) answer { return s.do("GET", path, user, nil) }

// want fails unless the answer came from that side with that status.
func (s *served) want(a answer, status int, side string) {
	s.t.Helper()
	if a.err != nil || a.status != status || side != "" && a.header.Get("X-Served-By") != side {
		s.t.Fatalf("got %d from %q (%v, %s), want %d from %q\n%s", a.status, a.header.Get("X-Served-By"), a.err, a.body, status, side, s.log)
	}
}

// subjectOn finds a subject that the weight puts on that side.
func subjectOn(t testing.TB, side capability.Side, weight capability.Weight) string {
	t.Helper()
	for i := range 100_000 {
		name := "user-" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		if capability.Assign("orders", name, weight) == side {
			return name
		}
	}
	t.Fatal("no subject found")
	return ""
}

// eventually polls what only the kernel or another goroutine knows when to do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("never happened: " + what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestReadsFollowWeightAndWritesFollowOwner(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 5000), nil, nil)
	for _, side := range capability.Sides {
		user := subjectOn(t, side, 5000)
		for range 3 {
			s.want(s.get("/api/orders/1", user), 200, string(side))
		}
	}
	user := subjectOn(t, capability.Extracted, 5000)
	a := s.do("POST", "/api/orders/", user, strings.NewReader("x"))
	s.want(a, 200, "legacy")
	if a.header.Get(headerSide) != "legacy" || a.header.Get(headerRequestID) == "" {
		t.Errorf("headers of the answer: %v", a.header)
	}
	s.want(s.get("/api/catalog/1", user), 200, "legacy")
}

func TestWithoutDataEverythingFollowsTheWeight(t *testing.T) {
	e := state(1, capability.Legacy, 5000)
	e.HasData = false
	s := serve(t, e, nil, nil)
	for _, side := range capability.Sides {
		s.want(s.do("POST", "/api/orders/1", subjectOn(t, side, 5000), strings.NewReader("x")), 200, string(side))
	}
}

func TestForwardedRequest(t *testing.T) {
	got := make(chan *http.Request, 1)
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, r *http.Request) {
		got <- r.Clone(context.Background())
		w.Header().Set("Connection", "X-Secret")
		w.Header().Set("X-Secret", "1")
	}, nil)
	r, err := http.NewRequest("GET", s.url+"/api//orders/%7eme/a%2Bb?x=1;y=2&z=%zz", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "shop.example"
	for name, value := range map[string]string{
		"X-Forwarded-For": "6.6.6.6", "X-Forwarded_For": "6.6.6.6", "X_forwarded_for": "6.6.6.6", "X-Real-Ip": "6.6.6.6", "Connection": "X-Drop", "X-Drop": "1",
		"X-Request-Id": "abc-1", "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	} {
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
	}
	a := s.send(r)
	s.want(a, 200, "legacy")
	up := <-got
	if up.RequestURI != "/api/orders/~me/a%2Bb?x=1;y=2&z=%zz" || up.Host != "shop.example" {
		t.Errorf("forwarded %q to %q", up.RequestURI, up.Host)
	}
	host, _, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	for name, want := range map[string]string{"X-Forwarded-For": host, "X-Forwarded-Proto": "http", "X-Forwarded-Host": "shop.example",
		"X_forwarded_for": "", "X-Forwarded_for": "", "X-Real-Ip": host, "X-Drop": "", "X-Request-Id": "abc-1",
		"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
		if have := up.Header.Get(name); have != want {
			t.Errorf("%s: forwarded %q, want %q", name, have, want)
		}
	}
	if a.header.Get("X-Secret") != "" || a.header.Get("X-Request-Id") != "abc-1" {
		t.Errorf("headers of the answer: %v", a.header)
	}
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
