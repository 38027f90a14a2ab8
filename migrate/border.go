package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"strangler/capability"
)

// DropBorder drops the crossing foreign keys that the document has agreed to
// drop, in one short transaction of the legacy database. It may be repeated.
func (m *Mover) DropBorder(ctx context.Context) error {
	l, err := survey(ctx, m.Document, m.Legacy, m.Extracted)
	if err != nil {
		return err
	}
	keys, err := crossing(ctx, m.Legacy, l)
	if err != nil {
		return err
	}
	var drop []ForeignKey
	for _, k := range keys {
		switch agreed, ok := agreement(m.Document.Data.Border, k.Name); {
		case !ok:
			return fmt.Errorf("foreign key %s from %s to %s crosses the border of %s and is not agreed to; see: strangler data plan %s", k.Name, k.From, k.To, m.Document.Name, m.Document.Name)
		case agreed.AtSwitch != capability.BorderKeep:
			drop = append(drop, k)
		}
	}
	if len(drop) == 0 {
		return nil
	}
	if err := m.Legacy.DropForeignKeys(ctx, m.Document.Name, drop); err != nil {
		return err
	}
	m.log.Info("foreign keys dropped", "count", len(drop))
	return nil
}

// RestoreBorder adds the dropped foreign keys again and validates them. Adding
// is short; validating reads their tables beside their writers, and blocks for as
// long. It may be repeated.
func (m *Mover) RestoreBorder(ctx context.Context) error {
	keys, err := m.Legacy.DroppedForeignKeys(ctx, m.Document.Name)
	if err != nil {
		return err
	}
	var errs error
	for _, k := range keys {
		err := m.Legacy.RestoreForeignKey(ctx, m.Document.Name, k)
		if err == nil {
			m.log.Info("foreign key restored", "constraint", k.Name, "table", k.From.String())
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

func agreement(border []capability.Border, constraint string) (capability.Border, bool) {
	i := slices.IndexFunc(border, func(b capability.Border) bool { return b.Constraint == constraint })
	if i < 0 {
		return capability.Border{}, false
	}
	return border[i], true
}

// crossing are the legacy foreign keys with exactly one end in a moved table.
func crossing(ctx context.Context, legacy Catalog, l layout) ([]ForeignKey, error) {
	var moved []Relation
	for _, d := range l.all {
		if d.Mode == capability.Move {
			moved = append(moved, d.From.Relation)
		}
	}
	return crossingOf(ctx, legacy, distinct(moved))
}

func crossingOf(ctx context.Context, c Catalog, moved []Relation) ([]ForeignKey, error) {
	keys, err := c.ForeignKeys(ctx, moved)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(keys, func(k ForeignKey) bool {
		return slices.Contains(moved, k.From) == slices.Contains(moved, k.To)
	}), nil
}
