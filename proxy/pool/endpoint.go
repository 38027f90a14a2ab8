package pool

import (
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"strangler/capability"
)

// Outcome is how an attempt at an endpoint ended.
type Outcome int

// What a caller says of an attempt.
const (
	Neutral Outcome = iota // no evidence: the client went away, a gate refused
	OK
	Failed      // counts towards ejection
	Unreachable // no connection could be made: sets the endpoint aside at once
)

// Endpoint is one address of an upstream.
type Endpoint struct {
	pool    *Pool
	address string
	url     *url.URL
	leg     Leg

	inflight  atomic.Int64
	failures  atomic.Int64 // of requests, in a row
	weight    atomic.Int64 // 1 and above
	warmFrom  atomic.Int64 // Unix nanoseconds since which its share grows; 0: it has its full share
	withdrawn atomic.Bool
	probe     atomic.Int32 // whether a request may probe it; set to due with pool.mu held

	way    int    // the pool's when it was made
	zone   string // guarded by pool.mu
	health health // guarded by pool.mu
}

// Address returns the address as it was given: http://127.0.0.1:9003.
func (e *Endpoint) Address() string { return e.address }

// URL returns the address: scheme and host. It must not be changed.
func (e *Endpoint) URL() *url.URL { return e.url }

// Leg returns the way there.
func (e *Endpoint) Leg() Leg { return e.leg }

// InFlight returns how many attempts have begun and not ended.
func (e *Endpoint) InFlight() int64 { return e.inflight.Load() }

// Begin counts an attempt in.
func (e *Endpoint) Begin() {
	e.inflight.Add(1)
	if e.probe.Load() == probeDue {
		e.probe.CompareAndSwap(probeDue, probeUnderWay)
	}
}

// End counts an attempt out, when its answer has been read or given up, and says
// how it went. The reason of a failure is shown to operators.
func (e *Endpoint) End(outcome Outcome, reason string) {
	switch outcome {
	case OK:
		if e.failures.Load() != 0 {
			e.failures.Store(0)
		}
	case Failed:
		row := e.failures.Add(1)
		if rule := &e.pool.rules.Load().ejection; !rule.Off && row >= int64(rule.Failures) {
			e.pool.eject(e, reason)
		}
	case Unreachable:
		e.pool.setAside(e, reason)
	case Neutral:
	}
	if e.probe.Load() == probeUnderWay {
		e.settle(outcome, reason)
	}
	if e.inflight.Add(-1) == 0 && e.withdrawn.Load() {
		e.leg.CloseIdleConnections()
		e.pool.forget(e)
	}
}

// share returns the part of its weight that the endpoint has now, above 0 and up
// to 1.
func (e *Endpoint) share(now time.Time, slowStart time.Duration) float64 {
	from := e.warmFrom.Load()
	if from == 0 || slowStart <= 0 {
		return 1
	}
	const least = 0.1
	grown := float64(now.UnixNano()-from) / float64(slowStart)
	return min(1, least+(1-least)*max(0, grown))
}

// newEndpoint makes an endpoint of an instance, in the place of the one before
// with the same address, if any; the pool's mutex is held.
func (p *Pool) newEndpoint(u capability.Upstream, i capability.Instance, before *Endpoint) (*Endpoint, error) {
	to, err := url.Parse(i.Address)
	if err != nil {
		return nil, fmt.Errorf("parse endpoint: %w", err)
	}
	if to.Scheme != "http" && to.Scheme != "https" || to.Host == "" || to.Path != "" && to.Path != "/" || to.User != nil {
		return nil, fmt.Errorf("parse endpoint: %q is not http://host:port or https://host:port", i.Address)
	}
	leg, err := p.newLeg(u, to)
	switch {
	case err == nil:
		leg = p.watch(leg, i.Address)
	case before != nil && !before.withdrawn.Load():
		p.log.Error("cannot renew the way to an endpoint, going on with the old one until the next reload", "endpoint", i.Address, "error", err)
		p.unrenewed = true
		before.describe(i)
		return before, nil
	default:
		p.log.Error("cannot make the way to an endpoint, trying again with every request", "endpoint", i.Address, "error", err)
		leg = &lateLeg{make: func() (Leg, error) {
			leg, err := p.newLeg(u, to)
			if err != nil {
				return nil, err
			}
			return p.watch(leg, i.Address), nil
		}}
	}
	e := &Endpoint{pool: p, address: i.Address, url: to, leg: leg, way: p.way}
	e.describe(i)
	e.health.since = p.now()
	e.follow(before)
	return e, nil
}

// follow makes a new endpoint start where the one before it was, or slowly; the
// pool's mutex is held.
func (e *Endpoint) follow(before *Endpoint) {
	switch {
	case before != nil && !before.withdrawn.Load():
		e.health = before.health
		if e.health.ejected {
			e.pool.ejected++ // until the one before is withdrawn, both are
		}
		e.failures.Store(before.failures.Load())
		e.warmFrom.Store(before.warmFrom.Load())
	case e.pool.filled:
		e.warm(e.pool.now())
	}
}

// describe takes what a registry says of the instance; the pool's mutex is held.
func (e *Endpoint) describe(i capability.Instance) {
	e.weight.Store(int64(max(1, i.Weight)))
	e.zone = i.Zone
}
