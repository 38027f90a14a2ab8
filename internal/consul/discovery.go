package consul

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
)

// Options are what a Discovery needs: a client, or where the agent is.
type Options struct {
	Client     *api.Client   // nil: one is made from the four below, as by Connect
	Address    string        // host:port or URL
	Token      string        // of a policy that may read the services and their nodes
	Datacenter string        // empty: the agent's own
	TLS        TLS           // zero: as the address says
	Stale      time.Duration // oldest answer of a follower that is taken; 0: 10 s
	Snapshot   string        // directory for the last good endpoints; empty: none are kept
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

	sets    atomic.Pointer[map[string]set] // of watched services; replaced whole, under mu
	changes chan struct{}
	renamed chan struct{} // one slot: watched has changed

	mu      sync.Mutex
	watched map[string]*watching // guarded by mu
}

// watching is one time that a service is watched. A watch that was given up, and
// has not noticed, is told by it from the one that took its place.
type watching struct {
	service string
	silent  time.Time // since when Consul does not answer; zero: it does; guarded by mu of the Discovery
	silence error     // what came instead; guarded likewise
	held    []string  // instances that Consul has lost, and that are kept; guarded likewise
}

// set is what is used of a service: the same slices for as long as nothing
// changes.
type set struct {
	instances []capability.Instance // by address
	endpoints []string              // their addresses
}

// NewDiscovery returns a Discovery. It asks nothing yet.
func NewDiscovery(o Options) (*Discovery, error) {
	d := &Discovery{
		client: o.Client, saved: o.Snapshot, log: o.Log, bounds: defaultBounds(),
		changes: make(chan struct{}, 1), renamed: make(chan struct{}, 1), watched: map[string]*watching{},
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if o.Stale > 0 {
		d.bounds.stale = o.Stale
	}
	d.sets.Store(&map[string]set{})
	if d.client != nil {
		return d, nil
	}
	var err error
	d.client, d.idle, err = Server{Address: o.Address, Token: o.Token, Datacenter: o.Datacenter, TLS: o.TLS}.connect()
	return d, err
}

// Watch says which services to watch from now on, and may be called at any time.
// What was last good of a new one, before the start or before it was given up, is
// there at once, without asking Consul. One that is left out has no instances any
// more; its last good ones stay on disk.
func (d *Discovery) Watch(services ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := map[string]*watching{}
	for _, service := range services {
		if next[service] = d.watched[service]; next[service] != nil {
			continue
		}
		next[service] = &watching{service: service}
		if instances := d.recall(service); len(instances) > 0 {
			d.replace(service, instances)
		}
	}
	for service := range d.watched {
		if next[service] == nil {
			d.replace(service, nil)
		}
	}
	d.watched = next
	signal(d.renamed)
}

// Instances returns the instances of a service that Consul says are well, by
// address; none for one that is not watched or never had any. It does not block.
// The slice is the same until something changes, and must not be changed.
func (d *Discovery) Instances(service string) []capability.Instance {
	return (*d.sets.Load())[service].instances
}

// Endpoints is the addresses of Instances.
func (d *Discovery) Endpoints(service string) []string { return (*d.sets.Load())[service].endpoints }

// Changes wakes its reader after any instances changed. It has one slot, for one
// reader; read Instances again.
func (d *Discovery) Changes() <-chan struct{} { return d.changes }

// Problems says of which services Consul does not answer, and which instances are
// used although it has lost them: one line for each service, in their order.
func (d *Discovery) Problems() (problems []capability.Problem) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, service := range slices.Sorted(maps.Keys(d.watched)) {
		w := d.watched[service]
		if !w.silent.IsZero() {
			problems = append(problems, capability.Problem{
				File: "consul", Path: service, Mend: Mend(w.silence),
				Message: "consul does not answer since " + w.silent.UTC().Format(time.RFC3339) + "; the last good instances are used: " + w.silence.Error(),
			})
		}
		if len(w.held) > 0 {
			problems = append(problems, capability.Problem{
				File: "consul", Path: service, Mend: "see why their registrations are gone, or stop them",
				Message: fmt.Sprintf("%d instances are missing in consul and still answer; they are used: %s", len(w.held), strings.Join(w.held[:min(len(w.held), 8)], ", ")),
			})
		}
	}
	return problems
}

// Run watches until ctx ends, and returns nil when every watch is gone. Failures
// of Consul are logged and lived with.
func (d *Discovery) Run(ctx context.Context) error {
	var watches sync.WaitGroup
	started := map[*watching]context.CancelFunc{}
	for {
		d.mu.Lock()
		watched := slices.Collect(maps.Values(d.watched))
		d.mu.Unlock()
		for w, stop := range started {
			if !slices.Contains(watched, w) {
				stop()
				delete(started, w)
			}
		}
		for _, w := range watched {
			if started[w] == nil {
				own, stop := context.WithCancel(ctx)
				started[w] = stop
				watches.Go(func() { d.watch(own, w) })
			}
		}
		select {
		case <-d.renamed:
		case <-ctx.Done():
			for _, stop := range started {
				stop()
			}
			watches.Wait()
			if d.idle != nil {
				d.idle.CloseIdleConnections()
			}
			return nil
		}
	}
}

// publish makes the instances the ones to use, if they differ, and saves them.
func (d *Discovery) publish(w *watching, instances, held []capability.Instance) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w.held = addresses(held)
	old := d.Instances(w.service)
	if d.watched[w.service] != w || slices.Equal(old, instances) {
		return
	}
	d.replace(w.service, instances)
	d.log.Info("instances changed", slog.String("service", w.service), slog.Int("from", len(old)), slog.Int("to", len(instances)),
		slog.Any("added", few(without(instances, old))), slog.Any("removed", few(without(old, instances))))
	if err := d.save(w.service, instances); err != nil {
		d.log.Warn("instances not saved", slog.String("service", w.service), slog.Any("error", err))
	}
}

// replace must be called with mu held.
func (d *Discovery) replace(service string, instances []capability.Instance) {
	next := maps.Clone(*d.sets.Load())
	if len(instances) == 0 {
		delete(next, service)
	} else {
		next[service] = set{instances, addresses(instances)}
	}
	d.sets.Store(&next)
	signal(d.changes)
}

func signal(slot chan struct{}) {
	select {
	case slot <- struct{}{}:
	default:
	}
}
