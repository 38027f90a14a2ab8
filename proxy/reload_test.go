package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
	"strangler/proxy/pool"
)

func TestReloadUnderLoadDropsNothing(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 5000), nil, nil)
	stop := make(chan struct{})
	var done atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				method, path := "GET", "/api/orders/1"
				if n%3 == 0 {
					method = "POST"
				}
				if a := s.do(method, path, fmt.Sprint("user", i, n%7), nil); a.err != nil || a.status != 200 {
					t.Errorf("%s: %d %v %s", method, a.status, a.err, a.body)
					return
				}
				done.Add(1)
			}
		})
	}
	for revision := uint64(2); revision < 102; revision++ {
		before := done.Load()
		eventually(t, "requests between two reloads", func() bool { return done.Load() > before+8 || t.Failed() })
		s.doc.Routes = []capability.Route{{Path: "/api/orders/**"}, {Path: fmt.Sprintf("/other/%d", revision)}}
		s.set(state(revision, capability.Legacy, capability.Weight(revision*50)))
	}
	close(stop)
	wg.Wait()
}

// Documents that cannot be served together leave the last good ones serving,
// but the effective state goes on.
func TestBrokenDocumentsLeaveTheLastGoodOnes(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), nil, nil)
	broken := s.doc.Clone()
	broken.Routes = append(broken.Routes, capability.Route{Path: "/{", Line: 9})
	problems := s.Update([]capability.Document{broken}, map[string]capability.Effective{"orders": state(2, capability.Legacy, capability.Whole)})
	if len(problems) != 1 || problems[0].File != "routes/orders.yaml" || problems[0].Line != 9 {
		t.Fatalf("problems: %v", problems)
	}
	s.want(s.get("/api/orders/1", "u"), 200, "extracted")
	if now, _ := s.serving("orders"); now.Revision != 2 || len(now.Problems) != 1 {
		t.Errorf("serving: %+v", now)
	}
	s.set(state(1, capability.Legacy, 0)) // older
	s.want(s.get("/api/orders/1", "u"), 200, "extracted")
	if now, _ := s.serving("orders"); now.Revision != 2 || len(now.Problems) != 0 {
		t.Errorf("serving: %+v", now)
	}
}

func TestCapabilityWithoutAState(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), nil, nil)
	other := capability.Document{Name: "catalog", File: "routes/catalog.yaml", Routes: []capability.Route{{Path: "/api/catalog/**"}},
		Extracted: capability.Upstream{Endpoints: []string{s.extracted.URL}}}
	if problems := s.Update([]capability.Document{s.doc, other}, nil); len(problems) > 0 {
		t.Fatal(problems)
	}
	s.want(s.get("/api/catalog/1", ""), 200, "legacy")
	s.want(s.do("POST", "/api/catalog/1", "", nil), 200, "legacy")
	if n := len(s.Routes()); n != 2 {
		t.Errorf("%d routes", n)
	}
	if problems := s.Update([]capability.Document{s.doc}, nil); len(problems) > 0 {
		t.Fatal(problems)
	}
	a := s.get("/api/catalog/1", "")
	s.want(a, 200, "legacy")
	if a.header.Get("Set-Cookie") != "" {
		t.Error("still claimed after its document went")
	}
}

