package proxy

import (
	"log/slog"

	"strangler/capability"
)

// lasting is what one capability keeps over all tables: its hold with the writes
// in flight, its marks, its breakers and its connections.
type lasting struct {
	name      string
	hold      *hold
	marks     *marks
	extracted *upstream
	breakers  map[capability.Side]*breaker // guarded by Proxy.mu; replaced whole
}

// keep returns the lasting part of a capability, fitted to its document. A
// breaker is made anew only when its settings change. Called with p.mu held.
func (p *Proxy) keep(d capability.Document, e capability.Effective) *lasting {
	l := p.lasting[d.Name]
	if l == nil {
		l = &lasting{name: d.Name, hold: newHold(p.options.Hold), extracted: newUpstream(p.options.Discovery, newTransport)}
		l.marks = newMarks(p.options.Subjects, func() { p.askMarks(l) })
		// Before a table leads here, so that the first write finds an owner, or a hold.
		l.marks.set(e.Owner, e.Epoch)
		l.hold.set(e)
		p.lasting[d.Name] = l
	}
	l.extracted.use(d.Extracted)
	breakers := make(map[capability.Side]*breaker, len(capability.Sides))
	for _, side := range capability.Sides {
		b := l.breakers[side]
		if b == nil || b.settings != breakerDefaults(d.Resilience.Breaker) {
			b = newBreaker(d.Resilience.Breaker, p.breakerChanged(d.Name, side))
		}
		breakers[side] = b
	}
	l.breakers = breakers
	return l
}

func (p *Proxy) breakerChanged(name string, side capability.Side) func(transition) {
	return func(t transition) {
		p.log.Warn("breaker changed", slog.String("capability", name), slog.String("side", string(side)),
			slog.String("from", string(t.from)), slog.String("to", string(t.to)), slog.String("reason", t.reason))
	}
}
