package pool

import (
	"strangler/capability"
)

// view is the set as the choice sees it. It is immutable: whatever changes makes
// a new one.
type view struct {
	from      []capability.Instance // what the endpoints were made of
	endpoints []*Endpoint
	tiers     [3]tier // in this order; one is left when all in it were tried
	well      int
	ignored   bool        // the health, because too few are well
	probes    []*Endpoint // set aside; one request each may try whether they can be reached
	until     int64       // Unix nanoseconds at which it has to be made anew; 0: never
	warming   bool        // some endpoint may not have its full share
}

// tier is endpoints that are as good as each other.
type tier struct {
	endpoints []*Endpoint
	upTo      []uint64 // sums of the weights; nil: all are the same
}

// show makes a view of the endpoints the present one; mu is held.
func (p *Pool) show(from []capability.Instance, endpoints []*Endpoint) {
	r, now := p.rules.Load(), p.now()
	p.readmitEjected(endpoints, r, now)
	v := &view{from: from, endpoints: endpoints}
	var warm int64 // when the last one has its full share
	for _, e := range endpoints {
		h := &e.health
		if r.check.Path == "" && h.unhealthy {
			h.unhealthy, h.row, h.since, h.why = false, 0, now, "no longer checked"
		}
		if h.well() {
			v.well++
		}
		if at := h.ends().UnixNano(); h.ejected && (v.until == 0 || at < v.until) {
			v.until = at
		}
		if e.probe.Load() != probeNone {
			v.probes = append(v.probes, e)
		}
		if e.share(now, r.slowStart) < 1 {
			warm = max(warm, e.warmFrom.Load()+int64(r.slowStart))
		} else {
			e.warmFrom.Store(0)
		}
	}
	if v.warming = warm != 0; v.warming && (v.until == 0 || warm < v.until) {
		v.until = warm
	}
	v.rank(p.zone)
	before := p.view.Load()
	p.view.Store(v)
	if v.ignored != before.ignored && len(endpoints) > 0 {
		if v.ignored {
			p.log.Error("ignoring the health of endpoints: fewer than half are well", "well", v.well, "endpoints", len(endpoints))
		} else {
			p.log.Info("minding the health of endpoints again", "well", v.well, "endpoints", len(endpoints))
		}
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// refresh makes a new view of the same endpoints; mu is held.
func (p *Pool) refresh() {
	v := p.view.Load()
	p.show(v.from, v.endpoints)
}

// rank sorts the endpoints into tiers.
//
// The zone comes first: while at least half of its endpoints are well, and at
// least one, they take everything, and the well ones of other zones what they
// could not do. Otherwise zones do not matter, and all well endpoints are alike.
// When fewer than half of all are well, health does not matter either: what is
// left could not carry everyone, and it is likelier that the judgement is wrong.
func (v *view) rank(zone string) {
	var near, far, poor []*Endpoint
	local := 0
	for _, e := range v.endpoints {
		here := zone != "" && e.zone == zone
		if here {
			local++
		}
		switch {
		case !e.health.well():
			poor = append(poor, e)
		case here:
			near = append(near, e)
		default:
			far = append(far, e)
		}
	}
	switch {
	case len(v.endpoints) == 0:
	case len(near) > 0 && 2*len(near) >= local:
		v.tiers = [...]tier{newTier(near), newTier(far), newTier(poor)}
	case v.well > 0 && 2*v.well >= len(v.endpoints):
		v.tiers = [...]tier{newTier(append(near, far...)), newTier(poor), {}}
	default:
		v.ignored = true
		v.tiers = [...]tier{newTier(v.endpoints), {}, {}}
	}
}

func newTier(endpoints []*Endpoint) tier {
	t := tier{endpoints: endpoints}
	var sum uint64
	equal := true
	for _, e := range endpoints {
		equal = equal && e.weight.Load() == endpoints[0].weight.Load()
	}
	if equal {
		return t
	}
	t.upTo = make([]uint64, len(endpoints))
	for i, e := range endpoints {
		sum += uint64(e.weight.Load())
		t.upTo[i] = sum
	}
	return t
}
