package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// changes rewrites documents and endpoint lists while there is traffic, and checks that each takes effect.
type changes struct {
	book      *book
	servers   map[string][]*server
	strangler *strangler
	traffic   *traffic
	account   *account
	reloads   atomic.Int64
	endpoints atomic.Int64
	longest   atomic.Int64 // nanoseconds from a change to its effect
}

// effect is how long a change may take to be served: the proxy looks at its files once a second where nothing tells it.
const effect = 10 * time.Second

// reload rewrites one document: weight, timeout, and whether the route of its own is claimed. The timeout is a different
// one every time, which tells when this very version is served.
func (c *changes) reload(ctx context.Context, n int) {
	random := rand.New(rand.NewPCG(c.traffic.seed, 1<<40+uint64(n)))
	d := c.book.all[random.IntN(len(c.servers))] // the changeable ones come first
	err := c.book.change(d, func() {
		d.timeout = baseTimeout + time.Duration(n+1)*time.Millisecond
		if !d.fixed {
			d.weight = []int{0, 1, 10, 25, 50, 75, 99, 100}[random.IntN(8)]
		}
		d.extra = random.IntN(2) == 0
	})
	if err == nil {
		err = c.served(ctx, func() error { return c.routed(ctx, d) })
	}
	if err == nil {
		err = c.probe(ctx, d, n)
	}
	c.reloads.Add(1)
	if err != nil && ctx.Err() == nil {
		c.account.found("reload", fmt.Sprintf("r%d", n+1), fmt.Errorf("%s: %w", d.name, err))
	}
}

// served waits until a change has had its effect.
func (c *changes) served(ctx context.Context, look func() error) error {
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, effect, fmt.Errorf("no effect within %s", effect))
	defer cancel()
	if err := eventually(ctx, c.strangler.process.Done(), look); err != nil {
		return err
	}
	took := int64(time.Since(began))
	for old := c.longest.Load(); took > old && !c.longest.CompareAndSwap(old, took); old = c.longest.Load() {
	}
	return nil
}

// routed compares the routes that are served with the document's.
func (c *changes) routed(ctx context.Context, d *document) error {
	var routes []struct {
		Capability string        `json:"capability"`
		Path       string        `json:"path"`
		Timeout    time.Duration `json:"timeout_ns"`
		Weight     string        `json:"weight"`
	}
	if err := c.strangler.decode(ctx, "/proxy/routes", &routes); err != nil {
		return err
	}
	extra := false
	for _, r := range routes {
		if r.Capability != d.name {
			continue
		}
		extra = extra || r.Path == d.extraPath()
		if r.Timeout != d.timeout && r.Timeout != slowTimeout || r.Weight != fmt.Sprintf("%d%%", d.weight) {
			return fmt.Errorf("%s is served with %s and %s, not %s and %d%%", r.Path, r.Timeout, r.Weight, d.timeout, d.weight)
		}
	}
	return expect("the extra route is claimed:", d.extra, extra)
}

// probe asks for the route that comes and goes. Where nobody claims it, the monolith answers.
func (c *changes) probe(ctx context.Context, d *document, n int) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	call := &call{id: fmt.Sprintf("r%d", n+1), user: "prober"}
	// GETs are answered by whoever has HTTP/1.1, which every server has.
	res, err := c.traffic.do(call, c.traffic.h1, c.traffic.request(ctx, call, http.MethodGet, d.extraPath()+"?at=0&size=9", nil))
	if err != nil {
		return err
	}
	if err := c.traffic.echoed(res, piece{at: 0, size: 9}); err != nil {
		return err
	}
	switch side := res.Header.Get(headerSide); {
	case !d.extra || d.weight == 0:
		return expect("side", "legacy", side)
	case d.weight == 100:
		return expect("side", "extracted", side)
	}
	return nil
}

// endpoint gives one capability another set of its endpoints. After a grace none of those withdrawn may be asked any more,
// which their servers watch.
func (c *changes) endpoint(ctx context.Context, n int) {
	random := rand.New(rand.NewPCG(c.traffic.seed, 1<<41+uint64(n)))
	d := c.book.all[random.IntN(len(c.servers))]
	all := c.servers[d.name]
	before := d.servers
	next := pickOther(random, all, before)
	for _, s := range next {
		s.withdrawn.Store(0)
	}
	err := c.book.change(d, func() { d.servers = next })
	if err == nil {
		err = c.served(ctx, func() error { return c.listed(ctx, d) })
	}
	if err == nil {
		now := time.Now().UnixNano()
		for _, s := range before {
			if !slices.Contains(next, s) {
				s.withdrawn.Store(now)
			}
		}
	}
	c.endpoints.Add(1)
	if err != nil && ctx.Err() == nil {
		c.account.found("endpoints", fmt.Sprintf("e%d", n+1), fmt.Errorf("%s: %w", d.name, err))
	}
}

// pickOther chooses one or more of all, but not the same ones.
func pickOther(random *rand.Rand, all, same []*server) []*server {
	for {
		var next []*server
		for _, at := range random.Perm(len(all))[:1+random.IntN(len(all))] {
			next = append(next, all[at])
		}
		if len(next) != len(same) || slices.ContainsFunc(next, func(s *server) bool { return !slices.Contains(same, s) }) {
			return next
		}
	}
}

// listed compares the endpoints that are used with the document's.
func (c *changes) listed(ctx context.Context, d *document) error {
	var endpoints []struct {
		Capability string `json:"capability"`
		Address    string `json:"address"`
		State      string `json:"state"`
	}
	if err := c.strangler.decode(ctx, "/proxy/endpoints", &endpoints); err != nil {
		return err
	}
	var used []string
	for _, e := range endpoints {
		if e.Capability == d.name && e.State != "withdrawn" {
			used = append(used, e.Address)
		}
	}
	want := d.addresses()
	slices.Sort(used)
	slices.Sort(want)
	if !slices.Equal(used, want) {
		return fmt.Errorf("%v are used, not %v", used, want)
	}
	return nil
}