func TestNotReadyBeforeTheFirstTable(t *testing.T) {
	p, err := New(Options{ID: "p", Legacy: capability.Upstream{Endpoints: []string{"http://127.0.0.1:1"}}, Log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	if p.Ready() {
		t.Error("ready without a table")
	}
	p.Update(nil, nil)
	if !p.Ready() {
		t.Error("no capability at all is a table too")
	}
	for _, o := range []Options{{}, {ID: "p", Log: quietLog()}, {ID: "p", Log: quietLog(), Legacy: capability.Upstream{Endpoints: []string{"nonsense"}}}} {
		if _, err := New(o); err == nil {
			t.Errorf("New took %+v", o)
		}
	}
}

// set changes under the proxy's feet, as Consul would change it.
type moving struct {
	set atomic.Pointer[[]capability.Instance]
}

func (m *moving) Instances(string) []capability.Instance { return *m.set.Load() }

func (m *moving) store(addresses ...string) {
	all := []capability.Instance{}
	for _, a := range addresses {
		all = append(all, capability.Instance{Address: a})
	}
	m.set.Store(&all)
}

func TestDiscovery(t *testing.T) {
	found := &moving{}
	found.store()
	s := serve(t, state(1, capability.Legacy, capability.Whole), nil, nil, func(o *Options, d *capability.Document) {
		o.Discovery = found
		d.Extracted = capability.Upstream{Consul: "orders"}
	})
	s.want(s.get("/api/orders/1", "u"), 200, "legacy") // nobody there yet: reads fall back
	found.store(s.extracted.URL)
	s.want(s.get("/api/orders/1", "u"), 200, "extracted")
	found.store(s.legacy.URL, "::nonsense")
	s.want(s.get("/api/orders/1", "u"), 200, "legacy")
	var known []string
	for _, e := range s.Endpoints() {
		if e.Capability == "orders" && e.State != pool.Withdrawn {
			known = append(known, e.Address)
		}
	}
	if !slices.Equal(known, []string{s.legacy.URL}) {
		t.Errorf("endpoints: %v", known)
	}
}

func TestExplainAgreesWithRouting(t *testing.T) {
	var got atomic.Pointer[http.Request]
	s := serve(t, state(1, capability.Legacy, 2500), func(_ http.ResponseWriter, r *http.Request) { got.Store(r) }, func(_ http.ResponseWriter, r *http.Request) { got.Store(r) })
	for i := range 50 {
		user := fmt.Sprint("user", i)
		for _, method := range []string{"GET", "POST"} {
			d, err := s.Explain(Request{Method: method, URL: "/api/orders/1", Headers: http.Header{"x-user": {user}}})
			if err != nil {
				t.Fatal(err)
			}
			s.want(s.do(method, "/api/orders/1", user, nil), 200, string(d.Side))
			if d.Capability != "orders" || d.Route != "/api/orders/**" || d.Subject != user || d.Endpoint == "" || len(d.Reasons) < 3 {
				t.Fatalf("%+v", d)
			}
			if method == "GET" && (d.Bucket < 2500) != (d.Side == capability.Extracted) {
				t.Fatalf("%+v", d)
			}
		}
	}
	for url, want := range map[string]string{"/nothing?x=1": "no capability claims", "/a/%2e%2e/b": "a dot segment, which", "http://shop.example/api/orders/1": "capability orders claims"} {
		d, err := s.Explain(Request{Method: "GET", URL: url})
		if err != nil || !strings.Contains(d.Reasons[0], want) {
			t.Errorf("%s: %+v, %v", url, d, err)
		}
	}
	if _, err := s.Explain(Request{Method: "GET ", URL: "/"}); err == nil {
		t.Error("explained what is no request")
	}
	s.set(switching(state(2, capability.Legacy, 2500)))
	d, _ := s.Explain(Request{Method: "PUT", URL: "/api/orders/1"})
	if !strings.Contains(strings.Join(d.Reasons, "; "), "would wait") {
		t.Errorf("under a hold: %v", d.Reasons)
	}
}

func TestAccessLogAndSampling(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/fail") {
			w.WriteHeader(500)
		}
	}, nil, func(o *Options, _ *capability.Document) { o.AccessEvery = 10 })
	for range 30 {
		s.want(s.get("/api/orders/1", "u"), 200, "")
	}
	s.want(s.get("/api/orders/fail", "u"), 500, "")
	count := func(part string) int { return strings.Count(s.log.String(), part) }
	eventually(t, "the failure is logged", func() bool { return count(`"status":500`) == 1 })
	if n := count(`"status":200`); n != 3 {
		t.Errorf("%d of 30 requests are in the log, want every tenth", n)
	}
	for _, attr := range []string{`"request_id":`, `"capability":"orders"`, `"route":"/api/orders/**"`, `"side":"legacy"`, `"reason":"weight"`, `"upstream":"http://`, `"duration":`} {
		if !strings.Contains(s.log.String(), attr) {
			t.Errorf("the log lacks %s", attr)
		}
	}
}

