package proxy

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"strangler/capability"
	"strangler/proxy/breaker"
)

var testBreaker = capability.Breaker{Ratio: 0.5, Requests: 4, Window: 10 * time.Second, OpenFor: 5 * time.Second, Trials: 2}

func TestOpenBreaker(t *testing.T) {
	var failing atomic.Bool
	failing.Store(true)
	var calls atomic.Int64
	registry := prometheus.NewRegistry()
	s := serve(t, state(1, capability.Extracted, 5000), nil, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		if failing.Load() {
			w.WriteHeader(500)
		}
	}, func(o *Options, d *capability.Document) {
		o.Metrics = registry
		d.Resilience.Breaker = capability.Breaker{Ratio: 0.5, Requests: 4, Window: time.Minute, OpenFor: time.Minute, Trials: 1}
	})
	user := subjectOn(t, capability.Extracted, 5000)
	for range 4 {
		s.want(s.get("/api/orders/1", user), 500, "extracted") // the application's own error is passed on
	}
	n := calls.Load()
	s.want(s.get("/api/orders/1", user), 200, "legacy")
	a := s.do("POST", "/api/orders/1", user, strings.NewReader("x"))
	s.want(a, 503, "")
	after, _ := strconv.Atoi(a.header.Get("Retry-After")) // spread by a tenth
	if after < 54 || after > 66 || !strings.Contains(a.body, "touched nothing") {
		t.Errorf("write: %v %s", a.header, a.body)
	}
	for method, want := range map[string]capability.Side{"GET": capability.Legacy, "POST": ""} {
		d, err := s.Explain(Request{Method: method, URL: "/api/orders/1", Headers: http.Header{"X-User": {user}}})
		if err != nil || d.Side != want || (d.Endpoint == "") != (want == "") {
			t.Errorf("%s is explained as %+v, %v", method, d, err)
		}
	}
	s.doc.Routes = append(s.doc.Routes, capability.Route{Path: "/api/other"})
	s.set(state(2, capability.Extracted, 5000)) // a reload forgets no breaker
	s.want(s.get("/api/orders/1", user), 200, "legacy")
	if calls.Load() != n {
		t.Errorf("%d requests went through the open breaker", calls.Load()-n)
	}
	if b := s.Breakers(); len(b) != 2 || b[1].State != breaker.Open || !strings.Contains(b[1].Reason, "answered 500") || b[0].State != breaker.Closed {
		t.Errorf("breakers: %+v", b)
	}
	want := "# HELP strangler_breaker_state 0 closed, 1 half-open, 2 open.\n# TYPE strangler_breaker_state gauge\n" +
		"strangler_breaker_state{capability=\"orders\",side=\"extracted\"} 2\nstrangler_breaker_state{capability=\"orders\",side=\"legacy\"} 0\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "strangler_breaker_state"); err != nil {
		t.Error(err)
	}
}

// A breaker is in the metrics before anything has happened to it, and says why and
// when its state last changed.
func TestBreakersInMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := serve(t, state(1, capability.Extracted, capability.Whole), nil, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, func(o *Options, d *capability.Document) {
		o.Metrics = registry
		d.Resilience.Breaker = capability.Breaker{Ratio: 0.5, Requests: 4, Window: time.Minute, OpenFor: time.Minute, Trials: 1}
		d.Breakers.Legacy = capability.BreakerObserve
	})
	const head = "# HELP strangler_breaker_state 0 closed, 1 half-open, 2 open.\n# TYPE strangler_breaker_state gauge\n"
	const info = "# HELP strangler_breaker_info 1, with the mode of the breaker and why its state last changed; numbers are left out.\n# TYPE strangler_breaker_info gauge\n"
	const legacy = `strangler_breaker_info{capability="orders",mode="observe",reason="never changed",side="legacy"} 1` + "\n"
	check := func(want string, name string) {
		t.Helper()
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), name); err != nil {
			t.Error(err)
		}
	}
	check(head+"strangler_breaker_state{capability=\"orders\",side=\"extracted\"} 0\nstrangler_breaker_state{capability=\"orders\",side=\"legacy\"} 0\n", "strangler_breaker_state")
	check(info+`strangler_breaker_info{capability="orders",mode="enforce",reason="never changed",side="extracted"} 1`+"\n"+legacy, "strangler_breaker_info")
	if n := testutil.CollectAndCount(s.metrics.changes); n != 6 {
		t.Errorf("%d counts of changes, want one for each state of each side", n)
	}
	before := time.Now().Truncate(time.Millisecond).Add(time.Millisecond) // metrics tell no less
	<-time.After(time.Until(before))
	for range 4 {
		s.get("/api/orders/1", "u")
	}
	check(head+"strangler_breaker_state{capability=\"orders\",side=\"extracted\"} 2\nstrangler_breaker_state{capability=\"orders\",side=\"legacy\"} 0\n", "strangler_breaker_state")
	check(info+`strangler_breaker_info{capability="orders",mode="enforce",reason="N of N requests failed within N; the last: answered 502",side="extracted"} 1`+"\n"+legacy, "strangler_breaker_info")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "strangler_breaker_changed_timestamp_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			opened := m.GetLabel()[1].GetValue() == "extracted"
			if at := time.UnixMilli(int64(math.Round(m.GetGauge().GetValue() * 1000))); opened == at.Before(before) {
				t.Errorf("%v changed at %v; the requests began at %v", m.GetLabel(), at, before)
			}
		}
	}
}

// A side that the operator has taken out does not fail, and comes back when he says so.
func TestABreakerOpenByTheOperatorSaysSo(t *testing.T) {
	s := serve(t, state(1, capability.Extracted, capability.Whole), nil, nil, func(_ *Options, d *capability.Document) {
		d.Breakers.Extracted = capability.BreakerForced
	})
	a := s.do("POST", "/api/orders/1", "u", strings.NewReader("x"))
	s.want(a, 503, "")
	for _, part := range []string{"extracted of orders", "an operator has opened", "strangler status orders", "strangler breaker orders extracted enforce", "touched nothing"} {
		if !strings.Contains(a.body, part) {
			t.Errorf("%q is not said: %s", part, a.body)
		}
	}
	if strings.Contains(a.body, "failing") || a.header.Get("Retry-After") != "5" {
		t.Errorf("%s, Retry-After %s", a.body, a.header.Get("Retry-After"))
	}
}

func TestReasonsAsLabels(t *testing.T) {
	for reason, want := range map[string]string{
		"":                        "never changed",
		"by the operator":         "by the operator",
		"2 of 3 trials succeeded": "N of N trials succeeded",
		"a trial failed: read tcp 127.0.0.1:52114->127.0.0.1:9003: read: connection reset by peer": "a trial failed: read tcp N:N->N:N: read: connection reset by peer",
		"5 of 10 requests failed within 10s; the last: answered 503":                               "N of N requests failed within N; the last: answered 503",
	} {
		if got := inWords(reason); got != want {
			t.Errorf("%q is %q, want %q", reason, got, want)
		}
	}
}

// A gate that refuses writes is not a side that fails.
func TestRefusalsByTheGateDoNotOpenTheBreaker(t *testing.T) {
	s := serve(t, state(1, capability.Legacy, 0), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(503)
	}, nil, func(_ *Options, d *capability.Document) { d.Resilience.Breaker = testBreaker })
	for range 10 {
		s.want(s.do("POST", "/api/orders/1", "u", nil), 503, "legacy")
	}
}
