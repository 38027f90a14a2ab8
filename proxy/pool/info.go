package pool

import "time"

// Info is an endpoint as operators see it.
type Info struct {
	Address  string
	Zone     string // empty: not known
	Weight   int
	Share    float64 // of its weight that it has now: below 1 while it starts slowly
	InFlight int64
	State    State
	Why      string    // of the state; may be empty for a healthy one
	Since    time.Time // of the state
	Until    time.Time // the end of an ejection, or when the endpoint is tried again; zero otherwise
	// Ignored says that the state is not minded at present, because fewer than half
	// of the endpoints are well.
	Ignored bool
}

// Endpoints describes all endpoints in the order of the set, and after them those
// that were withdrawn and have requests in flight.
func (p *Pool) Endpoints() []Info {
	p.current() // the set may have changed since the last request
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.view.Load()
	now, slowStart := p.now(), p.rules.Load().slowStart
	all := make([]Info, 0, len(v.endpoints)+len(p.leaving))
	describe := func(e *Endpoint, state State) {
		i := Info{
			Address: e.address, Zone: e.zone, Weight: int(e.weight.Load()), Share: e.share(now, slowStart),
			InFlight: e.inflight.Load(), State: state, Why: e.health.why, Since: e.health.since,
		}
		if state == Ejected {
			i.Until = e.health.ends()
		}
		i.Ignored = v.ignored && state != Withdrawn
		all = append(all, i)
	}
	for _, e := range v.endpoints {
		describe(e, e.health.state())
	}
	for _, e := range p.leaving {
		describe(e, Withdrawn)
	}
	return all
}
