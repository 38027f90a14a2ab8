package proxy

import (
	"context"
	"log/slog"
	"maps"
	"net/http/httputil"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"strangler/capability"
	"strangler/proxy/edge"
	"strangler/proxy/limit"
	"strangler/proxy/match"
	"strangler/proxy/tunnel"
)

// Proxy is the data plane: an http.Handler for clients, fed by Update. Make one
// with New.
type Proxy struct {
	options Options
	log     *slog.Logger
	table   atomic.Pointer[table] // nil until the first Update that holds
	// unclaimed is how the monolith is reached by what no capability claims; its pool
	// is that of every capability's legacy side.
	unclaimed reach
	allowed   match.Odd  // in unclaimed paths
	dropped   edge.Names // of headers of peers that are not trusted
	reverse   *httputil.ReverseProxy
	metrics   *metrics
	loops     loops
	streams   tunnel.Set    // upgraded connections
	served    atomic.Uint64 // requests that did well, for AccessEvery
	// semicolons is for queries with one, of which clients may send any number.
	semicolons edge.Seldom

	draining atomic.Bool

	mu        sync.Mutex
	documents []capability.Document           // guarded by mu; the last good set
	effective map[string]capability.Effective // guarded by mu; the newest of each
	lasting   map[string]*lasting             // guarded by mu
	refused   []capability.Problem            // guarded by mu; why newer documents are not served
	reported  []capability.Problem            // guarded by mu; what the reader of the documents found
	updated   chan struct{}                   // guarded by mu; closed by the next Update
}

// New makes a proxy that answers 503 until the first Update.
func New(options Options) (*Proxy, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	for _, address := range options.Legacy.Endpoints {
		if err := checkAddress(options.Legacy, address); err != nil {
			return nil, err
		}
	}
	p := &Proxy{
		options:   options,
		log:       options.Log,
		allowed:   match.OddOf(options.LegacyAllow),
		dropped:   edge.NewNames(options.DropHeaders...),
		effective: map[string]capability.Effective{},
		lasting:   map[string]*lasting{},
		updated:   make(chan struct{}),
	}
	p.unclaimed = reach{pool: p.newPool("monolith"), rewrite: newTranslation(options.Legacy.Rewrite)}
	if options.LegacyBound != nil {
		p.unclaimed.bulkhead = limit.NewBulkhead(*options.LegacyBound)
	}
	p.unclaimed.pool.Use(options.Legacy)
	p.loops.keep(p.unclaimed.pool.Run)
	p.reverse = p.newReverseProxy()
	if p.metrics, err = newMetrics(options.Metrics, p); err != nil {
		return nil, err
	}
	return p, nil
}

// Run keeps the background work going until ctx ends: asking for marks. Requests
// are served without it, but then nobody's mark is ever satisfied. It returns
// when everything it started has ended and gives idle connections back.
func (p *Proxy) Run(ctx context.Context) error {
	p.loops.open(ctx)
	for _, l := range p.everything() {
		p.askMarks(l)
	}
	<-ctx.Done()
	p.loops.close()
	p.unclaimed.pool.Close()
	for _, l := range p.everything() {
		l.extracted.Close()
	}
	return nil
}

func (p *Proxy) everything() []*lasting {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.lasting))
}

// Update serves new documents and effective states. It builds the whole table
// and swaps it at once. Documents that cannot be served together are refused
// all at once: the last good ones go on being served, with the new states, and the
// problems are returned. A state that is not newer than the one served is
// ignored; a capability without a state is the monolith's.
func (p *Proxy) Update(docs []capability.Document, effective map[string]capability.Effective) []capability.Problem {
	problems := Check(docs)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = problems
	if len(problems) == 0 {
		p.documents = make([]capability.Document, 0, len(docs))
		for _, d := range docs {
			p.documents = append(p.documents, d.Clone())
		}
	}
	for name, e := range effective {
		if have, known := p.effective[name]; !known || e.Revision > have.Revision {
			p.effective[name] = e
		}
	}
	if p.documents != nil {
		p.swap()
	}
	close(p.updated)
	p.updated = make(chan struct{})
	return problems
}

