package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// dependents tells who else uses the tables that move, and what becomes of that.
func (p *planner) dependents(ctx context.Context, legacy, _ Database) error {
	inside := p.inside()
	partitions, err := legacy.Partitions(ctx, inside, "")
	if err != nil {
		return err
	}
	for _, part := range partitions { // whose names others may use as well
		inside = append(inside, part.Relation)
	}
	known, err := legacy.Dependents(ctx, inside)
	if err != nil {
		return err
	}
	p.plan.Dependents = neighbours(inside, known, p.code[capability.Legacy])
	return nil
}

// neighbours joins what the catalog knows with what the text of functions names.
func neighbours(inside []Relation, known []Dependent, code Code) []Dependent {
	bodies := map[string]Routine{}
	for _, r := range code.Routines {
		bodies[r.Name] = r
	}
	var list []Dependent
	add := func(d Dependent) {
		same := func(o Dependent) bool {
			return o.Kind == d.Kind && o.Name == d.Name && o.On == d.On && o.Table == d.Table
		}
		if i := slices.IndexFunc(list, same); i >= 0 {
			list[i].Access = d.Access // the text tells more than the catalog's "names"
			return
		}
		list = append(list, d)
	}
	for _, d := range known {
		add(d)
	}
	for _, r := range code.Routines {
		if !r.Trigger {
			named := mentions(r.Body, inside)
			for _, t := range byName(named) {
				add(Dependent{Kind: "function", Name: r.Name, Table: t.String(), Access: named[t], Found: FoundText})
			}
		}
	}
	outside := slices.DeleteFunc(slices.Clone(code.Tables), func(t Relation) bool { return slices.Contains(inside, t) })
	for _, t := range code.Triggers {
		if t.Disabled {
			continue
		}
		// What a trigger of ours does to others ends; what others' do to ours is refused.
		tables := inside
		if slices.Contains(inside, t.On) {
			tables = outside
		}
		named := mentions(bodies[t.Routine].Body, tables)
		for _, table := range byName(named) {
			add(Dependent{Kind: "trigger", Name: sqlName(t.Name), On: t.On.String(), Table: table.String(), Access: named[table], Found: FoundText})
		}
	}
	for i := range list {
		list[i].Means = meaning(list[i], slices.ContainsFunc(inside, func(r Relation) bool { return r.String() == list[i].On }))
	}
	return list
}

func byName(tables map[Relation]Access) []Relation {
	var list []Relation
	for t := range tables {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b Relation) int { return strings.Compare(a.Schema+"."+a.Name, b.Schema+"."+b.Name) })
	return list
}

// meaning says what becomes of a use when extracted owns. Ours is a trigger of
// a table that moves.
func meaning(d Dependent, ours bool) string {
	const copied = "reads a copy of what extracted writes, until retire"
	switch {
	case ours:
		return "stops: nothing fires it for what extracted writes"
	case d.Kind == "sequence":
		return fmt.Sprintf("also fills %s: the two sides will draw the same numbers unless sequences.gap keeps them apart", d.On)
	case d.Kind == "materialized view":
		return "refreshed from a copy of what extracted writes, until retire"
	case d.Access == MayWrite:
		return copied + "; writes through it are refused"
	case d.Kind == "trigger" && d.Access == Writes:
		return "is refused from the cutover on, and with it the write that fires it"
	case d.Access == Writes:
		return "is refused from the cutover on, with the transaction around it"
	case d.Access == Names:
		return "reads a copy of what extracted writes, until retire; what it writes is refused"
	}
	return copied
}

// inside are the legacy tables that change their owner.
func (p *planner) inside() []Relation {
	var list []Relation
	for _, d := range p.layout.all {
		if d.Mode == capability.Move {
			list = append(list, d.From.Relation)
		}
	}
	return list
}
