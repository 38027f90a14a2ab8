package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// unkept is a foreign key that one side takes for true and the other does not hold its
// writers to: what these write may break it, and the mover writes past foreign keys.
type unkept struct {
	ForeignKey
	unvalidated *ForeignKey // the other side has it, but not for all rows
}

// unkept finds them among the keys of one side that have an end in a table that moves.
func (l layout) unkept(ctx context.Context, strict, loose Catalog, side capability.Side) ([]unkept, error) {
	keys, err := strict.ForeignKeys(ctx, distinct(relations(l.moved(), side)))
	if err != nil {
		return nil, err
	}
	others, err := loose.ForeignKeys(ctx, distinct(relations(l.moved(), side.Other())))
	if err != nil {
		return nil, err
	}
	var list []unkept
	for _, k := range keys {
		if !k.Validated {
			continue // it claims nothing of the rows that are there
		}
		twin, kept := l.keeps(k, side, others)
		if !kept {
			list = append(list, unkept{ForeignKey: k, unvalidated: twin})
		}
	}
	return list, nil
}

// within says whether both ends of a key of one side are in tables that move.
func (l layout) within(k ForeignKey, side capability.Side) bool {
	moved := relations(l.moved(), side)
	return slices.Contains(moved, k.From) && slices.Contains(moved, k.To)
}

// keeps says whether the other side keeps a key of this one, by one of the others. Where
// it is there but not validated, it is returned.
func (l layout) keeps(k ForeignKey, side capability.Side, others []ForeignKey) (twin *ForeignKey, kept bool) {
	for _, from := range l.pairs {
		for _, to := range l.pairs {
			if from.On(side).Relation != k.From || to.On(side).Relation != k.To {
				continue
			}
			columns, referred := from.theirs(k.Columns, side), to.theirs(k.Referred, side)
			if columns == nil || referred == nil {
				continue
			}
			here, there := from.On(side.Other()).Relation, to.On(side.Other()).Relation
			if here == there && slices.Equal(columns, referred) {
				return nil, true // parts of one row name each other
			}
			i := slices.IndexFunc(others, func(o ForeignKey) bool {
				return o.From == here && o.To == there && o.pairs(columns, referred) && o.full() == k.full()
			})
			switch {
			case i < 0, side == capability.Extracted && to.Where != nil, side == capability.Legacy && from.Where != nil:
				// Of rows that name each other one may stay behind.
			case others[i].Validated:
				return nil, true
			default:
				twin = &others[i]
			}
		}
	}
	return twin, false
}

// theirs are the names of a side's columns on the other one; nil where one is not
// there as it is.
func (p Pair) theirs(columns []string, side capability.Side) []string {
	names := make([]string, len(columns))
	for i, name := range columns {
		j := slices.IndexFunc(p.Columns, func(c ColumnPair) bool { return c.on(side) == name })
		if j < 0 {
			return nil
		}
		names[i] = p.Columns[j].on(side.Other())
	}
	return names
}

func (c ColumnPair) on(side capability.Side) string {
	if side == capability.Legacy {
		return c.Legacy
	}
	return c.Extracted
}

// pairs says whether the key is over these columns, in whatever order.
func (k ForeignKey) pairs(columns, referred []string) bool {
	if len(k.Columns) != len(columns) {
		return false
	}
	for i, name := range columns {
		j := slices.Index(k.Columns, name)
		if j < 0 || k.Referred[j] != referred[i] {
			return false
		}
	}
	return true
}

// full says whether the key refuses rows that name another one by halves.
func (k ForeignKey) full() bool { return strings.Contains(k.Definition, " MATCH FULL") }

// unkept tells of foreign keys between tables that move, which one side alone has.
func (p *planner) unkept(ctx context.Context, _, extracted Database) error {
	asides, err := extracted.Asides(ctx, p.doc.Name)
	if err != nil {
		return err
	}
	for _, side := range capability.Sides {
		other := side.Other()
		if side == capability.Legacy && slices.ContainsFunc(asides, func(a Aside) bool { return a.Kind == "foreign key" }) {
			continue // they come back after the copy
		}
		keys, err := p.layout.unkept(ctx, p.databases[side], p.databases[other], side)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if !p.layout.within(k.ForeignKey, side) {
				continue // told as one that crosses the border
			}
			becomes, way := "a cutover is refused while there are such rows", "copy"
			if side == capability.Legacy {
				becomes, way = "a rollback is refused while there are such rows", "stream back"
			}
			p.plan.Notes = append(p.plan.Notes, Remark{Side: side, Mend: p.layout.keep(k, side),
				Message: fmt.Sprintf("foreign key %s of %s to %s is kept on the %s side only: rows that break it may be written on the %s one, and the %s checks no foreign keys; %s", k.Name, k.From, k.To, side, other, way, becomes)})
		}
	}
	return nil
}

// keep is the statement that makes the other side keep a key, where it can.
func (l layout) keep(k unkept, side capability.Side) string {
	other := side.Other()
	if k.unvalidated != nil {
		return fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s; -- in the %s database", k.unvalidated.From.SQL(), sqlName(k.unvalidated.Name), other)
	}
	for _, from := range l.pairs {
		for _, to := range l.pairs {
			columns, referred := from.theirs(k.Columns, side), to.theirs(k.Referred, side)
			if from.On(side).Relation != k.From || to.On(side).Relation != k.To || columns == nil || referred == nil || from.Where != nil || to.Where != nil {
				continue
			}
			match := ""
			if k.full() {
				match = " MATCH FULL"
			}
			here := from.On(other).SQL()
			add := fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s FOREIGN KEY (%s) REFERENCES %s (%s)%s", here, sqlName(k.Name), sqlNames(columns), to.On(other).SQL(), sqlNames(referred), match)
			if from.On(other).Kind != kindPartitioned { // whose keys take no NOT VALID
				add += fmt.Sprintf(" NOT VALID; ALTER TABLE %s VALIDATE CONSTRAINT %s", here, sqlName(k.Name))
			}
			return fmt.Sprintf("%s; -- in the %s database", add, other)
		}
	}
	return ""
}
