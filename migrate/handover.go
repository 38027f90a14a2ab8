package migrate

import (
	"context"
	"errors"
	"fmt"
	"math"

	"strangler/capability"
)

// direction returns the stream from a side and what belongs to it.
func (m *Mover) direction(from capability.Side) (*direction, error) {
	f, err := m.followed()
	if err != nil {
		return nil, err
	}
	d, ok := f.directions[from]
	if !ok {
		return nil, fmt.Errorf("there is no stream of %s from %s: no table moves", m.Document.Name, from)
	}
	return d, nil
}

// waiting runs what may wait for the stream from a side; it ends with the stream.
func (m *Mover) waiting(ctx context.Context, from capability.Side, wait func(context.Context, *direction) error) error {
	f, err := m.followed()
	if err != nil {
		return err
	}
	d, err := m.direction(from)
	if err != nil {
		return err
	}
	ctx, done := f.bind(ctx)
	defer done()
	return wait(ctx, d)
}

// WaitMarker blocks until the side opposite to from has applied the marker with
// this nonce and all before it.
func (m *Mover) WaitMarker(ctx context.Context, from capability.Side, nonce string) error {
	return m.waiting(ctx, from, func(ctx context.Context, d *direction) error {
		d.stream.Nudge()
		return d.stream.WaitMarker(ctx, nonce)
	})
}

// UnverifiedKeys counts the rows that the stream from a side has written since
// they were last compared. It is math.MaxInt where nobody knows, and only a full
// verification will do.
func (m *Mover) UnverifiedKeys(from capability.Side) int {
	d, err := m.direction(from)
	if err != nil || d.stream.Changed().Overflowed() {
		return math.MaxInt
	}
	return d.recheck.unverified()
}

// VerifyChanged compares the unverified rows of both sides, exactly: the gate of
// from is shut and its marker applied. It returns those that differ, and an
// error where there are more than two thousand rows to compare.
func (m *Mover) VerifyChanged(ctx context.Context, from capability.Side) (mismatches []capability.Mismatch, err error) {
	err = m.waiting(ctx, from, func(ctx context.Context, d *direction) (err error) {
		mismatches, err = d.recheck.finish(ctx)
		return err
	})
	if err == nil {
		err = m.undisturbed()
	}
	if err == nil {
		err = m.unparted(ctx)
	}
	return mismatches, err
}

// unparted fails where rows have come or gone with a partition and nobody has
// noticed yet: the set of changed rows does not have them.
func (m *Mover) unparted(ctx context.Context) error {
	f, err := m.followed()
	if err != nil {
		return err
	}
	return m.repartitioned(ctx, f.layout)
}

// undisturbed fails where a full verification has begun and not ended well: it
// has emptied the set of unverified rows, and may yet find that they differ.
func (m *Mover) undisturbed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.verified; v == nil || v.FinishedAt.IsZero() || v.Count > 0 || v.Error != "" {
		return errors.New("a full verification runs, or has failed; wait for it, or run it again")
	}
	return nil
}

// CarrySequences sets the sequences of the side opposite to from behind those of
// from: those that fill columns, and those that the data section names, by its gap.
// The section is the document's of now; the mover's own is from when it was made.
// It may be repeated.
func (m *Mover) CarrySequences(ctx context.Context, from capability.Side, data *capability.Data) error {
	f, err := m.followed()
	if err != nil {
		return err
	}
	if err := carrySequences(ctx, m.databases[from], m.databases[from.Other()], from, mappings(f.layout.moved(), from), data); err != nil {
		return fmt.Errorf("carry sequences of %s over to %s: %w", m.Document.Name, from.Other(), err)
	}
	return nil
}

func (m *Mover) followed() (*following, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.following == nil {
		return nil, fmt.Errorf("%s: %w", m.Document.Name, ErrNotFollowing)
	}
	return m.following, nil
}

// Mark says how far the owner's database has come, asked after the call, and how
// far the other side has followed. Its epoch is the caller's to fill in.
func (m *Mover) Mark(ctx context.Context, owner capability.Side) (capability.Mark, error) {
	d, err := m.direction(owner)
	if err != nil || !d.stream.Status().Live {
		return capability.Mark{}, nil // no stream, no mark: nobody may move
	}
	position, err := d.capture.Position(ctx)
	if err != nil {
		return capability.Mark{}, err
	}
	d.stream.Nudge()
	return capability.Mark{Position: position, Applied: d.stream.Applied(), Current: true}, nil
}
