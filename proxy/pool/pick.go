package pool

import (
	"slices"
	"time"
)

// Pick chooses the endpoint for one attempt: one that is drawn at random by weight,
// unless a second one is less busy, busy being requests in flight by weight
// (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
// Those tried already are passed over; those that are not well come last, but for
// one that was set aside and is due to be probed: it comes first, until one request
// to it has begun. It returns nil when there is none left. It counts nothing: see
// Endpoint.Begin.
func (p *Pool) Pick(tried []*Endpoint) *Endpoint {
	v := p.current()
	d := draw{pool: p}
	if v.warming {
		d.now, d.slowStart = p.now(), p.rules.Load().slowStart
	}
	if len(tried) == 0 {
		for _, e := range v.probes {
			if e.probe.Load() == probeDue {
				return e
			}
		}
	}
	for i := range v.tiers {
		var e *Endpoint
		if len(tried) == 0 {
			e = d.from(&v.tiers[i])
		} else {
			e = d.besides(v.tiers[i].endpoints, tried)
		}
		if e != nil {
			return e
		}
	}
	return nil
}

// draw is one choice.
type draw struct {
	pool      *Pool
	now       time.Time
	slowStart time.Duration // 0: all have their full share
}

func (d *draw) share(e *Endpoint) float64 {
	if d.slowStart == 0 {
		return 1
	}
	return e.share(d.now, d.slowStart)
}

// from draws two of the tier without looking at the others, or one that is idle.
func (d *draw) from(t *tier) *Endpoint {
	n := len(t.endpoints)
	switch n {
	case 0:
		return nil
	case 1:
		return t.endpoints[0]
	}
	i := d.one(t)
	if t.endpoints[i].inflight.Load() == 0 {
		return t.endpoints[i]
	}
	j := i
	// A second one that is always the first has nearly all of the weight; then any
	// other will do for comparison.
	for range 4 {
		if j = d.one(t); j != i {
			break
		}
	}
	if j == i {
		j = int(d.pool.rand(uint64(n - 1)))
		if j >= i {
			j++
		}
	}
	return d.lessBusy(t.endpoints[i], t.endpoints[j])
}

// one draws by weight, and accepts those that start slowly by their share.
func (d *draw) one(t *tier) int {
	const (
		fine    = 1 << 20
		patient = 32 // then all are starting, and any will do
	)
	i := 0
	for range patient {
		i = d.index(t)
		if d.slowStart == 0 {
			return i
		}
		share := d.share(t.endpoints[i])
		if share >= 1 || d.pool.rand(fine) < uint64(share*fine) {
			return i
		}
	}
	return i
}

func (d *draw) index(t *tier) int {
	n := len(t.endpoints)
	if t.upTo == nil {
		return int(d.pool.rand(uint64(n)))
	}
	r := d.pool.rand(t.upTo[n-1])
	low, high := 0, n-1 // the first whose sum is above r
	for low < high {
		if mid := (low + high) / 2; t.upTo[mid] > r {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

// besides draws two that were not tried, looking at all: retries are rare.
func (d *draw) besides(endpoints, tried []*Endpoint) *Endpoint {
	first := d.scan(endpoints, tried, nil)
	if first == nil {
		return nil
	}
	if second := d.scan(endpoints, tried, first); second != nil {
		return d.lessBusy(first, second)
	}
	return first
}

// scan draws one by effective weight, neither tried nor except.
func (d *draw) scan(endpoints, tried []*Endpoint, except *Endpoint) *Endpoint {
	const fine = 1 << 10
	weight := func(e *Endpoint) uint64 {
		if e == except || slices.Contains(tried, e) {
			return 0
		}
		return max(1, uint64(float64(e.weight.Load())*d.share(e)*fine))
	}
	var sum uint64
	for _, e := range endpoints {
		sum += weight(e)
	}
	if sum == 0 {
		return nil
	}
	r := d.pool.rand(sum)
	for _, e := range endpoints {
		w := weight(e)
		if r < w {
			return e
		}
		r -= w
	}
	return nil // a weight has shrunk meanwhile; not worth another round
}

// lessBusy returns the first, which was drawn by weight, unless the second would not
// be busier with this request than the first is without it. So the draw decides
// while both have about what their weights say. Comparing what they have in flight
// now would give a light one each request that finds it idle, however light; and
// comparing what they would have with it none before the heavy one is full. Where
// both weigh the same, all of this is having fewer in flight.
func (d *draw) lessBusy(first, second *Endpoint) *Endpoint {
	have, would := float64(first.inflight.Load()), float64(second.inflight.Load()+1)
	if would*d.weight(first) <= have*d.weight(second) {
		return second
	}
	return first
}

func (d *draw) weight(e *Endpoint) float64 { return float64(e.weight.Load()) * d.share(e) }
