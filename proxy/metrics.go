package proxy

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"strangler/capability"
	"strangler/proxy/breaker"
	"strangler/proxy/pool"
)

// metrics counts what happens; what simply is (breakers, weights, holds) is read
// when it is asked for. Unclaimed requests have an empty capability.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	holds    *prometheus.HistogramVec
	changes  *prometheus.CounterVec
	refused  *prometheus.CounterVec
	panics   prometheus.Counter
	calls    *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer, p *Proxy) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "strangler_requests_total",
			Help: "Requests answered, by who answered and why."}, []string{"capability", "side", "class", "code", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "strangler_request_duration_seconds",
			Help:    "Time from a request's arrival to the end of its answer, holds included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"capability", "side"}),
		holds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "strangler_hold_seconds",
			Help:    "Time that writes waited for a new owner, by how it ended.",
			Buckets: []float64{.01, .05, .1, .25, .5, 1, 2, 4, 8}}, []string{"capability", "outcome"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "strangler_breaker_changes_total",
			Help: "Changes of a breaker's state, by the new state."}, []string{"capability", "side", "to"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "strangler_retries_refused_total",
			Help: "Retries that the capability's budget did not allow."}, []string{"capability"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "strangler_grpc_calls_total",
			Help: "Calls of gRPC that ended with a status, by its name; OTHER where it is none."}, []string{"capability", "side", "status"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "strangler_panics_total",
			Help: "Requests that a mistake in the proxy has ended; the log says where."}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.holds, m.changes, m.refused, m.panics, m.calls, collector{p}} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) request(x *exchange, took time.Duration) {
	name := ""
	if x.route != nil {
		name = x.route.binding.document.Name
	}
	m.requests.WithLabelValues(name, string(x.side), string(x.class), codeClass(x.status), string(x.reason)).Inc()
	if x.grpc != "" {
		m.calls.WithLabelValues(name, string(x.side), x.grpc.name()).Inc()
	}
	m.duration.WithLabelValues(name, string(x.side)).Observe(took.Seconds())
}

func codeClass(status int) string {
	classes := [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}
	if i := status/100 - 1; 0 <= i && i < len(classes) {
		return classes[i]
	}
	return strconv.Itoa(status)
}

func (m *metrics) held(name string, took time.Duration, err error) {
	result := "released"
	switch {
	case errors.Is(err, errHoldFull):
		result = "full"
	case errors.Is(err, errHoldExpired):
		result = "expired"
	case err != nil:
		result = "gone"
	}
	m.holds.WithLabelValues(name, result).Observe(took.Seconds())
}

// breaker begins the counts of a breaker at 0, so that its first change is seen as
// one.
func (m *metrics) breaker(name string, side capability.Side) {
	for _, to := range []breaker.State{breaker.Closed, breaker.HalfOpen, breaker.Open} {
		m.changes.WithLabelValues(name, string(side), string(to))
	}
}

func (m *metrics) transition(name string, side capability.Side, t breaker.Transition) {
	m.changes.WithLabelValues(name, string(side), string(t.To)).Inc()
}

// exhausted counts a retry that the budget refused.
func (m *metrics) exhausted(name string) { m.refused.WithLabelValues(name).Inc() }

// collector reads the state of every capability when it is scraped.
type collector struct{ proxy *Proxy }

