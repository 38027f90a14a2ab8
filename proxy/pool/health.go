package pool

import "time"

// State is what is known of an endpoint.
type State string

// Checks decide between healthy and unhealthy, requests between healthy and
// ejected. An endpoint is well until something says that it is not.
const (
	Healthy   State = "healthy"
	Unhealthy State = "unhealthy" // it fails its checks
	Ejected   State = "ejected"   // it failed requests, or cannot be reached; for a time
	Withdrawn State = "withdrawn" // no longer in the set; what is in flight ends
)

// health is what checks and requests say of an endpoint.
type health struct {
	unhealthy bool
	row       int // checks in a row that contradict unhealthy

	ejected bool
	until   time.Time     // the end of the present ejection, or the last one
	lasted  time.Duration // length of it; 0: there was none

	aside   bool          // ejected because it could not be reached
	probeAt time.Time     // when a request may try whether it can be, while it is aside
	waits   time.Duration // how long none could, last time; 0: it was reached since

	why   string
	since time.Time // of the present state
}

func (h *health) well() bool { return !h.unhealthy && !h.ejected }

func (h *health) state() State {
	switch {
	case h.unhealthy:
		return Unhealthy
	case h.ejected:
		return Ejected
	}
	return Healthy
}

// longest is the longest ejection, as a multiple of the first.
const longest = 10

// eject takes an endpoint out after failures in a row, unless too many are out
// already. Its row goes on: the first failure after it came back ejects it again.
func (p *Pool) eject(e *Endpoint, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, h := p.rules.Load(), &e.health
	if !p.mayEject(e, r) {
		return
	}
	now := p.now()
	again := h.lasted > 0 && now.Sub(h.until) <= h.lasted
	if again {
		h.lasted = min(2*h.lasted, longest*r.ejection.For)
	} else {
		h.lasted = r.ejection.For
	}
	h.ejected, h.until, h.since, h.why = true, now.Add(h.lasted), now, why
	p.ejected++
	p.log.Warn("ejecting an endpoint", "endpoint", e.address, "failures", e.failures.Load(), "why", why, "for", h.lasted)
	p.refresh()
}

// mayEject reports whether an endpoint may be taken out; mu is held.
func (p *Pool) mayEject(e *Endpoint, r *rules) bool {
	v := p.view.Load()
	return !r.ejection.Off && e.health.well() && !e.withdrawn.Load() && v.well > 1 && p.ejected < r.mostEjected(len(v.endpoints))
}

// ends is when an ejection has run out or, of an endpoint that was set aside, when
// it may be probed.
func (h *health) ends() time.Time {
	if h.aside {
		return h.probeAt
	}
	return h.until
}

// readmitEjected ends the ejections that have run out, and lets a request probe the
// endpoints that were set aside long enough; mu is held.
func (p *Pool) readmitEjected(endpoints []*Endpoint, r *rules, now time.Time) {
	for _, e := range endpoints {
		h := &e.health
		if !h.ejected || !r.ejection.Off && now.Before(h.ends()) {
			continue
		}
		if h.aside && !h.unhealthy && !r.ejection.Off {
			h.probeAt = now.Add(probeFor)
			e.probe.Store(probeDue)
			continue
		}
		p.uneject(e)
		if h.unhealthy {
			continue // for the checks to say when
		}
		h.since, h.why = now, "ejection ended"
		e.warm(now)
		p.log.Info("taking an ejected endpoint back", "endpoint", e.address)
	}
}

// warm lets the endpoint's share grow from its least.
func (e *Endpoint) warm(now time.Time) { e.warmFrom.Store(now.UnixNano()) }

// checked takes the result of one check: why it failed, or nothing.
func (p *Pool) checked(e *Endpoint, r *rules, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &e.health
	if e.withdrawn.Load() || p.rules.Load().check != r.check {
		return // a late answer
	}
	failed := why != ""
	if failed == h.unhealthy {
		h.row = 0
		if !failed && h.aside {
			p.rejoin(e)
			p.refresh()
		}
		return
	}
	h.row++
	needed := r.check.Healthy
	if failed {
		needed = r.check.Unhealthy
	}
	if h.row < needed {
		return
	}
	now := p.now()
	h.unhealthy, h.row = failed, 0
	if !failed && h.aside {
		p.uneject(e)
	}
	if failed || !h.ejected { // an ejection that goes on keeps its own reason
		h.since, h.why = now, why
	}
	if failed {
		p.log.Warn("an endpoint fails its checks", "endpoint", e.address, "why", why)
	} else {
		if !h.ejected {
			h.why = "passes its checks again"
		}
		e.warm(now)
		p.log.Info("an endpoint passes its checks again", "endpoint", e.address)
	}
	p.refresh()
}
