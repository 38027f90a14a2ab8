package migrate

import (
	"context"
	"errors"
	"fmt"

	"strangler/capability"
)

// begin makes everything that both sides need to be followed: gates, the forward
// stream, the rows as they were when it was made, what has changed since, and the
// indexes. It goes on where an earlier attempt has ended, if the stream is there.
func (m *Mover) begin(ctx context.Context, move Move, found bool) (layout, error) {
	// What is under way is held to the tables that it began with, and to no more: its
	// conditions were looked at, and looking takes longer than going on.
	if !found || move.Phase == capability.PhasePreparing {
		_, problems, err := newPlan(ctx, m.Document, m.Legacy, m.Extracted)
		if err != nil {
			return layout{}, err
		}
		if len(problems) > 0 {
			return layout{}, fmt.Errorf("%d problems stand against the move, see: strangler data plan %s; the first: %w", len(problems), m.Document.Name, problems[0])
		}
	}
	l, err := survey(ctx, m.Document, m.Legacy, m.Extracted)
	if err != nil {
		return l, err
	}
	fingerprint, err := l.fingerprint()
	if err != nil {
		return l, err
	}
	if found && move.Fingerprint != fingerprint {
		return l, m.unchanged(l, move)
	}
	if err := m.legacyOwns(ctx); err != nil {
		return l, err
	}
	if err := m.Gates.Prepare(ctx, distinct(relations(l.moved(), capability.Legacy)), distinct(relations(l.moved(), capability.Extracted))); err != nil {
		return l, err
	}
	if !found {
		// The gate is shut now: what is here was here before the move.
		if err := m.empty(ctx, l); err != nil {
			return l, err
		}
	}
	move.Fingerprint = fingerprint
	if move.Phase != capability.PhaseCompleting {
		if move, err = m.fill(ctx, l, move); err != nil {
			return l, err
		}
	}
	return l, m.complete(ctx, l, move)
}

// fill brings all rows into the target, and says so in the move.
func (m *Mover) fill(ctx context.Context, l layout, move Move) (Move, error) {
	resumable, err := m.resumable(ctx, move)
	if err != nil {
		return move, err
	}
	var begin first
	if !resumable {
		begin = func(ctx context.Context, w Writer) (Anchor, Move, error) { return m.start(ctx, l, move, w) }
		// From here on the tables are the mover's, and so is what was taken off them.
		if err := m.Extracted.SaveMove(ctx, m.Document.Name, Move{Phase: capability.PhasePreparing, Fingerprint: move.Fingerprint, Capture: move.Capture}); err != nil {
			return move, err
		}
	}
	if err := m.identify(ctx, capability.Extracted, l.pairs); err != nil {
		return move, err
	}
	if err := m.setAside(ctx, l); err != nil {
		return move, err
	}
	for {
		filled, err := m.backfill(ctx, l, move, begin)
		if !errors.Is(err, errParted) {
			move = filled
			if err != nil {
				return move, err
			}
			break
		}
		m.log.Warn("the backfill starts over", "why", err)
		begin = func(ctx context.Context, w Writer) (Anchor, Move, error) { return m.start(ctx, l, move, w) }
	}
	move.Phase = capability.PhaseCompleting
	return move, m.Extracted.SaveMove(ctx, m.Document.Name, move)
}

// resumable says whether the stream of an interrupted backfill has everything since
// its first snapshot. Then whatever it has copied is of use.
func (m *Mover) resumable(ctx context.Context, move Move) (bool, error) {
	if move.Phase != capability.PhaseBackfill {
		return false, nil
	}
	over := func(why string) (bool, error) {
		m.log.Warn("the backfill starts over", "why", why)
		return false, nil
	}
	progress, found, err := m.Extracted.Progress(ctx, m.Document.Name, capability.Legacy)
	if err != nil {
		return false, err
	}
	capture := m.captures[capability.Legacy]
	identity, err := capture.Identity(ctx)
	if err != nil {
		return false, err
	}
	if !found || identity != progress.Source {
		return over("the legacy database is not the one that it began with")
	}
	feed, err := capture.Follow(ctx, progress.Position)
	var halt *HaltError
	switch {
	case errors.As(err, &halt):
		return over(halt.Reason)
	case err != nil:
		return false, err
	}
	return true, feed.Close()
}

