package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"strangler/capability"
	"strangler/internal/api"
	"strangler/proxy"
	"strangler/proxy/edge"
)

// renewal is how often a proxy renews its registration: five times within its lease,
// and before a store forgets it by itself.
func renewal(lease time.Duration) time.Duration { return min(lease/5, 3*time.Second) }

// plane is a proxy with what feeds it.
type plane struct {
	*parts
	id    string
	proxy *proxy.Proxy

	loading    sync.Mutex // an older set of documents must not overtake a newer one
	discovered []string   // services in use; guarded by loading; nil before the first load
}

func (p *parts) newPlane(marks proxy.Marks) (*plane, error) {
	for _, problem := range descriptors(p.settings) {
		p.log.Warn("too few open files are allowed", "problem", problem.String())
	}
	host, err := os.Hostname()
	if err != nil {
		host = "proxy"
	}
	d := &plane{parts: p, id: fmt.Sprintf("%s-%d", host, os.Getpid())}
	peers, err := edge.ParsePeers(p.settings.Edge.Trusted)
	if err != nil {
		return nil, err
	}
	options := proxy.Options{
		ID: d.id, Legacy: p.settings.Legacy.Upstream, LegacyTimeout: p.settings.Legacy.Timeout,
		LegacyAllow: p.settings.Legacy.Allow, LegacyBound: p.settings.Legacy.Concurrency,
		Body: p.settings.Edge.Limits.Body, TunnelIdle: p.settings.Edge.Limits.TunnelIdle,
		Peers: peers, DropHeaders: p.settings.Edge.DropHeaders, Override: p.settings.Edge.Override, Zone: p.settings.Zone, Marks: marks, Reload: func(ctx context.Context, _ string) error { return d.load(ctx) },
		Hold: proxy.HoldLimits{Requests: p.settings.Hold.Requests, Bytes: p.settings.Hold.Bytes, Release: p.settings.Hold.Release, Age: p.settings.Switch.Age},
		Log:  p.log, Metrics: p.registry,
	}
	if !p.settings.Log.Access {
		options.AccessEvery = 1 << 62 // only what went wrong
	}
	if p.discovery != nil {
		options.Discovery = p.discovery
	}
	if d.proxy, err = proxy.New(options); err != nil {
		return nil, err
	}
	p.proxied = true
	api.DataPlane(p.router, d.proxy)
	return d, nil
}

// run serves clients until the context ends. The order of the end: the proxy
// drains first, while its feed and its marks still work.
func (d *plane) run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	changes := d.store.Watch(background) // before the first load, so that nothing is missed in between
	if err := d.load(ctx); err != nil {
		return err
	}
	server, err := edge.New(d.serverOptions())
	if err != nil {
		return err
	}
	announce, err := d.registrar()
	if err != nil {
		return err
	}
	// Known before the process that handed over, if there is one, takes itself out:
	// no switch goes past a proxy that serves.
	d.registerOnce(ctx)
	done := make(chan error, 1)
	go func() {
		done <- together(background, func(ctx context.Context) error { return d.feed(ctx, changes) }, d.register, announce, d.proxy.Run)
	}()
	served := make(chan error, 1)
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { served <- server.Run(serving) }()
	if err := d.listeners.Ready(); err != nil {
		d.log.Warn("say that this process is ready", "error", err)
	}
	select {
	case err := <-served:
		stop()
		return firstOf(err, <-done)
	case err := <-done:
		cancel()
		return firstOf(err, <-served)
	}
}

// load reads documents and effective states and serves them.
func (d *plane) load(ctx context.Context) error {
	d.loading.Lock()
	defer d.loading.Unlock()
	docs, problems, err := d.store.Load(ctx)
	if err != nil {
		return err
	}
	states, err := d.store.Effective(ctx)
	if err != nil {
		return err
	}
	wanted := services(d.settings.Legacy.Upstream, docs)
	d.discoverNew(ctx, wanted)
	d.proxy.Report(problems)
	for _, p := range append(problems, d.proxy.Update(docs, states)...) {
		d.log.Warn("a document is not served; the last good one is", "problem", p.String())
	}
	if d.discovery != nil {
		d.discovery.Watch(wanted...)
		d.discovered = append([]string{}, wanted...)
	}
	return nil
}

