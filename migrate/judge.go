package migrate

import (
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// verdicts collects what stands against moving something and what a person
// should know of it.
type verdicts struct{ obstacles, notes []Remark }

func (v *verdicts) refuse(bad bool, mend, format string, args ...any) {
	if bad {
		v.obstacles = append(v.obstacles, Remark{Message: fmt.Sprintf(format, args...), Mend: mend})
	}
}

func (v *verdicts) note(worth bool, mend, format string, args ...any) {
	if worth {
		v.notes = append(v.notes, Remark{Message: fmt.Sprintf(format, args...), Mend: mend})
	}
}

// trial judges one pair by what the catalogs say of it.
type trial struct {
	verdicts
	Pair
	names       map[string]string // of all legacy columns on the extracted side
	beside      *beside           // of tables that become one; nil: of others
	here, there Facts
}

// judge says what stands against moving a pair, and what a person should know of
// it. Begun says that the target is expected to hold rows.
func judge(p Pair, renames map[string]string, here, there Facts, beside *beside, begun bool) verdicts {
	t := &trial{Pair: p, names: p.named(renames), here: here, there: there, beside: beside}
	t.ordinary(capability.Legacy, here)
	t.ordinary(capability.Extracted, there)
	t.portable()
	t.refuse(there.Filled && !begun, fmt.Sprintf("TRUNCATE %s; -- or, where an earlier move has left the rows: strangler data reset", p.Extracted.SQL()), "%s in the extracted database is not empty", p.Extracted.Relation)
	t.generated()
	t.narrower()
	t.remarks()
	t.mapped()
	t.divided()
	t.joined()
	return t.verdicts
}

// ordinary refuses what is no ordinary table on one side.
func (t *trial) ordinary(side capability.Side, f Facts) {
	table := t.On(side)
	name, alter := fmt.Sprintf("%s in the %s database", table.Relation, side), "ALTER TABLE "+table.SQL()+" "
	t.refuse(table.Kind != "r" && table.Kind != kindPartitioned, "leave it out", "%s is no ordinary table", name)
	t.refuse(f.Partition, fmt.Sprintf("name the table itself: %s; it moves with all of its partitions", f.Root), "%s is a partition of %s", name, f.Root)
	t.refuse(f.Inherits, "ALTER TABLE … NO INHERIT, or partition the table (PARTITION BY), or leave it out: what tables inherit from each other is not followed", "%s has parents or children by inheritance: %s", name, strings.Join(f.Family, ", "))
	t.partitions(side, f)
	t.refuse(f.Unlogged, alter+"SET LOGGED", "%s is unlogged: its changes are in no log", name)
	t.refuse(f.Forced != "", "ALTER ROLE "+f.Forced+" BYPASSRLS", "row level security may hide rows of %s from the mover", name)
	t.refuse(f.Subscribed, "DROP SUBSCRIPTION, or ALTER SUBSCRIPTION … REFRESH PUBLICATION after the table has left it", "%s is fed by a subscription, whose writes pass every guard", name)
	t.refuse(f.Deferred && table.KeyIndex == "", "drop the key and add it NOT DEFERRABLE", "the primary key of %s is deferrable, so the log cannot name rows by it", name)
	t.refuse(table.KeyIndex == "" && (f.ReplicaID == "n" || f.ReplicaID == "i"), alter+"REPLICA IDENTITY DEFAULT", "the log does not name rows of %s by the primary key", name)
	t.refuse(table.KeyIndex != "" && f.ReplicaID == "i" && f.ReplicaIndex != table.KeyIndex, alter+"REPLICA IDENTITY USING INDEX "+sqlName(table.KeyIndex), "the log names rows of %s by index %s, and the other side has the key of index %s", name, f.ReplicaIndex, table.KeyIndex)
	t.note(table.KeyIndex != "" && (f.ReplicaID == "d" || f.ReplicaID == "n"), "", "rows are known by index %s; data start runs: %sREPLICA IDENTITY USING INDEX %s", table.KeyIndex, alter, sqlName(table.KeyIndex))
	t.refuse(len(f.Invalid) > 0, "REINDEX INDEX "+strings.Join(f.Invalid, "; REINDEX INDEX "), "indexes of %s are not valid", name)
	t.refuse(len(f.Rules) > 0, each(f.Rules, "DROP RULE %s ON "+table.SQL()), "rules rewrite writes to %s: %s", name, strings.Join(f.Rules, ", "))
	t.refuse(len(f.Always) > 0, each(f.Always, alter+"ENABLE TRIGGER %s"), "triggers of %s fire for the mover's writes as well (ENABLE ALWAYS or REPLICA): %s", name, strings.Join(f.Always, ", "))
}

// partitions refuses what keeps a partition's rows from being followed.
func (t *trial) partitions(side capability.Side, f Facts) {
	for _, p := range f.Partitions {
		name := fmt.Sprintf("partition %s of %s in the %s database", p.Name, t.On(side).Relation, side)
		t.refuse(p.Unlogged, "ALTER TABLE "+p.Name+" SET LOGGED", "%s is unlogged: its changes are in no log", name)
		t.refuse(p.Unnamed, "ALTER TABLE "+p.Name+" REPLICA IDENTITY DEFAULT", "the log does not name rows of %s by the primary key", name)
		t.refuse(len(p.Always) > 0, each(p.Always, "ALTER TABLE "+p.Name+" ENABLE TRIGGER %s"), "triggers of %s fire for the mover's writes as well (ENABLE ALWAYS or REPLICA): %s", name, strings.Join(p.Always, ", "))
	}
	other := t.On(side.Other())
	t.note(t.On(side).Kind == kindPartitioned && !f.Default && (side == capability.Extracted || t.Mode == capability.Move),
		fmt.Sprintf("CREATE TABLE … PARTITION OF %s DEFAULT; -- or make new partitions there before the %s side needs them", t.On(side).SQL(), side.Other()),
		"a row of %s that fits no partition on the %s side stops %s", other.Relation, side, stops(side))
}

// each writes a statement for every name.
func each(names []string, statement string) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = fmt.Sprintf(statement, sqlName(n))
	}
	return strings.Join(list, "; ")
}

