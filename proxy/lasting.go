package proxy

import (
	"log/slog"
	"time"

	"strangler/capability"
	"strangler/proxy/breaker"
	"strangler/proxy/limit"
	"strangler/proxy/pool"
)

// lasting is what one capability keeps over all tables: its hold with the writes
// in flight, its marks, its breakers, its limits and its connections.
type lasting struct {
	name      string
	hold      *hold
	marks     *marks
	extracted *pool.Pool
	budget    *limit.Budget
	end       func()    // of what runs for it
	gone      time.Time // since when no document describes it; zero while one does; guarded by Proxy.mu
	breakers  map[capability.Side]*breaker.Breaker
	bulkheads map[capability.Side]*limit.Bulkhead
}

// keep returns the lasting part of a capability, fitted to its document. Called
// with p.mu held.
func (p *Proxy) keep(d capability.Document, e capability.Effective) *lasting {
	l := p.lasting[d.Name]
	if l == nil {
		l = p.newLasting(d, e)
		p.lasting[d.Name] = l
	}
	l.extracted.Use(d.Extracted)
	l.budget.Use(d.Resilience.Budget)
	l.hold.use(d.Resilience.Streams)
	for _, side := range capability.Sides {
		l.breakers[side].Use(d.Resilience.Breaker, d.Breakers.Of(side))
		l.bulkheads[side].Use(d.Resilience.Concurrency)
	}
	return l
}

func (p *Proxy) newLasting(d capability.Document, e capability.Effective) *lasting {
	l := &lasting{name: d.Name, hold: newHold(p.options.Hold), budget: limit.NewBudget(d.Resilience.Budget),
		extracted: p.newPool(d.Name),
		breakers:  map[capability.Side]*breaker.Breaker{}, bulkheads: map[capability.Side]*limit.Bulkhead{}}
	l.marks = newMarks(p.options.Subjects, func() { p.askMarks(l) })
	// Before a table leads here, so that the first write finds an owner, or a hold.
	l.marks.set(e.Owner, e.Epoch)
	l.hold.set(e)
	for _, side := range capability.Sides {
		l.breakers[side] = breaker.New(d.Resilience.Breaker, d.Breakers.Of(side), breaker.Options{OnChange: p.breakerChanged(d.Name, side)})
		l.bulkheads[side] = limit.NewBulkhead(d.Resilience.Concurrency)
		p.metrics.breaker(d.Name, side)
	}
	// What a pool does by itself, it does while the proxy runs.
	l.end = p.loops.keep(l.extracted.Run)
	return l
}

// newPool makes the endpoints of one side; the name is for the log.
func (p *Proxy) newPool(name string) *pool.Pool {
	return pool.New(pool.Options{Discovery: p.options.Discovery, NewLeg: p.options.NewLeg, Zone: p.options.Zone, Name: name, Log: p.log})
}

func (p *Proxy) breakerChanged(name string, side capability.Side) func(breaker.Transition) {
	return func(t breaker.Transition) {
		p.metrics.transition(name, side, t)
		p.log.Warn("breaker changed", slog.String("capability", name), slog.String("side", string(side)),
			slog.String("from", string(t.From)), slog.String("to", string(t.To)), slog.String("reason", t.Reason))
	}
}
