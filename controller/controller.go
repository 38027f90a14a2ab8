package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"strangler/capability"
)

// Options is what a controller needs.
type Options struct {
	Documents Documents
	States    States
	Ledger    Ledger
	Proxies   Proxies
	Connect   Connect
	Healthy   Healthy
	Webhooks  Webhooks // nil: a document that has some cannot switch
	Times     capability.Times
	Token     uint64 // of this controller's leadership
	Log       *slog.Logger
	// Reach is called before and after each step of a switch, and blocks it: whoever
	// tests what becomes of a switch that is disturbed right there has to get there.
	// nil in what is shipped.
	Reach func(ctx context.Context, name string, step capability.StepName, when string)
	// Tick is how often every capability is looked at when nothing calls for it;
	// 0 is 250 ms.
	Tick time.Duration
}

// ErrUnknown is returned for a capability that no document names.
var ErrUnknown = errors.New("no document names this capability")

// Controller runs one Reconciler per capability.
type Controller struct {
	options Options

	mu          sync.Mutex
	reconcilers map[string]*Reconciler // guarded by mu
	problems    []capability.Problem   // of the documents; guarded by mu
	reading     *sync.Mutex            // held while documents are read or edited, so that nobody acts on an older one
	ready       chan struct{}          // closed when the documents were loaded once
	once        sync.Once
}

// New returns a controller; Run starts it.
func New(o Options) *Controller {
	if o.Tick == 0 {
		o.Tick = 250 * time.Millisecond
	}
	return &Controller{options: o, reconcilers: map[string]*Reconciler{}, reading: new(sync.Mutex), ready: make(chan struct{})}
}

// Run looks after every capability until the context ends, and returns when all
// movers have stopped.
func (c *Controller) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	changes := c.options.Documents.Watch(ctx)
	reload := time.NewTicker(2 * time.Second) // the watch is a hint; this is the promise
	defer reload.Stop()
	for {
		if err := c.load(ctx, &running); err != nil && ctx.Err() == nil {
			c.options.Log.Error("load documents", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
		case <-reload.C:
		}
	}
}

// load reads documents and effective states, and starts a reconciler for each
// capability that is new.
func (c *Controller) load(ctx context.Context, running *sync.WaitGroup) error {
	c.reading.Lock()
	defer c.reading.Unlock()
	docs, problems, err := c.options.Documents.Load(ctx)
	if err != nil {
		return err
	}
	states, err := c.options.States.Effective(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = problems
	for name, r := range c.reconcilers {
		r.described(slices.ContainsFunc(docs, func(d capability.Document) bool { return d.Name == name }))
	}
	for _, doc := range docs {
		r, known := c.reconcilers[doc.Name]
		state, stored := states[doc.Name]
		if known {
			r.document(doc)
			r.hear(state)
			continue
		}
		if !stored {
			state = capability.Initial(doc.Name, doc.Data != nil)
		}
		r = newReconciler(c.options, c.reading, doc, state)
		c.reconcilers[doc.Name] = r
		running.Go(func() { r.run(ctx) })
	}
	c.once.Do(func() { close(c.ready) })
	return nil
}

// Ready is closed when the documents were loaded for the first time.
func (c *Controller) Ready() <-chan struct{} { return c.ready }

// Names lists the capabilities in no particular order.
func (c *Controller) Names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]string, 0, len(c.reconcilers))
	for name := range c.reconcilers {
		names = append(names, name)
	}
	return names
}

// Capability returns the reconciler of one capability, or ErrUnknown.
func (c *Controller) Capability(name string) (*Reconciler, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.reconcilers[name]
	if !ok {
		return nil, fmt.Errorf("%q: %w", name, ErrUnknown)
	}
	return r, nil
}

// Problems returns what is wrong with the documents now, while the last good
// ones are in effect.
func (c *Controller) Problems() []capability.Problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.problems
}

// Ledger returns the last entries of one capability, or of all where name is
// empty; newest last.
func (c *Controller) Ledger(ctx context.Context, name string, limit int) ([]capability.Entry, error) {
	return c.options.Ledger.Ledger(ctx, name, limit)
}
