package pool

import (
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"strangler/capability"
)

// Discovery finds the instances of a named service. Instances is asked for every
// request and must answer from memory; it returns the last good set when the
// registry cannot be asked, and the same slice while nothing changes. The caller
// does not change the slice.
type Discovery interface {
	Instances(service string) []capability.Instance
}

// Options are what a Pool is made of. All may be left out.
type Options struct {
	Discovery Discovery // nil: only listed endpoints
	NewLeg    NewLeg    // nil: Standard
	Zone      string    // of this proxy; endpoints of it are preferred. Empty: none is.
	Name      string    // in the log: whose endpoints these are
	Log       *slog.Logger

	Now  func() time.Time      // nil: time.Now
	Rand func(n uint64) uint64 // from 0 to n-1, safe for concurrent use; nil: math/rand/v2
}

// Pool is the endpoint set of one side. It outlives what it is configured from,
// so that a reload keeps connections, counts and health. It is safe for
// concurrent use.
type Pool struct {
	discovery Discovery
	newLeg    NewLeg
	zone      string
	log       *slog.Logger
	now       func() time.Time
	rand      func(n uint64) uint64

	source  atomic.Pointer[source]
	rules   atomic.Pointer[rules] // those of source, for hot paths
	view    atomic.Pointer[view]
	changed chan struct{} // one slot: view or rules are new
	strays  atomic.Uint64 // see Strays

	mu      sync.Mutex  // serialises everything that makes a new view
	leaving []*Endpoint // withdrawn, with requests in flight; guarded by mu
	ejected int         // guarded by mu
	filled  bool        // there was an endpoint once; guarded by mu
	closed  bool        // guarded by mu

	way int // counts changes of how endpoints are reached; guarded by mu
	// unrenewed says that some endpoint could not be given a new leg; guarded by mu.
	unrenewed bool
}

// source is where endpoints come from and how they are reached. It is immutable.
type source struct {
	upstream capability.Upstream
	listed   []capability.Instance
}

// New returns a Pool without endpoints; Use gives it some.
func New(o Options) *Pool {
	p := &Pool{
		discovery: o.Discovery, newLeg: o.NewLeg, zone: o.Zone, log: o.Log, now: o.Now, rand: o.Rand,
		changed: make(chan struct{}, 1),
	}
	if p.newLeg == nil {
		p.newLeg = Standard
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.log = p.log.With("upstream", o.Name)
	if p.now == nil {
		p.now = time.Now
	}
	if p.rand == nil {
		p.rand = rand.Uint64N
	}
	p.source.Store(&source{})
	p.rules.Store(rulesOf(capability.Upstream{}))
	p.view.Store(&view{})
	return p
}

// Use applies settings, at the start and at every reload. Endpoints that stay
// keep their connections, counts and health; where the protocol or TLS has
// changed they are reached anew and the old connections end with their requests.
func (p *Pool) Use(u capability.Upstream) {
	u = u.Clone()
	next := &source{upstream: u}
	for _, address := range u.Endpoints {
		next.listed = append(next.listed, capability.Instance{Address: address})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	before := p.source.Load().upstream
	renew := before.Protocol != u.Protocol || before.TLS != u.TLS || p.unrenewed
	p.unrenewed = false
	p.source.Store(next)
	p.rules.Store(rulesOf(u))
	p.rebuild(p.instances(next), renew)
}

func (p *Pool) instances(s *source) []capability.Instance {
	if s.upstream.Consul != "" && p.discovery != nil {
		return p.discovery.Instances(s.upstream.Consul)
	}
	return s.listed
}

// current returns the view, made anew if the instances have changed or it has run
// out.
func (p *Pool) current() *view {
	v := p.view.Load()
	instances := p.instances(p.source.Load())
	if !same(v.from, instances) {
		p.mu.Lock()
		defer p.mu.Unlock()
		// Asked again: another one may have seen a newer set.
		instances = p.instances(p.source.Load())
		if v = p.view.Load(); !p.closed && !same(v.from, instances) {
			p.rebuild(instances, false)
		}
		return p.view.Load()
	}
	if v.until != 0 && p.now().UnixNano() >= v.until && p.mu.TryLock() {
		p.refresh()
		v = p.view.Load()
		p.mu.Unlock()
	}
	return v
}

// same reports whether two slices are the same piece of memory.
func same(a, b []capability.Instance) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// rebuild makes the endpoints what the instances say; mu is held.
func (p *Pool) rebuild(instances []capability.Instance, renew bool) {
	old := p.view.Load()
	if !renew && slices.Equal(old.from, instances) {
		p.show(instances, old.endpoints)
		return
	}
	known := make(map[string]*Endpoint, len(old.endpoints)+len(p.leaving))
	if renew {
		p.way++
	}
	for _, e := range p.leaving {
		if e.way == p.way {
			known[e.address] = e
		}
	}
	for _, e := range old.endpoints {
		known[e.address] = e
	}
	u := p.source.Load().upstream
	next := make([]*Endpoint, 0, len(instances))
	kept := make(map[string]bool, len(instances))
	stays := make(map[*Endpoint]bool, len(instances))
	for _, i := range instances {
		if kept[i.Address] {
			continue
		}
		e := known[i.Address]
		switch {
		case e == nil || renew:
			made, err := p.newEndpoint(u, i, e)
			if err != nil {
				// Addresses are validated where they enter; one that cannot be parsed is
				// left out rather than taking its neighbours along.
				p.log.Error("leaving an endpoint out", "endpoint", i.Address, "error", err)
				continue
			}
			e = made
		case e.withdrawn.Load():
			p.readmit(e)
			fallthrough
		default:
			e.describe(i)
		}
		kept[i.Address], stays[e] = true, true
		next = append(next, e)
	}
	p.filled = p.filled || len(next) > 0
	p.show(instances, next)
	for _, e := range old.endpoints {
		if !stays[e] {
			p.withdraw(e)
		}
	}
}

// withdraw takes an endpoint out of use; mu is held. What is in flight ends, and
// the last to end closes what it left idle.
func (p *Pool) withdraw(e *Endpoint) {
	e.health.since, e.health.why = p.now(), "no longer in the set"
	p.uneject(e)
	e.withdrawn.Store(true)
	p.leaving = append(p.leaving, e)
	if e.inflight.Load() == 0 {
		p.strike(e)
	}
	e.leg.CloseIdleConnections()
}

// readmit takes a withdrawn endpoint back, which is new again but for its
// connections; mu is held.
func (p *Pool) readmit(e *Endpoint) {
	e.withdrawn.Store(false)
	p.strike(e)
	e.failures.Store(0)
	e.health = health{since: p.now()}
	e.warmFrom.Store(p.now().UnixNano())
}

// forget strikes a withdrawn endpoint off that has nothing in flight any more.
func (p *Pool) forget(e *Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.withdrawn.Load() && e.inflight.Load() == 0 {
		p.strike(e)
	}
}

func (p *Pool) strike(e *Endpoint) {
	p.leaving = slices.DeleteFunc(p.leaving, func(o *Endpoint) bool { return o == e })
}

// Size returns the number of endpoints, whatever their health.
func (p *Pool) Size() int { return len(p.current().endpoints) }

// Close withdraws every endpoint for good. Requests in flight end normally.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.source.Store(&source{})
	p.rebuild(nil, false)
	p.closed = true
}
