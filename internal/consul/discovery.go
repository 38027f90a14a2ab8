package consul

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
)

// Options are what a Discovery needs: a client, or where the agent is.
type Options struct {
	Client     *api.Client // nil: one is made from the three below
	Address    string      // host:port or URL; empty: CONSUL_HTTP_ADDR, then 127.0.0.1:8500
	Token      string
	Datacenter string
	Snapshot   string // directory for the last good endpoints; empty: none are kept
	Log        *slog.Logger
}

// Discovery keeps the endpoints of the services it was told to watch. It is
// safe for concurrent use.
type Discovery struct {
	client *api.Client
	idle   *http.Transport // of a client made here
	saved  string
	log    *slog.Logger
	bounds bounds

	endpoints atomic.Pointer[map[string][]string] // replaced whole, under mu
	changes   chan struct{}
	added     chan struct{} // one slot: names has grown

	mu    sync.Mutex
	names map[string]bool // watched; guarded by mu
}

// bounds are the times of the watches.
type bounds struct {
	wait     time.Duration // of one blocking query
	recheck  time.Duration // of one, while an answer is in doubt
	grace    time.Duration // for Consul's answer beyond the wait
	stale    time.Duration // oldest answer of a follower that is taken
	probe    time.Duration // of one TCP connect
	patience time.Duration // until a shrunken answer is believed whatever the probes say
	backoff  time.Duration // first pause after an error; doubles
	longest  time.Duration // pause after errors
}

func defaultBounds() bounds {
	return bounds{
		wait: 5 * time.Minute, recheck: 2 * time.Second, grace: 15 * time.Second, stale: 10 * time.Second,
		probe: time.Second, patience: 30 * time.Second, backoff: 250 * time.Millisecond, longest: 15 * time.Second,
	}
}

// NewDiscovery returns a Discovery. It asks nothing yet.
func NewDiscovery(o Options) (*Discovery, error) {
	d := &Discovery{
		client: o.Client, saved: o.Snapshot, log: o.Log, bounds: defaultBounds(),
		changes: make(chan struct{}, 1), added: make(chan struct{}, 1), names: map[string]bool{},
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.endpoints.Store(&map[string][]string{})
	if d.client != nil {
		return d, nil
	}
	config := api.DefaultConfig()
	if o.Address != "" {
		config.Address = o.Address
	}
	if o.Token != "" {
		config.Token = o.Token
	}
	if o.Datacenter != "" {
		config.Datacenter = o.Datacenter
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of consul: %w", err)
	}
	d.client, d.idle = client, config.Transport
	return d, nil
}

// Watch adds services, at any time. The endpoints that were last good before
// the start are there at once, without asking Consul.
func (d *Discovery) Watch(services ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, service := range services {
		if d.names[service] {
			continue
		}
		d.names[service] = true
		if endpoints := d.recall(service); len(endpoints) > 0 {
			d.replace(service, endpoints)
		}
	}
	signal(d.added)
}

// Endpoints returns the URLs of a service, sorted; none for one that is not
// watched or never had any. It does not block. The slice must not be changed.
func (d *Discovery) Endpoints(service string) []string { return (*d.endpoints.Load())[service] }

// Changes wakes its reader after any endpoints changed. It has one slot, for
// one reader; read Endpoints again.
func (d *Discovery) Changes() <-chan struct{} { return d.changes }

// Run watches until ctx ends, and returns nil when every watch is gone. Failures
// of Consul are logged and lived with.
func (d *Discovery) Run(ctx context.Context) error {
	var watches sync.WaitGroup
	started := map[string]bool{}
	for {
		for _, name := range d.watched() {
			if !started[name] {
				started[name] = true
				watches.Go(func() { d.watch(ctx, name) })
			}
		}
		select {
		case <-d.added:
		case <-ctx.Done():
			watches.Wait()
			if d.idle != nil {
				d.idle.CloseIdleConnections()
			}
			return nil
		}
	}
}

func (d *Discovery) watched() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names))
}

// publish makes the endpoints the ones to use, if they differ, and saves them.
func (d *Discovery) publish(service string, endpoints []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.Endpoints(service)
	if slices.Equal(old, endpoints) {
		return
	}
	d.replace(service, endpoints)
	d.log.Info("endpoints changed", slog.String("service", service), slog.Any("from", old), slog.Any("to", endpoints))
	if err := d.save(service, endpoints); err != nil {
		d.log.Warn("endpoints not saved", slog.String("service", service), slog.Any("error", err))
	}
}

// replace must be called with mu held.
func (d *Discovery) replace(service string, endpoints []string) {
	next := maps.Clone(*d.endpoints.Load())
	next[service] = endpoints
	d.endpoints.Store(&next)
	signal(d.changes)
}

func signal(slot chan struct{}) {
	select {
	case slot <- struct{}{}:
	default:
	}
}
