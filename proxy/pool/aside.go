package pool

import "time"

const (
	// asideFirst is how long an endpoint is left alone that could not be reached, the
	// first time.
	asideFirst = time.Second
	// probeFor is when another request may probe an endpoint though nothing was heard
	// of the one before. A dial has ended by then.
	probeFor = dialFor + handshakeFor
)

// Whether a request may probe an endpoint that was set aside.
const (
	probeNone int32 = iota
	probeDue        // the next request does
	probeUnderWay
)

// setAside takes an endpoint out at once that could not be reached: unlike one that
// fails now and then, it costs every request a retry. Time alone does not bring it
// back, but one request, or a check, that reaches it. Until then it waits twice as
// long after each that does not, up to the time of an ejection.
func (p *Pool) setAside(e *Endpoint, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, h, now := p.rules.Load(), &e.health, p.now()
	switch {
	case h.aside:
		if !e.probe.CompareAndSwap(probeUnderWay, probeNone) {
			return // a request that began before
		}
	case !p.mayEject(e, r):
		return
	default:
		h.ejected, h.aside, h.since, h.why = true, true, now, why
		p.ejected++
		p.log.Warn("setting an endpoint aside that cannot be reached", "endpoint", e.address, "why", why)
	}
	h.waits = min(max(2*h.waits, asideFirst), r.ejection.For)
	h.probeAt = now.Add(h.waits - h.waits/10 + time.Duration(p.rand(uint64(h.waits/5)+1)))
	p.refresh()
}

// settle takes what a probe has learnt of an endpoint that was set aside.
func (e *Endpoint) settle(outcome Outcome, why string) {
	switch outcome {
	case OK:
		e.Reached()
	case Neutral:
		e.probe.CompareAndSwap(probeUnderWay, probeDue)
	case Failed, Unreachable:
		e.pool.setAside(e, why)
	}
}

// Reached says that an attempt got through to the endpoint, before it is known how
// it ends. If that was set aside, it is back.
func (e *Endpoint) Reached() {
	if e.probe.Load() != probeUnderWay {
		return
	}
	e.pool.mu.Lock()
	defer e.pool.mu.Unlock()
	if e.probe.Load() == probeUnderWay && e.health.aside {
		e.pool.rejoin(e)
		e.pool.refresh()
	}
}

// rejoin takes back an endpoint that was set aside; mu is held, and a refresh
// follows.
func (p *Pool) rejoin(e *Endpoint) {
	now := p.now()
	p.uneject(e)
	if e.health.well() {
		e.health.since, e.health.why = now, "can be reached again"
	}
	e.warm(now)
	p.log.Info("an endpoint can be reached again", "endpoint", e.address)
}

// uneject ends an ejection; mu is held.
func (p *Pool) uneject(e *Endpoint) {
	h := &e.health
	if !h.ejected {
		return
	}
	h.ejected, h.aside, h.waits = false, false, 0
	e.probe.Store(probeNone)
	p.ejected--
}
