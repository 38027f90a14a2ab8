package migrate

import (
	"context"
	"errors"
	"fmt"

	"strangler/capability"
)

// Reset takes back what the move has made: streams, gates and records in both
// databases, and the rows in the extracted one. It is refused while extracted
// owns, or nobody does. Run has returned. It may be repeated. A dry run makes the
// same checks, reports the same steps as planned, and takes none.
func (m *Mover) Reset(ctx context.Context, dry bool, report func(capability.Progress)) error {
	if !dry {
		if !m.running.TryLock() {
			return errors.New("stop the mover before a reset")
		}
		defer m.running.Unlock()
	}
	_, found, err := m.Extracted.Move(ctx, m.Document.Name)
	if err != nil {
		return err
	}
	if found {
		legacy, _, err := m.Gates.Read(ctx)
		if err != nil && !errors.Is(err, capability.ErrNoGate) {
			return err
		}
		if legacy.State != "" && legacy.State != capability.Open {
			return fmt.Errorf("legacy does not own %s (its gate is %s): roll back first, with: strangler rollback %s", m.Document.Name, legacy.State, m.Document.Name)
		}
		if err != nil && !dry {
			m.log.Warn("the gates cannot be read before a reset", "error", err)
		}
	}
	name := m.Document.Name
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"restore the border's foreign keys", m.RestoreBorder},
		{"drop the forward stream", func(ctx context.Context) error { return m.dropStream(ctx, capability.Legacy) }},
		{"drop the reverse stream", func(ctx context.Context) error { return m.dropStream(ctx, capability.Extracted) }},
		{"let the logs name rows as before", func(ctx context.Context) error {
			return errors.Join(m.Legacy.Unidentify(ctx, name), m.Extracted.Unidentify(ctx, name))
		}},
		{"empty the extracted tables", func(ctx context.Context) error { return m.emptyAgain(ctx, found) }},
		{"make the extracted tables' indexes and constraints again", m.giveBack},
		{"forget the move in the extracted database", func(ctx context.Context) error { return m.Extracted.Forget(ctx, name) }},
		{"forget the move in the legacy database", func(ctx context.Context) error { return m.Legacy.Forget(ctx, name) }},
		{"drop the legacy gate", func(ctx context.Context) error { return m.Gates.Drop(ctx, capability.Legacy) }},
		{"drop the extracted gate", func(ctx context.Context) error { return m.Gates.Drop(ctx, capability.Extracted) }},
		{"remove what is not needed any more", func(ctx context.Context) error {
			return errors.Join(m.Legacy.Uninstall(ctx), m.Extracted.Uninstall(ctx))
		}},
	}
	for i, step := range steps {
		if dry {
			report(capability.Progress{State: "planned", Message: step.what})
			continue
		}
		if report != nil {
			report(capability.Progress{State: "started", Message: step.what, Done: int64(i), Total: int64(len(steps))})
		}
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("reset %s: %s: %w", name, step.what, err)
		}
	}
	if dry {
		return nil
	}
	m.enter(capability.PhaseNone)
	m.mu.Lock()
	m.progress, m.building, m.verified, m.unequal = nil, nil, nil, nil
	m.mu.Unlock()
	return nil
}

// emptyAgain deletes the rows that the mover has copied. Without a record of a
// move there are none of its own.
func (m *Mover) emptyAgain(ctx context.Context, found bool) error {
	if !found {
		return nil
	}
	l, err := survey(ctx, m.Document, m.Legacy, m.Extracted)
	if err != nil {
		return err
	}
	var there []Relation
	for _, d := range l.all {
		if d.Exists {
			there = append(there, d.To)
		}
	}
	w, err := m.Extracted.OpenWriter(ctx, m.Document.Name, capability.Legacy, 0)
	if err != nil {
		return err
	}
	return errors.Join(w.Empty(ctx, there), w.Close())
}
