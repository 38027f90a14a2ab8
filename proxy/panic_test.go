package proxy

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"strangler/capability"
	"strangler/proxy/pool"
)

// faulty is a leg with a mistake in it: it panics before it has an answer, or while
// its body is read.
type faulty struct{ pool.Leg }

func (f faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/before") {
		panic("before the answer")
	}
	res, err := f.Leg.RoundTrip(r)
	if err == nil && strings.HasSuffix(r.URL.Path, "/within") {
		res.Body = faultyBody{res.Body}
	}
	return res, err
}

type faultyBody struct{ io.ReadCloser }

func (faultyBody) Read([]byte) (int, error) { panic("within the answer") }

// A mistake in the proxy is said aloud, with where it is, costs its request alone and
// is nobody else's fault.
func TestAPanicIsAnswered(t *testing.T) {
	for _, front := range fronts[:2] {
		t.Run(front.name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			faults := func(u capability.Upstream, to *url.URL) (pool.Leg, error) {
				leg, err := pool.Standard(u, to)
				return faulty{leg}, err
			}
			r := pairing{front, backs[0], faults}.start(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") },
				func(o *Options, _ *capability.Document) { o.Metrics = registry })
			for _, method := range []string{"GET", "POST"} {
				a, _ := r.get(method, "/api/orders/before", 500, nil)
				if a.header.Get("Content-Type") != "application/json" || a.header.Get(headerRequestID) == "" {
					t.Errorf("%s: %v", method, a.header)
				}
				if a, _ := r.send(r.request(method, "/api/orders/within", nil)); a.err == nil {
					t.Errorf("%s: half an answer passed for a whole one: %d %q", method, a.status, a.body)
				}
				r.get(method, "/api/orders/1", 200, nil)
			}
			r.settled()
			log := r.log.String()
			for _, want := range []string{`"level":"ERROR","msg":"panic in a handler"`, `"panic":"before the answer"`, "faulty.RoundTrip",
				`"panic":"within the answer"`, "faultyBody.Read", `"reason":"panic"`} {
				if !strings.Contains(log, want) {
					t.Errorf("the log lacks %s", want)
				}
			}
			if strings.Contains(log, `"reason":"client"`) {
				t.Error("the log blames the client")
			}
			// Go's client asks again where a connection that it kept ends without an answer.
			if n, said := counted(t, registry, "strangler_panics_total"), strings.Count(log, "panic in a handler"); n < 4 || int(n) != said {
				t.Errorf("%v panics were counted, and %d said", n, said)
			}
		})
	}
}

// counted is the sum of a counter over its labels.
func counted(t *testing.T, registry *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
