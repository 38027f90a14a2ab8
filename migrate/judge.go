package migrate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"strangler/capability"
)

// obstacle is one reason not to move a table, and what to do about it.
type obstacle struct{ message, mend string }

// untransferable are types whose values mean something only in the database that
// they come from.
var untransferable = []string{"oid", "regclass", "regproc", "regprocedure", "regoper", "regoperator", "regtype", "regrole", "regnamespace", "regconfig", "regdictionary", "lo", "public.lo"}

// judge says what stands against moving a pair, and what a person should know of
// it. Begun says that the target is expected to hold rows.
func judge(p Pair, here, there Facts, begun bool) (obstacles []obstacle, notes []string) {
	refuse := func(bad bool, mend, format string, args ...any) {
		if bad {
			obstacles = append(obstacles, obstacle{fmt.Sprintf(format, args...), mend})
		}
	}
	for _, side := range capability.Sides {
		t, f := p.On(side), here
		if side == capability.Extracted {
			f = there
		}
		name := fmt.Sprintf("%s in the %s database", t.Relation, side)
		refuse(t.Kind == "p", "move tables that are not partitioned; this version does not follow partitions", "%s is partitioned", name)
		refuse(t.Kind != "r" && t.Kind != "p", "leave it out", "%s is no ordinary table", name)
		refuse(f.Partition || f.Inherits, "leave it out; this version does not follow inheritance", "%s is a partition, or has parents or children", name)
		refuse(f.Unlogged, "ALTER TABLE … SET LOGGED", "%s is unlogged: its changes are in no log", name)
		refuse(f.Forced, "ALTER ROLE of the mover BYPASSRLS", "row level security may hide rows of %s from the mover", name)
		refuse(f.Subscribed, "drop the subscription first", "%s is fed by a subscription, whose writes pass every guard", name)
		refuse(f.Deferred, "make the key NOT DEFERRABLE", "the primary key of %s is deferrable, so the log cannot name rows by it", name)
		refuse(f.ReplicaID == "n" || f.ReplicaID == "i", "ALTER TABLE … REPLICA IDENTITY DEFAULT", "the log does not name rows of %s by the primary key", name)
		refuse(len(f.Invalid) > 0, "REINDEX INDEX "+strings.Join(f.Invalid, "; REINDEX INDEX "), "indexes of %s are not valid", name)
		refuse(len(f.Rules) > 0, "drop the rules", "rules rewrite writes to %s: %s", name, strings.Join(f.Rules, ", "))
		refuse(len(f.Always) > 0, "ALTER TABLE … ENABLE TRIGGER, so that they fire for applications only",
			"triggers of %s fire for the mover's writes as well (ENABLE ALWAYS): %s", name, strings.Join(f.Always, ", "))
	}
	for _, c := range p.Columns {
		column, _ := p.Legacy.Column(c.Legacy)
		refuse(slices.Contains(untransferable, strings.TrimSuffix(column.Type, "[]")), "move what it refers to by hand and leave the column out", "column %s is of type %s, whose values mean nothing in another database", c.Legacy, column.Type)
	}
	for _, name := range slices.Sorted(maps.Keys(here.Enums)) {
		if labels, ok := there.Enums[name]; ok {
			refuse(!slices.Equal(labels, here.Enums[name]), "ALTER TYPE "+name+" ADD VALUE … until both have the same in the same order", "type %s has other labels in the extracted database", name)
		}
	}
	refuse(there.Filled && !begun, "empty the table, or strangler data reset what an earlier move has left", "%s in the extracted database is not empty", p.Extracted.Relation)
	return obstacles, remarks(p, here, there)
}

func remarks(p Pair, here, there Facts) (notes []string) {
	if len(here.Ordinary) > 0 && p.Mode == capability.Move {
		notes = append(notes, fmt.Sprintf("triggers of the legacy table stop firing when extracted owns it: %s", strings.Join(here.Ordinary, ", ")))
	}
	if len(there.Ordinary) > 0 {
		notes = append(notes, fmt.Sprintf("triggers of the extracted table fire for the service's writes only: %s", strings.Join(there.Ordinary, ", ")))
	}
	for _, c := range p.Extracted.Columns {
		if !slices.ContainsFunc(p.Columns, func(pair ColumnPair) bool { return pair.Extracted == c.Name }) && !c.Generated {
			notes = append(notes, fmt.Sprintf("column %s exists only on the extracted side: it keeps its default, and is lost on the way back", c.Name))
		}
	}
	if here.ReplicaID == "f" {
		notes = append(notes, "REPLICA IDENTITY FULL on the legacy table writes every old row into the log")
	}
	return notes
}
