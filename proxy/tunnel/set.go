package tunnel

import (
	"context"
	"sync"
	"time"
)

// Set is the tunnels that are open. The zero value is empty and ready; it is safe
// for concurrent use.
type Set struct {
	mu      sync.Mutex
	open    map[*Tunnel]struct{} // guarded by mu
	empty   chan struct{}        // guarded by mu; closed when the last one ends, nil while nobody waits
	closing int                  // guarded by mu; drains whose patience is over
}

// Tunnel is a place in a Set: from before a connection is taken from its server
// until nothing of it is left.
type Tunnel struct {
	set   *Set
	label string
	cut   bool      // guarded by set.mu; it has to end
	how   parting   // guarded by set.mu; of cut
	flow  *carriage // guarded by set.mu; nil before Carry
}

// Begin enters a tunnel, under the label by which Open counts it. It comes before
// the connection is taken from its server, so that there is no moment at which
// neither knows it. End must follow.
func (s *Set) Begin(label string) *Tunnel {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &Tunnel{set: s, label: label, cut: s.closing > 0, how: atTheEnd}
	if s.open == nil {
		s.open = map[*Tunnel]struct{}{}
	}
	s.open[t] = struct{}{}
	return t
}

// End takes the tunnel out of its set. It may be called again.
func (t *Tunnel) End() {
	s := t.set
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, t)
	if len(s.open) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// Cut ends the tunnel as a drain does whose patience is over: now, or as soon as
// Carry is called. It returns when both connections are closed, at the latest a second
// later, unless it was called before; Carry returns by itself.
func (t *Tunnel) Cut() { t.part(atTheEnd) }

// Part ends the tunnel with a grace: the two sides of a WebSocket are told now and have so
// long to go; any other protocol is left alone for that time. Else it is like Cut.
func (t *Tunnel) Part(grace time.Duration) { t.part(parting{within: grace, waits: true}) }

// Close ends the tunnel as it stands, and tells nobody. Else it is like Cut.
func (t *Tunnel) Close() { t.part(parting{}) }

func (t *Tunnel) part(how parting) {
	t.set.mu.Lock()
	before, flow := t.cut, t.flow
	if !before {
		t.cut, t.how = true, how
	}
	t.set.mu.Unlock()
	if flow != nil && !before {
		flow.part(how)
	}
}

// Open counts the open tunnels of each label.
func (s *Set) Open() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	for t := range s.open {
		out[t.label]++
	}
	return out
}

// Drain waits until the last tunnel has ended. When ctx ends first it closes the
// others, also those that begin from then on, waits until they have ended too, which
// takes those that are told a second at most, and returns how many it closed.
func (s *Set) Drain(ctx context.Context) (closed int) {
	empty := s.whenEmpty()
	select {
	case <-empty:
		return 0
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.closing++
	var flows []*carriage
	for t := range s.open {
		if t.cut {
			continue
		}
		t.cut, t.how = true, atTheEnd
		closed++
		if t.flow != nil {
			flows = append(flows, t.flow)
		}
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, flow := range flows {
		wg.Go(func() { flow.part(atTheEnd) }) // TLS says goodbye, which may take a while each
	}
	wg.Wait()
	<-empty
	s.mu.Lock()
	s.closing--
	s.mu.Unlock()
	return closed
}

func (s *Set) whenEmpty() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	return s.empty
}

// enter lets the set stop a flow. It reports whether that has to end already, and how.
func (t *Tunnel) enter(flow *carriage) (how parting, ends bool) {
	t.set.mu.Lock()
	defer t.set.mu.Unlock()
	t.flow = flow
	return t.how, t.cut
}
