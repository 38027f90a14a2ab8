package migrate

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"strangler/capability"
)

// following is the mover while both streams run.
type following struct {
	running    context.Context // ends with the streams
	record     *record         // for the one who watches
	layout     layout
	directions map[capability.Side]*direction // by the side that changes come from
}

// direction is one stream with its two ends and the comparison that follows it.
type direction struct {
	from           capability.Side
	source, target Database
	capture        Capture // of the source
	mappings       []Mapping
	stream         *Stream
	recheck        *recheck
}

// follow runs both streams until ctx ends or one of them ends for good, and
// returns when both are gone.
func (m *Mover) follow(ctx context.Context, r *record) error {
	group, ctx := errgroup.WithContext(ctx)
	f := &following{running: ctx, record: r, layout: layout{pairs: r.Pairs}, directions: map[capability.Side]*direction{}}
	f.directions[capability.Legacy] = m.newDirection(capability.Legacy, r.mappings(r.Pairs, capability.Legacy))
	if moved := f.layout.moved(); len(moved) > 0 {
		f.directions[capability.Extracted] = m.newDirection(capability.Extracted, r.mappings(moved, capability.Extracted))
	}
	m.mu.Lock()
	// What an earlier run has verified may have changed without anybody counting.
	m.following, m.verified, m.unequal, m.warning = f, nil, nil, ""
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.following = nil
		if m.phase == capability.PhaseFollowing {
			m.phase = capability.PhasePreparing // whoever looks must not take no stream for streams that are well
		}
		m.mu.Unlock()
	}()
	// What came or went with a partition while nobody looked is told before more is
	// written; what keeps it from being looked at shows again in the streams.
	if halt := new(HaltError); errors.As(m.repartitioned(ctx, f.layout), &halt) {
		return halt
	}
	m.enter(capability.PhaseFollowing)
	for _, d := range f.directions {
		group.Go(func() error { return d.stream.Run(ctx) })
		group.Go(func() error { return d.recheck.run(ctx) })
	}
	group.Go(func() error { return m.watchPartitions(ctx, f.layout) })
	group.Go(func() error { return m.watch(ctx, f) })
	return group.Wait()
}

// bind ends a caller's waiting with ErrNotFollowing when the streams end: nobody
// else would tell it. Call the returned function when done.
func (f *following) bind(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(f.running, func() { cancel(ErrNotFollowing) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

func (m *Mover) newDirection(from capability.Side, mappings []Mapping) *direction {
	d := &direction{from: from, source: m.databases[from], target: m.databases[from.Other()], capture: m.captures[from], mappings: mappings}
	d.stream = NewStream(StreamOptions{Capability: m.Document.Name, From: from, Mappings: d.mappings, Source: d.capture, Target: d.target, Fence: m.Fence, Log: m.Log})
	d.recheck = newRecheck(d, m.Document, m.log)
	return d
}