func BenchmarkProxy(b *testing.B) {
	up := answering(b, "legacy", nil)
	p, err := New(Options{ID: "p", Legacy: capability.Upstream{Endpoints: []string{up.URL}}, Log: quietLog()})
	if err != nil {
		b.Fatal(err)
	}
	p.Update([]capability.Document{ordersDocument(up.URL)}, map[string]capability.Effective{"orders": state(1, capability.Legacy, 5000)})
	defer p.unclaimed.pool.Close()
	for _, l := range p.lasting {
		defer l.extracted.Close()
	}
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		r, _ := http.NewRequest("GET", "http://x/api/orders/1", nil)
		r.RemoteAddr = "127.0.0.1:1"
		clear(w.header)
		p.ServeHTTP(w, r)
	}
}

type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// canned is a leg that answers from memory, so that what is measured is ours.
type canned struct{ host string }

func newCanned(_ capability.Upstream, to *url.URL) (pool.Leg, error) { return canned{to.Host}, nil }

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Length": {"2"}, "X-Served-By": {c.host}},
		Body: io.NopCloser(strings.NewReader("ok")), ContentLength: 2, Request: r}, nil
}
func (canned) CloseIdleConnections() {}

func BenchmarkOverhead(b *testing.B) {
	p, err := New(Options{ID: "p", Legacy: capability.Upstream{Endpoints: []string{"http://h"}}, Log: quietLog(), NewLeg: newCanned})
	if err != nil {
		b.Fatal(err)
	}
	p.Update([]capability.Document{ordersDocument("http://e")}, map[string]capability.Effective{"orders": state(1, capability.Legacy, 0)})
	w := &sink{header: http.Header{}}
	for _, method := range []string{"GET", "PUT"} {
		b.Run(method, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, _ := http.NewRequest(method, "http://x/api/orders/1", nil)
				r.RemoteAddr = "127.0.0.1:1"
				clear(w.header)
				p.ServeHTTP(w, r)
			}
		})
	}
}

// A capability whose document is gone keeps what requests under way need of it for
// a minute. Then it is forgotten, and one of its name begins anew with whatever
// state it has.
func TestCapabilityWithoutADocumentIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		docs := []capability.Document{trafficOnly("orders", "/o", nil)}
		p := replica(t, docs, weighted("orders", 7, capability.Whole))
		if got := ask(t, p, "GET", "/o", "ann"); got != "extracted" {
			t.Fatal(got)
		}
		p.Update(nil, nil)
		if got := ask(t, p, "GET", "/o", "ann"); got != "legacy" {
			t.Errorf("unclaimed, and %s answered", got)
		}
		time.Sleep(retireAfter / 2)
		p.Update(docs, weighted("orders", 1, 0))
		if got := ask(t, p, "GET", "/o", "ann"); got != "extracted" {
			t.Errorf("it came back within the minute, and %s answered", got)
		}
		p.Update(nil, nil)
		time.Sleep(2*retireAfter + time.Second)
		if n := len(p.everything()); n != 0 {
			t.Errorf("%d capabilities are kept", n)
		}
		if n := len(p.loops.kept); n != 1 { // the monolith's
			t.Errorf("%d loops are kept", n)
		}
		p.Update(docs, weighted("orders", 1, 0))
		if got := ask(t, p, "GET", "/o", "ann"); got != "legacy" {
			t.Errorf("it began anew at 0%%, and %s answered", got)
		}
	})
}

// A document that came back and went again has its own minute: what was begun when
// it went first does not end it.
func TestAReturnedDocumentHasItsOwnMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		docs := []capability.Document{trafficOnly("orders", "/o", nil)}
		p := replica(t, docs, weighted("orders", 7, capability.Whole))
		p.Update(nil, nil)
		time.Sleep(retireAfter / 2)
		p.Update(docs, weighted("orders", 7, capability.Whole))
		time.Sleep(retireAfter / 4)
		p.Update(nil, nil)
		time.Sleep(retireAfter/2 + time.Second)
		if n := len(p.everything()); n != 1 {
			t.Fatalf("%d capabilities are kept of one that went half a minute ago", n)
		}
		time.Sleep(retireAfter / 2)
		if n := len(p.everything()); n != 0 {
			t.Errorf("%d capabilities are kept", n)
		}
	})
}
