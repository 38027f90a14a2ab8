package pool

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"strangler/capability"
)

// fakeLeg answers without sockets.
type fakeLeg struct {
	to     string
	answer func(*http.Request) (*http.Response, error)
	closed atomic.Int64 // calls of CloseIdleConnections
}

func (l *fakeLeg) RoundTrip(req *http.Request) (*http.Response, error) { return l.answer(req) }
func (l *fakeLeg) CloseIdleConnections()                               { l.closed.Add(1) }

func answer(status int) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}
}

// fakeLegs makes legs whose answers depend on who is asked.
type fakeLegs struct {
	mu     sync.Mutex
	made   []*fakeLeg // guarded by mu
	answer func(host string, req *http.Request) (*http.Response, error)
}

func (f *fakeLegs) make(_ capability.Upstream, to *url.URL) (Leg, error) {
	leg := &fakeLeg{to: to.Host}
	leg.answer = func(req *http.Request) (*http.Response, error) {
		if f.answer == nil {
			return answer(http.StatusOK), nil
		}
		return f.answer(to.Host, req)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made = append(f.made, leg)
	return leg, nil
}

// registry is a Discovery that tests write to.
type registry struct {
	instances atomic.Pointer[[]capability.Instance]
}

func (r *registry) Instances(string) []capability.Instance {
	if p := r.instances.Load(); p != nil {
		return *p
	}
	return nil
}

func (r *registry) set(instances ...capability.Instance) { r.instances.Store(&instances) }

// at names the nth test endpoint.
func at(n int) string { return fmt.Sprintf("http://e%d", n) }

// some are n instances of weight 1 in no zone.
func some(n int) []capability.Instance {
	all := make([]capability.Instance, n)
	for i := range all {
		all[i].Address = at(i)
	}
	return all
}

// poolOf makes a pool over fake legs with the instances, from a registry.
func poolOf(u capability.Upstream, o Options, instances ...capability.Instance) (*Pool, *registry) {
	r := &registry{}
	r.set(instances...)
	if o.NewLeg == nil {
		o.NewLeg = (&fakeLegs{}).make
	}
	o.Discovery = r
	u.Consul = "service"
	p := New(o)
	p.Use(u)
	return p, r
}

// the returns the endpoint of an address.
func (p *Pool) the(t testing.TB, address string) *Endpoint {
	t.Helper()
	for _, e := range p.current().endpoints {
		if e.address == address {
			return e
		}
	}
	t.Fatalf("no endpoint %s", address)
	return nil
}

// fail lets so many requests to the endpoint fail.
func (e *Endpoint) fail(n int) {
	for range n {
		e.Begin()
		e.End(Failed, "broke off")
	}
}

// shares picks n times, nothing in flight, and returns what part each got.
func shares(p *Pool, n int) map[string]float64 {
	got := map[string]float64{}
	for range n {
		got[p.Pick(nil).Address()] += 1 / float64(n)
	}
	return got
}

// states describes all endpoints, as "e0 healthy, e1 ejected".
func states(p *Pool) string {
	var all []string
	for _, i := range p.Endpoints() {
		text := strings.TrimPrefix(i.Address, "http://") + " " + string(i.State)
		if i.Ignored {
			text += " ignored"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func near(got, want, by float64) bool { return got > want-by && got < want+by }