var (
	descBreaker  = prometheus.NewDesc("strangler_breaker_state", "0 closed, 1 half-open, 2 open.", []string{"capability", "side"}, nil)
	descSince    = prometheus.NewDesc("strangler_breaker_changed_timestamp_seconds", "When the breaker's state last changed.", []string{"capability", "side"}, nil)
	descReason   = prometheus.NewDesc("strangler_breaker_info", "1, with the mode of the breaker and why its state last changed; numbers are left out.", []string{"capability", "side", "mode", "reason"}, nil)
	descInFlight = prometheus.NewDesc("strangler_side_requests_in_flight", "Requests that are at a side.", []string{"capability", "side"}, nil)
	descQueued   = prometheus.NewDesc("strangler_side_requests_queued", "Requests that wait for a place at a side.", []string{"capability", "side"}, nil)
	descEndpoint = prometheus.NewDesc("strangler_endpoints", "Endpoints of the extracted side, or of the monolith (no capability), by whether they are used.", []string{"capability", "used"}, nil)
	descHeld     = prometheus.NewDesc("strangler_held_requests", "Writes that wait for a new owner.", []string{"capability"}, nil)
	descWrites   = prometheus.NewDesc("strangler_writes_in_flight", "Writes that were forwarded and have not ended.", []string{"capability"}, nil)
	descWeight   = prometheus.NewDesc("strangler_weight_ratio", "Share of subjects on the extracted side, 0 to 1.", []string{"capability"}, nil)
	descRevision = prometheus.NewDesc("strangler_revision", "Revision of the effective state that is served.", []string{"capability"}, nil)
	descTunnels  = prometheus.NewDesc("strangler_tunnels", "Connections that were upgraded, as to WebSockets, and are open.", []string{"capability"}, nil)
	descStrays   = prometheus.NewDesc("strangler_unasked_answers_total", "How often an endpoint of the extracted side, or of the monolith (no capability), sent more than it had announced.", []string{"capability"}, nil)
	descPinned   = prometheus.NewDesc("strangler_pinned_subjects", "Subjects that read from the owner because of a write of theirs.", []string{"capability"}, nil)
)

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descBreaker, descSince, descReason, descInFlight, descQueued, descEndpoint, descHeld, descWrites, descWeight, descRevision, descPinned, descTunnels, descStrays} {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	t := c.proxy.table.Load()
	if t == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	endpoints := func(name string, all []pool.Info) {
		used := 0
		for _, e := range all {
			if e.State == pool.Healthy || e.Ignored {
				used++
			}
		}
		gauge(descEndpoint, float64(used), name, "yes")
		gauge(descEndpoint, float64(len(all)-used), name, "no")
	}
	strays := func(name string, of *pool.Pool) {
		ch <- prometheus.MustNewConstMetric(descStrays, prometheus.CounterValue, float64(of.Strays()), name)
	}
	c.tunnels(t, gauge)
	strays("", c.proxy.unclaimed.pool)
	endpoints("", c.proxy.unclaimed.pool.Endpoints())
	for _, b := range t.bindings {
		name := b.document.Name
		for _, side := range capability.Sides {
			is, busy := b.reach[side].breaker.Info(), b.reach[side].bulkhead.Info()
			gauge(descBreaker, is.State.Metric(), name, string(side))
			gauge(descSince, float64(is.Since.UnixMilli())/1000, name, string(side))
			gauge(descReason, 1, name, string(side), string(is.Mode), inWords(is.Reason))
			gauge(descInFlight, float64(busy.InFlight), name, string(side))
			gauge(descQueued, float64(busy.Queued), name, string(side))
		}
		endpoints(name, b.lasting.extracted.Endpoints())
		strays(name, b.lasting.extracted)
		s, _ := b.lasting.hold.serving()
		gauge(descHeld, float64(s.Held), name)
		gauge(descWrites, float64(s.Writes), name)
		gauge(descWeight, float64(b.effective.Weight)/float64(capability.Whole), name)
		gauge(descRevision, float64(s.Revision), name)
		gauge(descPinned, float64(b.lasting.marks.count()), name)
	}
}

// numbers are what a reason counts and measures, and the ports in it; what an
// upstream answered is none of them.
var numbers = regexp.MustCompile(`(answered )?(?:\d+(?:\.\d+)*(?:ns|µs|ms|[smh])?)+\b`)

// inWords is a reason as the value of a label: without its numbers, so that there
// are few of them. A breaker that has never changed says so.
func inWords(reason string) string {
	if reason == "" {
		return "never changed"
	}
	return numbers.ReplaceAllStringFunc(reason, func(s string) string {
		if strings.HasPrefix(s, "answered") {
			return s
		}
		return "N"
	})
}

// tunnels reports the open ones of every capability, of unclaimed requests, and of
// capabilities that no document describes any more.
func (c collector) tunnels(t *table, gauge func(*prometheus.Desc, float64, ...string)) {
	open := c.proxy.streams.Open()
	open[""] += 0
	for _, b := range t.bindings {
		open[b.document.Name] += 0
	}
	for name, n := range open {
		gauge(descTunnels, float64(n), name)
	}
}
