package migrate

import (
	"context"
	"fmt"
	"slices"

	"strangler/capability"
)

// Foresee says what would be wrong with the rows of the side opposite to from once it
// owns, and which of its sequences could not be set, each with its mend. It reads tables beside their writers, and gives way to
// whoever changes them. Where no streams run there is nothing to say.
func (m *Mover) Foresee(ctx context.Context, from capability.Side, data *capability.Data) ([]string, error) {
	f, err := m.followed()
	if err != nil {
		return nil, nil //nolint:nilerr // a switch is refused for that
	}
	reasons, err := m.orphaned(ctx, f.layout, from)
	if err != nil {
		return nil, err
	}
	c, err := carries(ctx, m.databases[from], m.databases[from.Other()], from, mappings(f.layout.moved(), from), data)
	if err != nil {
		return nil, fmt.Errorf("look at the sequences of %s: %w", m.Document.Name, err)
	}
	return append(reasons, c.reasons...), nil
}

// orphaned tells of foreign keys that the next owner takes for true, that from does not
// keep, and that are not true: the mover writes past foreign keys.
func (m *Mover) orphaned(ctx context.Context, l layout, from capability.Side) (reasons []string, err error) {
	to := from.Other()
	keys, err := l.unkept(ctx, m.databases[to], m.databases[from], to)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if to == capability.Legacy && !l.within(k.ForeignKey, to) {
			continue // the document has agreed to what becomes of it
		}
		var count int64
		var show string
		err := untilRead(ctx, func(reason string) { m.log.Info("counting orphans gives way", "reason", reason) }, func() (err error) {
			rows, err := m.databases[to].OpenRows(ctx, "")
			if err != nil {
				return err
			}
			defer func() { err = closing(err, rows) }()
			count, show, err = rows.Orphans(ctx, k.ForeignKey)
			return err
		})
		if err != nil {
			return nil, err
		}
		if count > 0 {
			mend := fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", k.From.SQL(), sqlName(k.Name))
			if !l.partitioned(k.From, to) { // whose keys take no NOT VALID
				mend += fmt.Sprintf(", ADD CONSTRAINT %s %s NOT VALID", sqlName(k.Name), k.Definition)
			}
			reasons = append(reasons, fmt.Sprintf("%d rows of %s break foreign key %s of the %s database, which the %s one does not keep; to see them: %s; mend them in the %s database, or run in the %s one: %s", count, k.From, k.Name, to, from, show, from, to, mend))
		}
	}
	return reasons, nil
}

func (l layout) partitioned(r Relation, side capability.Side) bool {
	return slices.ContainsFunc(l.pairs, func(p Pair) bool { return p.On(side).Relation == r && p.On(side).Kind == kindPartitioned })
}
