package migrate

import (
	"context"
	"errors"
	"fmt"

	"strangler/capability"
)

// complete makes a copied target the equal of its source: everything that has
// changed since the copy began is applied, then what was set aside is made again.
// Nothing is written to the target meanwhile, and it stands where the source stood
// between two transactions, so that whatever the source's constraints keep apart
// is apart here. If it is interrupted, or rows stand against a constraint, the
// next attempt first applies what has changed by then.
func (m *Mover) complete(ctx context.Context, l layout, move Move) error {
	m.mu.Lock()
	m.building = nil
	m.mu.Unlock()
	m.enter(capability.PhaseCompleting)
	horizon, err := m.catchUp(ctx, l, move.Horizon)
	if errors.As(err, new(*ChangedError)) {
		err = fmt.Errorf("%w; %s", err, m.alteredMend())
	}
	if err != nil {
		return err
	}
	if err := m.rebuild(ctx, distinct(relations(l.pairs, capability.Extracted))); err != nil {
		return err
	}
	if err := m.unaltered(ctx, l.pairs); err != nil {
		return err
	}
	if err := m.keep(ctx, record{Pairs: l.pairs}); err != nil {
		return err
	}
	move.Phase, move.Horizon = capability.PhaseFollowing, horizon
	return m.Extracted.SaveMove(ctx, m.Document.Name, move)
}

// alteredMend is what to do about tables that were altered before they were followed.
func (m *Mover) alteredMend() string {
	return "change it back until the move follows, or take the move back and begin again: strangler data reset " + m.Document.Name
}

// unaltered makes sure that the tables are those that were copied, and notes the
// files that they are in since.
func (m *Mover) unaltered(ctx context.Context, pairs []Pair) error {
	for _, side := range capability.Sides {
		tables, err := m.databases[side].Look(ctx, relations(pairs, side))
		if err != nil {
			return err
		}
		for i, is := range tables {
			was := &pairs[i].Legacy
			if side == capability.Extracted {
				was = &pairs[i].Extracted
			}
			if !sameTable(*was, is) {
				return fmt.Errorf("table %s was altered in the %s database while it was copied; %s", was.Relation, side, m.alteredMend())
			}
			was.File = is.File
		}
	}
	return nil
}

// catchUp runs the forward stream to where the source is now, or to the horizon,
// which may move on meanwhile. It returns where that is in the end.
func (m *Mover) catchUp(ctx context.Context, l layout, horizon capability.Position) (_ capability.Position, err error) {
	capture := m.captures[capability.Legacy]
	stream := NewStream(StreamOptions{Capability: m.Document.Name, From: capability.Legacy, Mappings: mappings(l.pairs, capability.Legacy),
		Source: capture, Target: m.Extracted, Horizon: horizon, Fetcher: asked{m.Legacy, capture}, Fence: m.Fence, Log: m.Log})
	hold, err := stream.Hold()
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	m.catching = stream
	m.mu.Unlock()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- stream.Run(running) }()
	defer func() {
		stop()
		if failed := <-ended; err == nil {
			err = failed
		}
		m.mu.Lock()
		m.catching = nil
		m.mu.Unlock()
	}()
	position, err := capture.Position(ctx)
	if err != nil {
		return 0, err
	}
	for {
		position = max(position, stream.Horizon())
		if err := hold.At(ctx, position); err != nil && !errors.Is(err, ErrPassed) {
			return 0, err
		}
		if stream.Horizon() <= position {
			return stream.Horizon(), nil
		}
	}
}