// discoverNew watches the services that documents name now beside those that are
// in use until the documents are served, and gives new ones a moment to be found:
// a service that takes another's place must not begin with no endpoint.
func (d *plane) discoverNew(ctx context.Context, wanted []string) {
	if d.discovery == nil {
		return
	}
	d.discovery.Watch(append(slices.Clone(d.discovered), wanted...)...)
	if d.discovered == nil {
		return // the start: nothing is discovered before it runs
	}
	const moment, look = time.Second, 10 * time.Millisecond
	missing := func() bool {
		return slices.ContainsFunc(wanted, func(name string) bool {
			return !slices.Contains(d.discovered, name) && len(d.discovery.Instances(name)) == 0
		})
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for end := time.After(moment); missing(); {
		select {
		case <-tick.C:
		case <-end:
			return
		case <-ctx.Done():
			return
		}
	}
}

func services(legacy capability.Upstream, docs []capability.Document) []string {
	var names []string
	for _, u := range append([]capability.Upstream{legacy}, upstreams(docs)...) {
		if u.Consul != "" {
			names = append(names, u.Consul)
		}
	}
	return names
}

func upstreams(docs []capability.Document) []capability.Upstream {
	all := make([]capability.Upstream, 0, len(docs))
	for _, d := range docs {
		all = append(all, d.Extracted)
	}
	return all
}

// loadAgain is how long after a failure documents and states are read once more.
const loadAgain = time.Second

// feed loads again whenever something has changed. What cannot be read leaves
// the last state serving, and is tried again.
func (d *plane) feed(ctx context.Context, changes <-chan struct{}) error {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
		case <-again:
		}
		again = nil
		d.advance()
		if err := d.load(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("load documents and states; the last ones are served", "error", err)
			again = time.After(loadAgain)
		}
	}
}

// advance serves the states that the word of a change has brought along: what is held
// does not wait until all is read, and saved, once more.
func (d *plane) advance() {
	if news, ok := d.store.(heralds); ok {
		d.proxy.Advance(news.Heard())
	}
}

// register makes the proxy known, so that no switch goes past it, and takes the
// registration back in the end.
func (d *plane) register(ctx context.Context) error {
	tick := time.NewTicker(renewal(d.settings.Leases.Proxy))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			d.deregister(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
			d.registerOnce(ctx)
		}
	}
}

// deregister takes the registration back. Where that does not succeed its age tells
// soon, and the stop was orderly all the same.
func (d *plane) deregister(ctx context.Context) {
	if err := d.store.Deregister(ctx, d.id); err != nil {
		d.log.Warn("take back the registration of the proxy", "error", err)
	}
}

func (d *plane) registerOnce(ctx context.Context) {
	err := d.store.Register(ctx, capability.Registration{ID: d.id, Admin: d.adminURL(), Renewed: time.Now().UTC()})
	if err != nil && ctx.Err() == nil {
		d.log.Error("register the proxy", "error", err)
	}
}

// census lists the proxies and asks them, for the controller.
type census struct{ *parts }

// Registered lists the proxies, and says whose registration was not renewed lately.
func (c census) Registered(ctx context.Context) ([]capability.Registration, error) {
	all, err := c.store.Registered(ctx)
	for i, r := range all {
		all[i].Lapsed = time.Since(r.Renewed) >= c.settings.Leases.Proxy
	}
	return all, err
}

// Serving asks one proxy.
func (c census) Serving(ctx context.Context, r capability.Registration, name string, revision uint64, idle bool, wait time.Duration) (capability.Serving, error) {
	client := api.NewClient(r.Admin, "controller")
	defer client.Close()
	serving, err := client.Serving(ctx, name, revision, idle, wait)
	if err == nil && serving.Proxy != r.ID {
		// While one process hands over to the next, both are behind one address.
		err = fmt.Errorf("the proxy %s answers in its place", serving.Proxy)
	}
	return serving, plainly(err)
}
