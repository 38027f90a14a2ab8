package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// border holds the crossing foreign keys of the legacy database against what the
// document agrees to.
func (p *planner) border(ctx context.Context, legacy, extracted Database) error {
	keys, err := crossing(ctx, legacy, p.layout)
	if err != nil {
		return err
	}
	dropped, err := legacy.DroppedForeignKeys(ctx, p.doc.Name)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, k := range keys {
		known[k.Name] = true
		b := BorderPlan{Constraint: k.Name, From: k.From.String(), To: k.To.String(), Actions: actions(k), Loses: loses(k, slices.Contains(p.inside(), k.From))}
		agreed, ok := agreement(p.doc.Data.Border, k.Name)
		if ok {
			b.AtSwitch = agreed.AtSwitch
			if agreed.AtSwitch == capability.BorderKeep {
				b.Loses = append(b.Loses, fmt.Sprintf("a row of %s can be deleted only when the legacy copy of %s does not name it", k.To, k.From))
			}
		}
		p.plan.Border = append(p.plan.Border, b)
		p.judgeKey(k, agreed, ok)
	}
	for _, k := range dropped {
		known[k.Name] = true
		p.plan.Border = append(p.plan.Border, BorderPlan{Constraint: k.Name, From: k.From.String(), To: k.To.String(), AtSwitch: capability.BorderDrop, Dropped: true})
	}
	for _, b := range p.doc.Data.Border {
		if !known[b.Constraint] {
			p.refuse(capability.Problem{Path: "data.border", Line: b.Line, Value: b.Constraint, Message: "no foreign key of this name crosses the border", Mend: "take the entry out"})
		}
	}
	outside, err := crossingOf(ctx, extracted, distinct(relations(p.layout.moved(), capability.Extracted)))
	if err != nil {
		return err
	}
	for _, k := range outside {
		p.plan.Notes = append(p.plan.Notes, Remark{Side: capability.Extracted, Message: fmt.Sprintf("foreign key %s of %s to %s is not checked for rows that the mover writes, and its actions do not run for them", k.Name, k.From, k.To)})
	}
	return nil
}

func (p *planner) judgeKey(k ForeignKey, agreed capability.Border, ok bool) {
	outgoing := slices.Contains(relations(p.layout.moved(), capability.Legacy), k.From)
	switch {
	case !ok:
		p.refuse(capability.Problem{Path: "data.border", Value: k.Name, Message: fmt.Sprintf("foreign key %s from %s to %s crosses the border and is not agreed to", k.Name, k.From, k.To),
			Mend: fmt.Sprintf("add under data.border:  - {constraint: %s, at_switch: drop}", k.Name)})
	case agreed.AtSwitch == capability.BorderKeep && (!outgoing || k.Writes()):
		p.refuse(capability.Problem{Path: "data.border", Line: agreed.Line, Value: k.Name,
			Message: fmt.Sprintf("foreign key %s cannot be kept: it refers to a table that moves, or its actions write one", k.Name), Mend: "write at_switch: drop"})
	}
}

// loses says what a foreign key does today that nobody will do once it is
// dropped, or once its two ends are in different databases.
func loses(k ForeignKey, outgoing bool) []string {
	list := []string{fmt.Sprintf("a row of %s may name a row of %s that is not there", k.From, k.To)}
	verb := map[string]string{"c": "deletes from", "n": "sets NULL in", "d": "sets the default in"}
	if does, ok := verb[k.OnDelete]; ok {
		list = append(list, fmt.Sprintf("deleting from %s no longer %s %s", k.To, does, k.From))
	} else if !outgoing {
		list = append(list, fmt.Sprintf("rows of %s that %s names can be deleted", k.To, k.From))
	}
	verb["c"] = "carries over to"
	if does, ok := verb[k.OnUpdate]; ok {
		list = append(list, fmt.Sprintf("a changed key of %s no longer %s %s", k.To, does, k.From))
	}
	return list
}

// actions are a foreign key's, in words; empty where it only refuses.
func actions(k ForeignKey) string {
	words := map[string]string{"r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
	var list []string
	if w := words[k.OnDelete]; w != "" {
		list = append(list, "ON DELETE "+w)
	}
	if w := words[k.OnUpdate]; w != "" {
		list = append(list, "ON UPDATE "+w)
	}
	return strings.Join(list, " ")
}