func (t *trial) remarks() {
	here, there := t.here, t.there
	moves := t.Mode == capability.Move
	t.note(len(here.Ordinary) > 0 && moves, "", "triggers of the legacy table stop firing when extracted owns it: %s", strings.Join(here.Ordinary, ", "))
	t.note(len(there.Ordinary) > 0, "", "triggers of the extracted table fire for the service's writes only: %s", strings.Join(there.Ordinary, ", "))
	for _, c := range t.Extracted.Columns {
		moved := t.fills(c.Name) || slices.Contains(t.Beside, c.Name)
		t.note(!moved && !c.Generated, "", "column %s exists only on the extracted side: it keeps its default, and is lost on the way back", c.Name)
	}
	for _, pair := range t.Columns {
		a, _ := t.Legacy.Column(pair.Legacy)
		b, _ := t.Extracted.Column(pair.Extracted)
		t.note(b.Identity == "always" && a.Identity != "always", fmt.Sprintf("ALTER TABLE %s ALTER %s SET GENERATED BY DEFAULT", t.Extracted.SQL(), sqlName(b.Name)),
			"column %s takes no number of an application's own on the extracted side (GENERATED ALWAYS)", b.Name)
	}
	t.note(here.ReplicaID == "f", "", "REPLICA IDENTITY FULL on the legacy table writes every old row into the log")
	t.note(!same(here.Policies, there.Policies) && moves, "", "row level security differs: policies %s on the legacy table, %s on the extracted one", listed(here.Policies), listed(there.Policies))
	t.note(len(here.Publications) > 0 && moves, "", "others are subscribed (publications %s): until retire they get the mover's copies of what extracted writes, then nothing", strings.Join(here.Publications, ", "))
}

func same(a, b []string) bool { return slices.Equal(sorted(a), sorted(b)) }

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
