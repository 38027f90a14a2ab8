package proxy

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"strangler/capability"
)

var testBreaker = capability.Breaker{Ratio: 0.5, Requests: 4, Window: 10 * time.Second, OpenFor: 5 * time.Second, Trials: 2}

func try(t *testing.T, b *breaker, err error) {
	t.Helper()
	done, _, ok := b.admit(time.Minute)
	if !ok {
		t.Fatal("not admitted")
	}
	done(err)
}

func wantState(t *testing.T, b *breaker, want BreakerState) {
	t.Helper()
	if have, _ := b.state(); have != want {
		t.Fatalf("the breaker is %s, want %s", have, want)
	}
}

func TestBreakerLifeCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker
		var seen []string
		b = newBreaker(testBreaker, func(tr transition) {
			seen = append(seen, string(tr.from)+">"+string(tr.to)+" "+tr.reason)
			b.state() // would deadlock under gobreaker's lock
		})
		broken := errors.New("connection refused")
		try(t, b, broken)
		try(t, b, broken)
		try(t, b, broken)
		wantState(t, b, Closed) // below the volume
		try(t, b, broken)
		wantState(t, b, Open)
		time.Sleep(2 * time.Second)
		if _, after, ok := b.admit(time.Minute); ok || after != 3*time.Second {
			t.Fatalf("open: admitted %v, again after %v", ok, after)
		}
		time.Sleep(3*time.Second + 1)
		try(t, b, nil)
		wantState(t, b, HalfOpen)
		try(t, b, broken)
		wantState(t, b, Open)
		time.Sleep(5*time.Second + 1)
		try(t, b, nil)
		try(t, b, errExcluded) // says nothing, takes no trial away
		try(t, b, nil)
		wantState(t, b, Closed)
		want := "closed>open connection refused|open>half-open |half-open>open connection refused|open>half-open |half-open>closed "
		if got := strings.Join(seen, "|"); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestBreakerCountsByRatioAndWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(testBreaker, nil)
		broken := errors.New("x")
		for range 20 {
			try(t, b, nil)
			try(t, b, nil)
			try(t, b, broken)
		}
		wantState(t, b, Closed) // a third
		time.Sleep(testBreaker.Window + time.Second)
		for range 3 {
			try(t, b, broken)
		}
		wantState(t, b, Closed) // the successes are forgotten, and so is the volume
		try(t, b, broken)
		wantState(t, b, Open)
	})
}

func TestTrialThatNeverReportsDoesNotWedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(testBreaker, nil)
		for range 4 {
			try(t, b, errors.New("x"))
		}
		time.Sleep(testBreaker.OpenFor + 1)
		for range testBreaker.Trials {
			if _, _, ok := b.admit(30 * time.Second); !ok {
				t.Fatal("trial not admitted")
			}
		}
		if _, after, ok := b.admit(time.Second); ok || after <= 0 {
			t.Fatalf("a third trial: %v, %v", ok, after)
		}
		time.Sleep(30*time.Second + testBreaker.OpenFor + time.Second)
		try(t, b, nil)
		try(t, b, nil)
		wantState(t, b, Closed)
		time.Sleep(time.Minute)
	})
}

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
	if a.header.Get("Retry-After") != "60" || !strings.Contains(a.body, "touched nothing") {
		t.Errorf("write: %v %s", a.header, a.body)
	}
	s.doc.Routes = append(s.doc.Routes, capability.Route{Path: "/api/other"})
	s.set(state(2, capability.Extracted, 5000)) // a reload forgets no breaker
	s.want(s.get("/api/orders/1", user), 200, "legacy")
	if calls.Load() != n {
		t.Errorf("%d requests went through the open breaker", calls.Load()-n)
	}
	if b := s.Breakers(); len(b) != 2 || b[1].State != Open || b[1].Reason != "answered 500" || b[0].State != Closed {
		t.Errorf("breakers: %+v", b)
	}
	want := "# HELP strangler_breaker_state 0 closed, 1 half-open, 2 open.\n# TYPE strangler_breaker_state gauge\n" +
		"strangler_breaker_state{capability=\"orders\",side=\"extracted\"} 2\nstrangler_breaker_state{capability=\"orders\",side=\"legacy\"} 0\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "strangler_breaker_state"); err != nil {
		t.Error(err)
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

func BenchmarkBreaker(b *testing.B) {
	br := newBreaker(testBreaker, nil)
	b.ReportAllocs()
	for b.Loop() {
		done, _, _ := br.admit(time.Second)
		done(nil)
	}
}
