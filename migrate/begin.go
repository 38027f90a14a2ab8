package migrate

import (
	"context"
	"errors"
	"fmt"

	"strangler/capability"
)

// begin makes everything that both sides need to be followed: gates, the forward
// slot, and the rows as its snapshot has them. What an earlier attempt has left
// is cleared away first, unless its snapshot is still there to go on with.
func (m *Mover) begin(ctx context.Context, move Move, found bool) (layout, error) {
	_, problems, err := newPlan(ctx, m.Document, m.Legacy, m.Extracted)
	if err != nil {
		return layout{}, err
	}
	if len(problems) > 0 {
		return layout{}, fmt.Errorf("%d problems stand against the move, see: strangler data plan %s; the first: %w", len(problems), m.Document.Name, problems[0])
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
	if err := m.Gates.Prepare(ctx, relations(l.moved(), capability.Legacy), relations(l.moved(), capability.Extracted)); err != nil {
		return l, err
	}
	if !found {
		// The gate is shut now: what is here was here before the move.
		if err := m.empty(ctx, l); err != nil {
			return l, err
		}
	}
	snapshot, err := m.snapshot(ctx, l, Move{Phase: capability.PhasePreparing, Fingerprint: fingerprint}, move.Phase == capability.PhaseBackfill)
	if err != nil {
		return l, err
	}
	m.enter(capability.PhaseBackfill)
	if err := m.backfill(ctx, l, snapshot); err != nil {
		return l, err
	}
	if err := m.Extracted.Analyze(ctx, relations(l.pairs, capability.Extracted)); err != nil {
		return l, err
	}
	// The snapshot is given up last: whoever stops here goes on from what is copied.
	if err := m.Extracted.SaveMove(ctx, m.Document.Name, Move{Phase: capability.PhaseFollowing, Fingerprint: fingerprint, Snapshot: snapshot.Position}); err != nil {
		return l, err
	}
	return l, m.Close()
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

// snapshot returns the snapshot that the rows are copied from: the one of an
// interrupted backfill, or that of a new slot. Whatever was copied from another
// one is deleted: all of it is the mover's, because the gate was shut before.
func (m *Mover) snapshot(ctx context.Context, l layout, move Move, copied bool) (Snapshot, error) {
	m.mu.Lock()
	kept := m.kept
	m.mu.Unlock()
	if kept != nil && copied {
		return *kept, nil
	}
	name := m.Document.Name
	if err := m.Extracted.SaveMove(ctx, name, move); err != nil {
		return Snapshot{}, err
	}
	if err := m.Legacy.DropStream(ctx, name); err != nil {
		return Snapshot{}, err
	}
	if copied {
		m.log.Warn("the backfill starts over, because its snapshot is lost")
	}
	if err := m.clear(ctx, l); err != nil {
		return Snapshot{}, err
	}
	snapshot, err := m.Legacy.CreateStream(ctx, name, relations(l.pairs, capability.Legacy), true)
	if err != nil {
		return Snapshot{}, err
	}
	m.mu.Lock()
	m.kept = &snapshot
	m.mu.Unlock()
	if err := m.beginProgress(ctx, capability.Legacy, snapshot.Position); err != nil {
		return snapshot, err
	}
	move.Phase, move.Snapshot = capability.PhaseBackfill, snapshot.Position
	return snapshot, m.Extracted.SaveMove(ctx, name, move)
}

// clear empties the target's tables of what an earlier backfill has copied.
func (m *Mover) clear(ctx context.Context, l layout) error {
	w, err := m.Extracted.OpenWriter(ctx, m.Document.Name, capability.Legacy, 0)
	if err != nil {
		return err
	}
	return errors.Join(w.Empty(ctx, relations(l.pairs, capability.Extracted)), w.Close())
}

// beginProgress writes into the other side where the stream from a side begins.
func (m *Mover) beginProgress(ctx context.Context, from capability.Side, at capability.Position) error {
	source, err := m.databases[from].Identity(ctx)
	if err != nil {
		return err
	}
	return m.databases[from.Other()].BeginProgress(ctx, Progress{Capability: m.Document.Name, From: from, Position: at, Fence: m.Fence, Source: source})
}

// prepareReverse makes the way back, once: while the extracted side has never
// been open there is nothing on it that could be missed. A reverse stream that
// is gone later is never made again by itself.
func (m *Mover) prepareReverse(ctx context.Context, l layout) error {
	moved := l.moved()
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
	if err := m.Extracted.DropStream(ctx, m.Document.Name); err != nil {
		return err
	}
	snapshot, err := m.Extracted.CreateStream(ctx, m.Document.Name, relations(moved, capability.Extracted), false)
	if err != nil {
		return err
	}
	return m.beginProgress(ctx, capability.Extracted, snapshot.Position)
}
