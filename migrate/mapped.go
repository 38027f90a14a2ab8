package migrate

import (
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// under is what a legacy column is on the extracted side: the one that it moves
// to, or that both sides generate; empty where it stays behind, or others are
// computed from it.
func (p Pair) under(c Column, renames map[string]string) string {
	as := c.Name
	if renamed, ok := renames[c.Name]; ok {
		as = renamed
	}
	to, there := p.Extracted.Column(as)
	moves := slices.Contains(p.Columns, ColumnPair{c.Name, as})
	if moves || there && (c.Generated || to.Generated) && !p.computes(c.Name, as) || !there && c.Generated {
		return as
	}
	return ""
}

// fills says whether the mapping writes a column of the extracted table.
func (p Pair) fills(extracted string) bool {
	return contains(p.Forward, extracted) || slices.ContainsFunc(p.Columns, func(c ColumnPair) bool { return c.Extracted == extracted })
}

// overComputed says whether a constraint of the extracted table is over a column
// that is computed.
func (t *trial) overComputed(u Unique) bool {
	return slices.ContainsFunc(u.Columns, func(name string) bool { return contains(t.Forward, name) })
}

// mapped remarks on what the mapping leaves behind, or cannot bring back.
func (t *trial) mapped() {
	t.empty(capability.Extracted, t.Forward)
	if t.Mode == capability.Copy {
		return
	}
	t.empty(capability.Legacy, t.Reverse)
	for _, c := range t.Legacy.Columns {
		moves := slices.ContainsFunc(t.Columns, func(p ColumnPair) bool { return p.Legacy == c.Name })
		_, there := t.Extracted.Column(t.names[c.Name])
		t.note(!moves && !there && !c.Generated && !contains(t.Reverse, c.Name) && !slices.Contains(t.Elsewhere, c.Name), "", "column %s of the legacy table stays behind: a row that comes back keeps what it has there, and one that extracted inserts gets the default", c.Name)
	}
	t.note(t.Lossy, "", "the way back may lose something (reverse: lossy): a verification compares only what goes from the owner to the other side")
	t.note(t.Where != nil, "", "rows of the legacy table for which this is not true stay where they are, and so does whoever writes them: the gate shuts the whole table")
}

// empty tells of columns that take no NULL, which only rows can tell of what is
// computed.
func (t *trial) empty(side capability.Side, computed []Computed) {
	for _, c := range computed {
		column, _ := t.On(side).Column(c.Column)
		t.note(column.NotNull && !c.Constant, fmt.Sprintf("ALTER TABLE %s ALTER %s DROP NOT NULL", t.On(side).SQL(), sqlName(c.Column)),
			"column %s is NOT NULL on the %s side and computed: where that gives NULL it stops %s", c.Column, side, stops(side))
	}
}

// whole says why changes read from the log must bring old rows whole, on the side
// that they come from; empty: they need not.
func (p Pair) whole(from capability.Side) string {
	m := p.Direct(from)
	if m.Where != nil {
		return "a row is known to enter or leave what moves only by its old values"
	}
	for _, c := range m.Computed {
		if len(c.Inputs) > 1 && len(c.Large) > 0 {
			return fmt.Sprintf("%s is computed from %s, and an update that leaves a large value alone does not send it", c.Column, strings.Join(c.Inputs, ", "))
		}
	}
	return ""
}

// identity refuses replica identities that bring too little of old rows. A partition
// has one of its own, and those that one table hands on are of no use.
func (p *planner) identity(pair Pair, side capability.Side, f Facts) {
	if side == capability.Extracted && pair.Mode == capability.Copy || p.captures[side].kind != capability.CaptureWAL {
		return
	}
	var brief []Relation
	var names []string
	if f.ReplicaID != "f" {
		brief = append(brief, pair.On(side).Relation)
	}
	for _, partition := range f.Partitions {
		if partition.Brief {
			brief, names = append(brief, partition.Relation), append(names, partition.Name)
		}
	}
	if why := pair.whole(side); why != "" && len(brief) > 0 {
		parts := ""
		if len(names) == len(brief) {
			parts = fmt.Sprintf(" in partitions (%s)", strings.Join(names, ", "))
		}
		p.refuse(capability.Problem{Path: p.path(pair), Line: p.line(pair),
			Message: fmt.Sprintf("the log of the %s database does not bring old rows of %s whole%s: %s", side, pair.On(side).Relation, parts, why),
			Mend:    replicateWhole(brief)})
	}
}

// replicateWhole are the statements by which the log brings old rows whole.
func replicateWhole(tables []Relation) string {
	statements := make([]string, len(tables))
	for i, t := range tables {
		statements[i] = "ALTER TABLE " + t.SQL() + " REPLICA IDENTITY FULL"
	}
	return strings.Join(statements, "; ")
}
