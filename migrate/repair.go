package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"strangler/capability"
)

// Repair compares every row as Verify does and makes those that differ on the
// side opposite to from what from has, where both streams run. Changes wait
// meanwhile: what is written is exactly what the source had at the position at
// which the stream stands. Then everything is compared again, and that is the
// result.
func (m *Mover) Repair(ctx context.Context, from capability.Side, report func(capability.Progress)) (capability.VerifyStatus, error) {
	first, err := m.compare(ctx, from, true, report)
	if err != nil || first.Count == 0 {
		return first, err
	}
	m.log.Warn("rows were repaired", "from", string(from), "rows", first.Count)
	second, err := m.compare(ctx, from, false, report)
	second.Repaired = first.Count
	return second, err
}

// Recover makes the next Run bring the side that does not own up to date by
// comparing and repairing it, without a new copy, and follow anew from there: for
// a move that cannot be followed any more because a slot or an outbox was lost, or a database
// restored or failed over. Run has returned. It may be repeated.
func (m *Mover) Recover(ctx context.Context) error {
	if !m.running.TryLock() {
		return errors.New("stop the mover before a recovery")
	}
	defer m.running.Unlock()
	move, found, err := m.Extracted.Move(ctx, m.Document.Name)
	if err != nil {
		return err
	}
	if !found || move.Phase != capability.PhaseFollowing && move.Phase != capability.PhaseRepairing {
		return fmt.Errorf("%s has never followed: there is nothing to repair; go on with: strangler data start %s", m.Document.Name, m.Document.Name)
	}
	if err := m.Extracted.Install(ctx); err != nil { // over an earlier version, perhaps
		return err
	}
	move.Phase = capability.PhaseRepairing
	if err := m.Extracted.SaveMove(ctx, m.Document.Name, move); err != nil {
		return err
	}
	m.enter(capability.PhaseRepairing) // and not failed any more
	return nil
}

// recover does what Recover has asked for. It is begun anew where it is
// interrupted: until it is done nobody follows.
func (m *Mover) recover(ctx context.Context, l layout, move Move) error {
	m.enter(capability.PhaseRepairing)
	if err := m.comparable(l, move); err != nil {
		return err
	}
	owner, err := m.owner(ctx)
	if err != nil {
		return err
	}
	for _, from := range capability.Sides {
		pairs := l.pairs
		if from == capability.Extracted {
			pairs = l.moved()
		}
		if len(pairs) == 0 {
			continue
		}
		tell := func(reason string) { m.log.Info("the repair begins anew", "from", string(from), "why", reason) }
		if err := untilRead(ctx, tell, func() error { return m.recoverStream(ctx, from, pairs, owner) }); err != nil {
			return fmt.Errorf("repair the %s side: %w", from.Other(), err)
		}
	}
	if err := m.Gates.Adopt(ctx); err != nil {
		return err
	}
	// The streams are made anew: nothing that is older than these tables comes in them.
	if err := m.keep(ctx, record{Pairs: l.pairs}); err != nil {
		return err
	}
	move.Phase = capability.PhaseFollowing
	return m.Extracted.SaveMove(ctx, m.Document.Name, move)
}

// comparable refuses to compare tables that do not fit together, or are not those
// of the move. That they are not as they were is no hindrance.
func (m *Mover) comparable(l layout, move Move) error {
	r, found, err := move.recorded()
	switch {
	case err != nil:
		return err
	case !found:
		return m.unchanged(l, move)
	case len(l.problems) > 0:
		return fmt.Errorf("the tables of %s do not fit together: %w", m.Document.Name, l.problems[0])
	}
	if lost := differences(l, r.Pairs).lost; len(lost) > 0 {
		return fmt.Errorf("the tables of %s are not those that the move began with: %s; change them back, or take the move back with: strangler data reset %s", m.Document.Name, lost[0], m.Document.Name)
	}
	return nil
}

// owner is the side whose gate is open.
func (m *Mover) owner(ctx context.Context) (capability.Side, error) {
	legacy, extracted, err := m.Gates.Read(ctx)
	switch {
	case err != nil:
		return "", err
	case legacy.State == capability.Open && extracted.State != capability.Open:
		return capability.Legacy, nil
	case extracted.State == capability.Open && legacy.State != capability.Open:
		return capability.Extracted, nil
	}
	return "", fmt.Errorf("nobody can say who owns %s: the legacy gate is %s, the extracted one %s; see docs/what-if.md", m.Document.Name, legacy.State, extracted.State)
}

// recoverStream makes the stream from a side anew, and the tables that this side
// has the say of equal at the position at which it begins. The other tables have
// nothing of their own in its target: they come from there.
func (m *Mover) recoverStream(ctx context.Context, from capability.Side, pairs []Pair, owner capability.Side) (err error) {
	source, target, capture := m.databases[from], m.databases[from.Other()], m.captures[from]
	if err := m.dropStream(ctx, from); err != nil {
		return err
	}
	if err := m.identify(ctx, from, pairs); err != nil {
		return err
	}
	snapshot, err := capture.CreateStream(ctx, distinct(relations(pairs, from)), true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	if _, err := m.knows(ctx, from, pairs, snapshot.Name); err != nil {
		return err
	}
	here, err := source.OpenRows(ctx, snapshot.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, here.Close()) }()
	there, err := target.OpenRows(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, there.Close()) }()
	v := &verification{mover: m, owner: owner, repair: true}
	d := &direction{from: from, source: source, target: target, capture: capture}
	for _, m := range wholes(mappings(pairs, from)) {
		if from != owner && m.Pair.Mode != capability.Copy {
			continue
		}
		if _, err := v.pair(ctx, d, here, there, newComparison(m, from, nil), time.Time{}); err != nil {
			return err
		}
	}
	m.log.Info("compared and repaired", "from", string(from), "rows", v.status.Rows, "repaired", v.status.Count)
	m.mu.Lock()
	m.recovered += v.status.Count
	m.mu.Unlock()
	return m.beginProgress(ctx, from, snapshot.Position)
}
