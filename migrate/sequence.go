package migrate

import (
	"context"
	"fmt"
	"slices"

	"strangler/capability"
)

// carry computes what a target's sequence must have handed out last, so that it
// continues behind everything that the source's has handed out or that stands in
// the column, with a gap for numbers that applications have reserved. It never
// takes the target back.
func carry(source, target Sequence, extreme int64, found bool, gap int64) (int64, error) {
	up := source.Increment > 0
	further := func(a, b int64) int64 {
		if up == (a > b) {
			return a
		}
		return b
	}
	value := source.Last
	if !source.Called {
		value -= source.Increment
	}
	if found {
		value = further(value, extreme)
	}
	// In steps of the increment, so that two writers that share the numbers by
	// parity go on doing so.
	step := max(source.Increment, -source.Increment)
	distance := (max(gap, step) + step - 1) / step * step
	if !up {
		distance = -distance
	}
	if beyond := value + distance; (beyond > value) == up {
		value = beyond
	} else {
		return 0, fmt.Errorf("sequence %s: %d and a gap of %d leave the range of numbers", source.Relation, value, gap)
	}
	if target.Called && (target.Increment > 0) == up {
		value = further(value, target.Last)
	}
	if value < target.Min || value > target.Max {
		return 0, fmt.Errorf("sequence %s would stand at %d, outside %d to %d; lower sequences.gap or widen the sequence", target.Relation, value, target.Min, target.Max)
	}
	return value, nil
}

// matched is a sequence of the target with the source's that it continues, and
// the gap's worth.
type matched struct{ source, target Sequence }

// match pairs the sequences of both sides by the columns that they fill.
func match(mappings []Mapping, source, target []Sequence) (pairs []matched, unmatched []Sequence) {
	for _, s := range source {
		of, found := false, false
		for _, m := range mappings { // more than one has a table that is divided
			if m.From.Relation != s.Table {
				continue
			}
			of = true
			c := slices.Index(m.FromColumns, s.Column)
			for _, t := range target {
				if c >= 0 && t.Table == m.To.Relation && t.Column == m.ToColumns[c] {
					pairs, found = append(pairs, matched{s, t}), true
				}
			}
		}
		if of && !found {
			unmatched = append(unmatched, s)
		}
	}
	return pairs, unmatched
}

// carrySequences sets every sequence of the target behind its counterpart. One
// that fills several columns ends behind all of them. It may be repeated.
func carrySequences(ctx context.Context, source, target Database, mappings []Mapping, gap int64) error {
	var from, to []Relation
	for _, m := range mappings {
		from, to = append(from, m.From.Relation), append(to, m.To.Relation)
	}
	here, err := source.Sequences(ctx, distinct(from))
	if err != nil {
		return err
	}
	there, err := target.Sequences(ctx, distinct(to))
	if err != nil {
		return err
	}
	pairs, _ := match(mappings, here, there)
	values := map[Relation]int64{}
	var order []Relation
	for _, p := range pairs {
		extreme, found, err := source.Extreme(ctx, p.source)
		if err != nil {
			return err
		}
		if before, ok := values[p.target.Relation]; ok {
			p.target.Last, p.target.Called = before, true
		} else {
			order = append(order, p.target.Relation)
		}
		value, err := carry(p.source, p.target, extreme, found, gap)
		if err != nil {
			return err
		}
		values[p.target.Relation] = value
	}
	for _, r := range order {
		if err := target.SetSequence(ctx, r, values[r]); err != nil {
			return err
		}
	}
	return nil
}

// sequences tells which sequences a switch sets, and where it sets none.
func (p *planner) sequences(ctx context.Context, legacy, extracted Database) error {
	moved := p.layout.moved()
	here, err := legacy.Sequences(ctx, distinct(relations(moved, capability.Legacy)))
	if err != nil {
		return err
	}
	there, err := extracted.Sequences(ctx, distinct(relations(moved, capability.Extracted)))
	if err != nil {
		return err
	}
	pairs, unmatched := match(mappings(moved, capability.Legacy), here, there)
	for _, m := range pairs {
		if name := m.source.Relation.String(); !slices.Contains(p.plan.Sequences, name) {
			p.plan.Sequences = append(p.plan.Sequences, name)
		}
		if (m.source.Increment > 0) != (m.target.Increment > 0) {
			p.refuse(capability.Problem{Path: "data.tables." + m.source.Table.String(), Message: fmt.Sprintf("sequence %s counts up on one side and down on the other", m.source.Relation),
				Mend: "give both the same sign of INCREMENT"})
		}
	}
	for _, s := range unmatched {
		p.plan.Notes = append(p.plan.Notes, Remark{Message: fmt.Sprintf("%s.%s draws from a sequence in the legacy database and from none in the extracted one: the service must find numbers of its own", s.Table, s.Column)})
	}
	return nil
}
