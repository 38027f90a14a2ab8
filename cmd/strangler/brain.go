package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"strangler/capability"
	"strangler/controller"
	"strangler/internal/api"
	"strangler/internal/postgres"
	"strangler/internal/telemetry"
	"strangler/internal/webhook"
)

// brain is the controller with what it leads by.
type brain struct {
	*parts
	active atomic.Pointer[controller.Controller] // nil while it does not lead
	idle   atomic.Pointer[string]                // why it does not
	known  chan struct{}                         // closed when it is known for the first time whether it leads
	tell   func()                                // closes known, once
}

// beginning is how long whoever asks a process that has just begun waits to hear
// whether its controller leads: reaching a database takes a moment.
const beginning = 3 * time.Second

func (p *parts) newBrain() *brain {
	b := &brain{parts: p, known: make(chan struct{})}
	b.tell = sync.OnceFunc(func() { close(b.known) })
	why := "it has just begun"
	b.idle.Store(&why)
	api.Control(p.router, b.leading)
	api.Fleet(p.router, census{p}.upstreams)
	return b
}

// waits notes why this process does not lead.
func (b *brain) waits(why string) {
	b.idle.Store(&why)
	b.tell()
}

// leading returns the controller, or why none leads in this process. At the
// beginning it blocks for some seconds at most, until one of them is known.
func (b *brain) leading() (*controller.Controller, error) {
	select {
	case <-b.known:
	case <-time.After(beginning):
	}
	return b.leads()
}

// leads is leading for whoever cannot wait.
func (b *brain) leads() (*controller.Controller, error) {
	if c := b.active.Load(); c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no controller leads in this process: %s", *b.idle.Load())
}

// again is how long a controller that could not lead, or lost the lead, waits
// until it tries to once more.
const again = 2 * time.Second

// run leads as soon as it may, and again after it has lost the lead, until the
// context ends. A legacy database that is away must not end the process: a proxy
// in it goes on serving what it has.
func (b *brain) run(ctx context.Context) error {
	for {
		err := b.candidate(ctx)
		if ctx.Err() != nil {
			return err
		}
		b.log.Error("not leading", "error", err, "again_in", again)
		b.waits(err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
	}
}

// candidate leads once, as soon as it may, until the context ends or the lead is
// lost. Without a legacy database only traffic moves: two controllers would then decide
// the same from the same files, and the store's compare-and-set orders them.
func (b *brain) candidate(ctx context.Context) error {
	if b.settings.Legacy.Database == "" {
		return b.lead(ctx, postgres.Fence{})
	}
	legacy, err := postgres.Open(ctx, capability.Legacy, b.settings.Legacy.Database)
	if err != nil {
		return err
	}
	defer legacy.Close()
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	leader := postgres.NewLeader(legacy, fmt.Sprintf("%s pid %d", host, os.Getpid()), b.settings.Leases.Controller)
	return leader.Lead(ctx, func(holder string) {
		b.log.Info("another controller is active; waiting", "holder", holder)
		b.waits("another one does, on " + holder + "; ask that")
	}, b.lead)
}

// lead is the controller's life while it is the active one.
func (b *brain) lead(ctx context.Context, fence postgres.Fence) error {
	c := controller.New(controller.Options{
		Documents: b.desired(), States: b.store, Ledger: b.store, Proxies: census{b.parts},
		Connect: b.connect(fence), Healthy: b.healthy, Webhooks: webhook.NewSender(), Times: b.settings.Switch, Token: fence.Token, Log: b.log, Reach: reach,
	})
	moves := telemetry.NewMoves(func() []capability.Status { return statuses(ctx, c) })
	if err := b.registry.Register(moves); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
		return err
	}
	defer b.registry.Unregister(moves)
	b.active.Store(c)
	defer b.active.Store(nil)
	b.tell()
	b.log.Info("leading", "token", fence.Token)
	return c.Run(ctx)
}

// desired is the documents as the controller reads them.
type desired struct {
	store
	*parts
}

func (b *brain) desired() controller.Documents { return desired{b.store, b.parts} }

// Load adds what discovery finds doubtful about the services of the documents. Where
// no proxy of this process does, it says which are watched: without instances, no
// side would ever be well enough for a switch.
func (d desired) Load(ctx context.Context) ([]capability.Document, []capability.Problem, error) {
	docs, problems, err := d.store.Load(ctx)
	if err != nil || d.discovery == nil {
		return docs, problems, err
	}
	if !d.proxied {
		d.discovery.Watch(services(d.settings.Legacy.Upstream, docs)...)
	}
	return docs, append(problems, d.discovery.Problems()...), nil
}

func statuses(ctx context.Context, c *controller.Controller) []capability.Status {
	var all []capability.Status
	for _, name := range c.Names() {
		if r, err := c.Capability(name); err == nil {
			all = append(all, r.Status(ctx, nil))
		}
	}
	return all
}

// Mark answers the proxy of the same process.
func (b *brain) Mark(ctx context.Context, name string) (capability.Mark, error) {
	c, err := b.leads()
	if err != nil {
		return capability.Mark{}, err
	}
	r, err := c.Capability(name)
	if err != nil {
		return capability.Mark{}, err
	}
	return r.Mark(ctx)
}

// connect reaches a capability's two databases, past whoever led before.
func (b *brain) connect(fence postgres.Fence) controller.Connect {
	return func(ctx context.Context, doc capability.Document, token uint64) (*controller.Data, error) {
		if b.settings.Legacy.Database == "" {
			return nil, errors.New("legacy.database is not set in config.yaml, so no data can move")
		}
		legacy, err := postgres.OpenFenced(ctx, capability.Legacy, b.settings.Legacy.Database, fence)
		if err != nil {
			return nil, err
		}
		extracted, err := postgres.OpenFenced(ctx, capability.Extracted, doc.Data.Database, fence)
		if err != nil {
			legacy.Close()
			return nil, err
		}
		gates := postgres.NewGates(doc.Name, legacy, extracted)
		mover := newMover(b.settings, doc, legacy, extracted, gates, token, b.log)
		return &controller.Data{Mover: mover, Handover: mover, Repairs: mover, Border: mover, Gates: gates, Guards: gates, Conflicts: mover, Refusals: gates, Retirement: mover, Close: func() {
			legacy.Close()
			extracted.Close()
		}}, nil
	}
}

// healthy dials the endpoints of a side; one that answers is enough.
func (b *brain) healthy(ctx context.Context, doc capability.Document, side capability.Side) error {
	up := doc.Extracted
	if side == capability.Legacy {
		up = b.settings.Legacy.Upstream
	}
	endpoints := up.Endpoints
	if up.Consul != "" && b.discovery != nil {
		endpoints = b.discovery.Endpoints(up.Consul)
	}
	if len(endpoints) == 0 {
		return fmt.Errorf("there is no endpoint of %s", side)
	}
	var errs error
	for _, e := range endpoints {
		err := dial(ctx, e)
		if err == nil {
			return nil
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

func dial(ctx context.Context, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), map[string]string{"https": "443"}[u.Scheme])
		if u.Scheme == "http" {
			address = net.JoinHostPort(u.Hostname(), "80")
		}
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}