// legacyOwns refuses to begin where the legacy gate is shut: then another
// extracted database owns, and a gate made here would be taken for its own, and
// opened.
func (m *Mover) legacyOwns(ctx context.Context) error {
	legacy, _, err := m.Gates.Read(ctx)
	if err != nil && !errors.Is(err, capability.ErrNoGate) {
		return err
	}
	if legacy.State != "" && legacy.State != capability.Open {
		return fmt.Errorf("the legacy gate of %s is %s, and the extracted database knows nothing of the move: set data.database to the one that the move began with", m.Document.Name, legacy.State)
	}
	return nil
}

// empty refuses targets that hold rows that are not of this move.
func (m *Mover) empty(ctx context.Context, l layout) error {
	facts, err := m.Extracted.Facts(ctx, relations(l.pairs, capability.Extracted))
	if err != nil {
		return err
	}
	for i, f := range facts {
		if f.Filled {
			return fmt.Errorf("table %s in the extracted database is not empty", l.pairs[i].Extracted.Relation)
		}
	}
	return nil
}

// start makes the forward stream and returns its snapshot, kept by a session of our own.
// What an earlier attempt has left is cleared away: all of it is the mover's,
// because the gate was shut before.
func (m *Mover) start(ctx context.Context, l layout, move Move, w Writer) (Anchor, Move, error) {
	if err := m.dropStream(ctx, capability.Legacy); err != nil {
		return nil, move, err
	}
	if err := w.Empty(ctx, distinct(relations(l.pairs, capability.Extracted))); err != nil {
		return nil, move, err
	}
	if err := m.identify(ctx, capability.Legacy, l.pairs); err != nil {
		return nil, move, err
	}
	snapshot, err := m.captures[capability.Legacy].CreateStream(ctx, distinct(relations(l.pairs, capability.Legacy)), true)
	if err != nil {
		return nil, move, err
	}
	anchor, err := m.Legacy.OpenSnapshot(ctx, snapshot.Name)
	if err = errors.Join(err, snapshot.Close()); err != nil {
		return anchor, move, err
	}
	if err := m.beginProgress(ctx, capability.Legacy, snapshot.Position); err != nil {
		return anchor, move, err
	}
	move = Move{Phase: capability.PhaseBackfill, Fingerprint: move.Fingerprint, Capture: move.Capture, Snapshot: snapshot.Position}
	return anchor, move, m.Extracted.SaveMove(ctx, m.Document.Name, move)
}

// beginProgress writes into the other side where the stream from a side begins.
func (m *Mover) beginProgress(ctx context.Context, from capability.Side, at capability.Position) error {
	source, err := m.captures[from].Identity(ctx)
	if err != nil {
		return err
	}
	return m.databases[from.Other()].BeginProgress(ctx, Progress{Capability: m.Document.Name, From: from, Position: at, Fence: m.Fence, Source: source})
}

// prepareReverse makes the way back, once: while the extracted side has never
// been open there is nothing on it that could be missed. A reverse stream that
// is gone later is never made again by itself.
func (m *Mover) prepareReverse(ctx context.Context, pairs []Pair) error {
	moved := layout{pairs: pairs}.moved()
	if len(moved) == 0 {
		return nil
	}
	_, found, err := m.Legacy.Progress(ctx, m.Document.Name, capability.Extracted)
	if err != nil || found {
		return err
	}
	_, gate, err := m.Gates.Read(ctx)
	if err != nil {
		return err
	}
	if gate.Epoch > 0 {
		return fmt.Errorf("the reverse stream of %s has no progress in the legacy database, although extracted has been open: changes may be lost; compare with: strangler data verify %s", m.Document.Name, m.Document.Name)
	}
	if err := m.dropStream(ctx, capability.Extracted); err != nil {
		return err
	}
	// Before there is a stream: what is attached in between counts as news.
	if _, err := m.knows(ctx, capability.Extracted, moved, ""); err != nil {
		return err
	}
	snapshot, err := m.captures[capability.Extracted].CreateStream(ctx, distinct(relations(moved, capability.Extracted)), false)
	if err != nil {
		return err
	}
	return m.beginProgress(ctx, capability.Extracted, snapshot.Position)
}
