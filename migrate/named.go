package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// SequenceNames answers about sequences that no column is known to draw from. It
// changes nothing.
type SequenceNames interface {
	// NamedSequences returns those of the sequences that are there, in their order.
	NamedSequences(ctx context.Context, names []Relation) ([]Sequence, error)
	// UnclaimedSequences returns the sequences that neither belong to a column nor
	// stand in a default: if anybody draws from them, he does it by their names.
	UnclaimedSequences(ctx context.Context) ([]Relation, error)
}

// namedPair is one of the document's sequences as the two databases have it; nil where one
// of them lacks it.
type namedPair struct {
	doc  capability.NamedSequence
	side map[capability.Side]*Sequence
}

func nameSequences(ctx context.Context, docs []capability.NamedSequence, databases map[capability.Side]Database) ([]namedPair, error) {
	if len(docs) == 0 {
		return nil, nil
	}
	all := make([]namedPair, len(docs))
	for i, d := range docs {
		all[i] = namedPair{doc: d, side: map[capability.Side]*Sequence{}}
	}
	for _, side := range capability.Sides {
		names := make([]Relation, len(docs))
		for i, d := range docs {
			names[i] = namedOn(d, side)
		}
		found, err := databases[side].NamedSequences(ctx, names)
		if err != nil {
			return nil, err
		}
		for i, name := range names {
			if j := slices.IndexFunc(found, func(s Sequence) bool { return s.Relation == name }); j >= 0 {
				all[i].side[side] = &found[j]
			}
		}
	}
	return all, nil
}

func namedOn(d capability.NamedSequence, side capability.Side) Relation {
	if side == capability.Extracted {
		return ParseRelation(d.As)
	}
	return ParseRelation(d.Sequence)
}

// carryNamed is carrySequences for those that the document names. What stands in
// columns is not known to be theirs: the gap has to cover what was drawn and not
// yet written.
func (m *Mover) carryNamed(ctx context.Context, from capability.Side) error {
	all, err := nameSequences(ctx, m.Document.Data.Sequences, m.databases)
	if err != nil {
		return err
	}
	for _, n := range all {
		for _, side := range capability.Sides {
			if n.side[side] == nil {
				return fmt.Errorf("there is no sequence %s in the %s database", namedOn(n.doc, side), side)
			}
		}
		source, target := *n.side[from], *n.side[from.Other()]
		value, err := carry(source, target, 0, false, m.Document.Data.Gap)
		if err != nil {
			return err
		}
		if err := m.databases[from.Other()].SetSequence(ctx, target.Relation, value); err != nil {
			return err
		}
	}
	return nil
}

// named tells of the sequences that the document names, and of those that it might.
func (p *planner) named(ctx context.Context, legacy, _ Database) error {
	all, err := nameSequences(ctx, p.doc.Data.Sequences, p.databases)
	if err != nil {
		return err
	}
	for _, n := range all {
		here, there := n.side[capability.Legacy], n.side[capability.Extracted]
		refuse := func(message, mend string) {
			p.refuse(capability.Problem{Path: "data.sequences.by_name", Line: n.doc.Line, Value: n.doc.Sequence, Message: message, Mend: mend})
		}
		switch {
		case here == nil:
			refuse(fmt.Sprintf("there is no sequence %s in the legacy database", namedOn(n.doc, capability.Legacy)), "write its name as the database has it")
		case there == nil:
			refuse(fmt.Sprintf("the extracted database has no sequence %s", namedOn(n.doc, capability.Extracted)),
				fmt.Sprintf("make it there: CREATE SEQUENCE %s AS %s INCREMENT %d MINVALUE %d MAXVALUE %d CACHE %d", namedOn(n.doc, capability.Extracted), here.Type, here.Increment, here.Min, here.Max, here.Cached))
		case slices.Contains(p.plan.Sequences, here.Relation.String()):
			refuse("it fills a column that moves, and is set with it", "take it out of by_name")
		case (here.Increment > 0) != (there.Increment > 0):
			refuse("it counts up on one side and down on the other", "give both the same sign of INCREMENT")
		default:
			p.plan.Sequences = append(p.plan.Sequences, here.Relation.String())
		}
	}
	return p.unclaimed(ctx, legacy)
}

// unclaimed notes sequences whose numbers may be the keys of tables that move: an
// application that asks for them by name, as Hibernate does, would draw the same
// ones on both sides.
func (p *planner) unclaimed(ctx context.Context, legacy Database) error {
	moved := p.layout.moved()
	references, err := legacy.ForeignKeys(ctx, relations(moved, capability.Legacy))
	if err != nil {
		return err
	}
	var keys []string
	for _, pair := range moved {
		if table := pair.Legacy; len(table.Key) == 1 {
			c, _ := table.Column(table.Key[0])
			if slices.Contains(integers, c.Type) && c.Default == "" && c.Identity == "" && !c.Generated && !referring(references, table.Relation, c.Name) {
				keys = append(keys, table.Relation.String()+"."+c.Name)
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	free, err := legacy.UnclaimedSequences(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, r := range free {
		if !slices.Contains(p.plan.Sequences, r.String()) {
			names = append(names, r.String())
		}
	}
	if len(names) > 0 {
		p.plan.Notes = append(p.plan.Notes, Remark{
			Message: fmt.Sprintf("nothing in the database says where the numbers in %s come from, and no column claims %s: an application that draws from it by its name would get the same numbers on both sides after a switch", strings.Join(keys, ", "), strings.Join(names, ", ")),
			Mend:    "list what numbers these tables under data.sequences.by_name",
		})
	}
	return nil
}

var integers = []string{"smallint", "integer", "bigint"}

// referring says whether a column has its values from another table.
func referring(keys []ForeignKey, r Relation, column string) bool {
	return slices.ContainsFunc(keys, func(k ForeignKey) bool {
		from, _, _ := strings.Cut(strings.TrimPrefix(k.Definition, "FOREIGN KEY ("), ")")
		return k.From == r && (from == column || from == `"`+column+`"`)
	})
}
