package proxy

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"strangler/capability"
	"strangler/proxy/breaker"
	"strangler/proxy/pool"
)

// Serving describes what this proxy does with a capability's writes. It blocks
// until the proxy serves at least minRevision and, with idle, until no write of
// the capability is in flight while it holds, or ctx ends: then it returns what is
// true at that moment. A question for a newer revision than is served asks for
// a reload at once.
//
// Holding and Writes are read together: an answer that holds with no write in
// flight means that none will be until another revision is served.
func (p *Proxy) Serving(ctx context.Context, name string, minRevision uint64, idle bool) capability.Serving {
	reloaded := false
	for {
		updated := p.nextUpdate()
		s, changed := p.serving(name)
		behind := s.Revision < minRevision
		busy := idle && s.Holding && s.Writes > 0
		if !behind && !busy || ctx.Err() != nil {
			return s
		}
		if behind && !reloaded {
			reloaded = true
			p.reload(ctx, name)
			continue
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-updated:
		}
	}
}

// reload asks the caller for a newer state than this proxy serves.
func (p *Proxy) reload(ctx context.Context, name string) {
	if p.options.Reload == nil {
		return
	}
	if err := p.options.Reload(ctx, name); err != nil && ctx.Err() == nil {
		p.log.Warn("reload failed", slog.String("capability", name), slog.Any("error", err))
	}
}

func (p *Proxy) nextUpdate() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.updated
}

func (p *Proxy) serving(name string) (capability.Serving, <-chan struct{}) {
	p.mu.Lock()
	l := p.lasting[name]
	problems := append(slices.Clone(p.reported), p.refused...)
	document := ""
	for _, d := range p.documents {
		if d.Name == name {
			document = d.Revision
		}
	}
	p.mu.Unlock()
	s := capability.Serving{Capability: name}
	var changed <-chan struct{}
	if l != nil {
		s, changed = l.hold.serving()
		s.Capability = name
	}
	s.Proxy, s.Problems, s.Document = p.options.ID, problems, document
	return s, changed
}

// BreakerInfo is one breaker of one capability's side.
type BreakerInfo struct {
	Capability string                 `json:"capability"`
	Side       capability.Side        `json:"side"`
	State      breaker.State          `json:"state"` // in the mode observe: the one it would have
	Mode       capability.BreakerMode `json:"mode"`
	Since      time.Time              `json:"since"`
	Reason     string                 `json:"reason,omitempty"` // of the last change
	Remaining  time.Duration          `json:"remaining_ns"`     // of the open time
	Requests   int                    `json:"requests"`         // in the window
	Failures   int                    `json:"failures"`
	Slow       int                    `json:"slow"`
	InFlight   int                    `json:"in_flight"` // at the side
	Queued     int                    `json:"queued"`    // for a place there
}

// Breakers lists the breakers of all capabilities, in the order of the documents.
func (p *Proxy) Breakers() []BreakerInfo {
	out := []BreakerInfo{}
	for _, b := range p.bindings() {
		for _, side := range capability.Sides {
			i, busy := b.reach[side].breaker.Info(), b.reach[side].bulkhead.Info()
			out = append(out, BreakerInfo{Capability: b.document.Name, Side: side, State: i.State, Mode: i.Mode, Since: i.Since, Reason: i.Reason,
				Remaining: i.Remaining, Requests: i.Requests, Failures: i.Failures, Slow: i.Slow, InFlight: busy.InFlight, Queued: busy.Queued})
		}
	}
	return out
}

// EndpointInfo is one endpoint of one capability's extracted side, or of the
// monolith, whose capability is empty.
type EndpointInfo struct {
	Capability string     `json:"capability,omitempty"`
	Address    string     `json:"address"`
	Zone       string     `json:"zone,omitempty"`
	Weight     int        `json:"weight"`
	Share      float64    `json:"share"` // of the weight: below 1 while it starts slowly
	InFlight   int64      `json:"in_flight"`
	State      pool.State `json:"state"`
	Why        string     `json:"why,omitempty"`
	Since      time.Time  `json:"since"`
	Ignored    bool       `json:"ignored,omitempty"` // the state is not minded, because too few are well
}

// Endpoints lists the endpoints of the monolith, then those of all capabilities in
// the order of the documents.
func (p *Proxy) Endpoints() []EndpointInfo {
	out := []EndpointInfo{}
	add := func(name string, all []pool.Info) {
		for _, i := range all {
			out = append(out, EndpointInfo{Capability: name, Address: i.Address, Zone: i.Zone, Weight: i.Weight, Share: i.Share,
				InFlight: i.InFlight, State: i.State, Why: i.Why, Since: i.Since, Ignored: i.Ignored})
		}
	}
	add("", p.unclaimed.pool.Endpoints())
	for _, b := range p.bindings() {
		add(b.document.Name, b.lasting.extracted.Endpoints())
	}
	return out
}

// RouteInfo is one claimed route.
type RouteInfo struct {
	Capability string           `json:"capability"`
	Path       string           `json:"path"`
	Host       string           `json:"host,omitempty"` // empty: all
	Conditions []string         `json:"conditions,omitempty"`
	Methods    []string         `json:"methods,omitempty"` // empty: all
	Class      capability.Class `json:"class,omitempty"`   // empty: by method
	Timeout    time.Duration    `json:"timeout_ns"`
	Owner      capability.Side  `json:"owner"`
	Weight     string           `json:"weight"`
}

// Routes lists what is claimed, in the order of the documents.
func (p *Proxy) Routes() []RouteInfo {
	out := []RouteInfo{}
	t := p.table.Load()
	if t == nil {
		return out
	}
	for _, r := range t.routes {
		e := r.binding.effective
		out = append(out, RouteInfo{Capability: r.binding.document.Name, Path: r.Path, Host: r.Host, Conditions: conditions(r.Route), Methods: r.Methods, Class: r.Class,
			Timeout: r.timeout(), Owner: e.Owner, Weight: e.Weight.String()})
	}
	return out
}

func (p *Proxy) bindings() []*binding {
	if t := p.table.Load(); t != nil {
		return t.bindings
	}
	return nil
}

// conditions puts what a route asks of headers and query into words.
func conditions(r capability.Route) []string {
	var out []string
	add := func(what string, all []capability.Condition) {
		for _, c := range all {
			text := what + " " + c.Name
			if c.Value != "" {
				text += " = " + c.Value
			}
			out = append(out, text)
		}
	}
	add("header", r.Headers)
	add("query", r.Query)
	return out
}