// Advance serves those of the effective states that are newer than the ones that are
// served, with the documents as they are. It passes over capabilities that Update has
// not brought, and what is missing takes nothing away. It does not block.
func (p *Proxy) Advance(effective map[string]capability.Effective) {
	p.mu.Lock()
	defer p.mu.Unlock()
	newer := false
	for name, e := range effective {
		if have, known := p.effective[name]; known && e.Revision > have.Revision {
			p.effective[name], newer = e, true
		}
	}
	if !newer || p.documents == nil {
		return
	}
	p.swap()
	close(p.updated)
	p.updated = make(chan struct{})
}

// swap builds and stores the table, then tells marks and holds. The order
// carries two promises: held writes are let through only after reads are routed
// by the new state, and after the marks know the new owner. Called with p.mu held.
func (p *Proxy) swap() {
	t, err := build(p.documents, p.options.Override, func(d capability.Document) *binding {
		e, known := p.effective[d.Name]
		if !known {
			e = capability.Initial(d.Name, d.Data != nil)
			p.effective[d.Name] = e
		}
		l := p.keep(d, e)
		return p.bind(d, e, l)
	})
	if err != nil {
		// Check has compiled the same routes.
		p.log.Error("build the table; the last one is served", slog.Any("error", err))
		return
	}
	p.table.Store(t)
	p.retire(t)
	for _, b := range t.bindings {
		b.lasting.marks.set(b.effective.Owner, b.effective.Epoch)
		before := b.lasting.hold.state()
		if b.lasting.hold.set(b.effective) {
			p.logChange(before, b.effective)
		}
	}
}

// retireAfter is how long a capability that no document describes any more keeps
// what lasts of it: requests that were decided by an older table are still under
// way, and the document may come back.
const retireAfter = time.Minute

// retire sees to it that what lasts of capabilities without a document is let go.
// Called with p.mu held.
func (p *Proxy) retire(t *table) {
	for name, l := range p.lasting {
		switch {
		case t.describes(name):
			l.gone = time.Time{}
		case l.gone.IsZero():
			l.gone = time.Now()
			time.AfterFunc(retireAfter, func() { p.forget(name, l) })
		}
	}
}

// forget lets go of a capability, unless it is described again, or was since it was
// gone first, or a write of it is held or in flight: those need its hold, and time
// again. Its state is forgotten with it, so that one that begins anew is not taken
// for an old one.
func (p *Proxy) forget(name string, l *lasting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lasting[name] != l || l.gone.IsZero() || time.Since(l.gone) < retireAfter {
		return
	}
	if s, _ := l.hold.serving(); s.Writes > 0 || s.Held > 0 {
		time.AfterFunc(retireAfter, func() { p.forget(name, l) })
		return
	}
	delete(p.lasting, name)
	delete(p.effective, name)
	l.end()
	l.extracted.Close()
}

// bind ties a capability's document and state to what lasts.
func (p *Proxy) bind(d capability.Document, e capability.Effective, l *lasting) *binding {
	return &binding{document: d, effective: e, lasting: l, always: set(d.Traffic.Always), never: set(d.Traffic.Never),
		reach: map[capability.Side]reach{
			capability.Legacy: {pool: p.unclaimed.pool, breaker: l.breakers[capability.Legacy], bulkhead: l.bulkheads[capability.Legacy],
				rewrite: p.unclaimed.rewrite},
			capability.Extracted: {pool: l.extracted, breaker: l.breakers[capability.Extracted], bulkhead: l.bulkheads[capability.Extracted],
				rewrite: newTranslation(d.Extracted.Rewrite)},
		}}
}

func (p *Proxy) logChange(before, after capability.Effective) {
	p.log.Info("state changed", slog.String("capability", after.Capability), slog.Uint64("revision", after.Revision),
		slog.Group("from", slog.String("owner", string(before.Owner)), slog.String("weight", before.Weight.String()), slog.String("phase", string(before.Phase))),
		slog.Group("to", slog.String("owner", string(after.Owner)), slog.String("weight", after.Weight.String()), slog.String("phase", string(after.Phase))))
}

// Report shows problems that kept documents from being read at all, in Serving.
// Each call replaces what the one before reported.
func (p *Proxy) Report(problems []capability.Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reported = slices.Clone(problems)
}

// Drain makes the proxy unready for good, so that whoever balances in front sends
// nobody new. It goes on serving.
func (p *Proxy) Drain() { p.draining.Store(true) }

// Ready reports whether a table is loaded and the proxy is not draining.
func (p *Proxy) Ready() bool { return p.table.Load() != nil && !p.draining.Load() }
