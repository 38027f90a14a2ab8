package proxy

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"strangler/capability"
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
	p.mu.Unlock()
	s := capability.Serving{Capability: name}
	var changed <-chan struct{}
	if l != nil {
		s, changed = l.hold.serving()
		s.Capability = name
	}
	s.Proxy, s.Problems = p.options.ID, problems
	return s, changed
}

// BreakerInfo is one breaker of one capability's side.
type BreakerInfo struct {
	Capability string          `json:"capability"`
	Side       capability.Side `json:"side"`
	State      BreakerState    `json:"state"`
	Since      time.Time       `json:"since"`
	Reason     string          `json:"reason,omitempty"` // the failure that opened it
}

// Breakers lists the breakers of all capabilities, in the order of the documents.
func (p *Proxy) Breakers() []BreakerInfo {
	out := []BreakerInfo{}
	for _, b := range p.bindings() {
		for _, side := range capability.Sides {
			state, last := b.breakers[side].state()
			out = append(out, BreakerInfo{Capability: b.document.Name, Side: side, State: state, Since: last.at, Reason: last.reason})
		}
	}
	return out
}

// RouteInfo is one claimed route.
type RouteInfo struct {
	Capability string           `json:"capability"`
	Path       string           `json:"path"`
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
		out = append(out, RouteInfo{Capability: r.binding.document.Name, Path: r.Path, Methods: r.Methods, Class: r.Class,
			Timeout: r.timeout(), Owner: e.Owner, Weight: e.Weight.String()})
	}
	return out
}

func (p *Proxy) bindings() []*binding {
	t := p.table.Load()
	if t == nil {
		return nil
	}
	var out []*binding
	for _, r := range t.routes {
		if !slices.Contains(out, r.binding) {
			out = append(out, r.binding)
		}
	}
	return out
}
