package proxy

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"strangler/capability"
)

// Discovery finds the endpoints of a named service. Endpoints is asked for every
// request and must answer from memory; it returns absolute URLs, the last good
// set when the registry cannot be asked, and the same slice while nothing
// changes. The caller does not change the slice.
type Discovery interface {
	Endpoints(service string) []string
}

// upstream is the endpoint set of one side. It outlives tables, so that a reload
// keeps connections and counts.
type upstream struct {
	discovery Discovery // nil: only listed endpoints
	newLeg    func() leg
	source    atomic.Pointer[capability.Upstream]
	set       atomic.Pointer[endpointSet]
	mu        sync.Mutex // serialises rebuilds
}

// endpointSet is what one list of addresses became. It is immutable.
type endpointSet struct {
	addresses []string
	endpoints []*endpoint
}

func newUpstream(discovery Discovery, newLeg func() leg) *upstream {
	u := &upstream{discovery: discovery, newLeg: newLeg}
	u.source.Store(&capability.Upstream{})
	u.set.Store(&endpointSet{})
	return u
}

// use changes where the endpoints come from.
func (u *upstream) use(source capability.Upstream) { u.source.Store(&source) }

// endpoints returns the current set. The set is rebuilt only when the
// addresses have changed; endpoints that stay keep their connections.
func (u *upstream) endpoints() []*endpoint {
	source := u.source.Load()
	addresses := source.Endpoints
	if source.Consul != "" && u.discovery != nil {
		addresses = u.discovery.Endpoints(source.Consul)
	}
	set := u.set.Load()
	if slices.Equal(set.addresses, addresses) {
		return set.endpoints
	}
	return u.rebuild(addresses)
}

func (u *upstream) rebuild(addresses []string) []*endpoint {
	u.mu.Lock()
	defer u.mu.Unlock()
	old := u.set.Load()
	if slices.Equal(old.addresses, addresses) {
		return old.endpoints
	}
	next := &endpointSet{addresses: slices.Clone(addresses)}
	for _, address := range addresses {
		if e := byAddress(old.endpoints, address); e != nil {
			next.endpoints = append(next.endpoints, e)
			continue
		}
		// Addresses are validated where they enter (Check, discovery); one that
		// cannot be parsed is left out rather than taking its neighbours along.
		if e, err := newEndpoint(address, u.newLeg); err == nil {
			next.endpoints = append(next.endpoints, e)
		}
	}
	u.set.Store(next)
	for _, e := range old.endpoints {
		if byAddress(next.endpoints, e.address) == nil {
			e.leg.CloseIdleConnections()
		}
	}
	return next.endpoints
}

// close gives idle connections back; those in use end with their requests.
func (u *upstream) close() {
	for _, e := range u.set.Load().endpoints {
		e.leg.CloseIdleConnections()
	}
}

// pick chooses the less busy of two random endpoints among those that were not
// tried yet, healthy ones first. It returns nil when there is none left.
func (u *upstream) pick(tried []*endpoint) *endpoint {
	all := u.endpoints()
	if len(all) == 1 && len(tried) == 0 {
		return all[0]
	}
	now := time.Now()
	var good, poor []*endpoint
	for _, e := range all {
		switch {
		case slices.Contains(tried, e):
		case e.suspect(now):
			poor = append(poor, e)
		default:
			good = append(good, e)
		}
	}
	if len(good) == 0 {
		good = poor
	}
	switch len(good) {
	case 0:
		return nil
	case 1:
		return good[0]
	}
	i := rand.IntN(len(good))
	j := rand.IntN(len(good) - 1)
	if j >= i {
		j++
	}
	if good[j].inflight.Load() < good[i].inflight.Load() {
		i = j
	}
	return good[i]
}

func byAddress(endpoints []*endpoint, address string) *endpoint {
	for _, e := range endpoints {
		if e.address == address {
			return e
		}
	}
	return nil
}
