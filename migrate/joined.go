package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"strangler/capability"
)

// Two legacy tables that the document gives one name become one of the extracted
// side: what divided.go does, with the sides exchanged. Each is a pair of its own.
// A row is there when both halves are, so that both tables have the same rows under
// the same key, and every other column of the extracted table comes from one of them.

// filled are the extracted columns that one entry of the document fills, or would
// with the table that --create makes for it, and the legacy columns that fill them;
// "computed" where an expression does.
func filled(doc capability.Table, here, there Table, e expressed) map[string]string {
	m := &matching{doc: doc, Pair: Pair{Legacy: here, Extracted: there, Forward: e.forward, Reverse: e.reverse}}
	absent := left(doc, here)
	list := map[string]string{}
	for _, c := range doc.Computed {
		list[c.Column] = "computed"
	}
	for _, c := range here.Columns {
		as, _, is := m.target(c.Name)
		if there.Kind == "" {
			is = !slices.Contains(absent, c.Name)
		}
		if is && !slices.Contains(doc.Omit, c.Name) && list[as] == "" {
			list[as] = c.Name
		}
	}
	return list
}

// partner is the entry whose table becomes one with that of another.
func partner(parts []part, i int) (part, bool) {
	for j, p := range parts {
		if j != i && p.doc.Joined && parts[i].doc.Joined && p.there.Relation == parts[i].there.Relation {
			return p, true
		}
	}
	return part{}, false
}

// twiceFilled reports columns of a joined table that both halves would fill, with the
// second of them. The key, by its names there, is in both.
func twiceFilled(parts []part, i int, key []string) []capability.Problem {
	other, ok := partner(parts, i)
	if !ok || !slices.ContainsFunc(parts[:i], func(p part) bool { return p.doc.Table == other.doc.Table }) {
		return nil
	}
	p := parts[i]
	var problems []capability.Problem
	for _, name := range slices.Sorted(maps.Keys(p.fills)) {
		column, _ := p.there.Column(name)
		if other.fills[name] == "" || slices.Contains(key, name) || column.Generated {
			continue
		}
		mend := "take it out of columns: of one of them"
		if p.fills[name] != "computed" {
			mend = "leave it out of one of them by `omit: [" + p.fills[name] + "]`, or give one of them another name under columns:"
		}
		problems = append(problems, capability.Problem{Path: entry(p.doc), Line: p.doc.Line, Value: name,
			Message: fmt.Sprintf("column %q of %s comes from both %s and %s: nobody could say which of the two values it has", name, renamedTable(p.doc), other.here.Relation, p.here.Relation), Mend: mend})
	}
	return problems
}

// oneOfTwo reports what keeps a table from becoming one with another.
func oneOfTwo(parts []part, i int, pairs []Pair, p Pair) []capability.Problem {
	for _, other := range pairs {
		if other.Extracted.Relation != p.Extracted.Relation || other.Extracted.KeyIndex == p.Extracted.KeyIndex && slices.Equal(sorted(other.Extracted.Key), sorted(p.Extracted.Key)) {
			continue
		}
		return []capability.Problem{{Path: entry(parts[i].doc), Line: parts[i].doc.Line, Value: strings.Join(p.Extracted.Key, ", "),
			Message: fmt.Sprintf("rows of %s are known by another key in %s than in %s (%s)", p.Extracted.Relation, p.Legacy.Relation, other.Legacy.Relation, strings.Join(other.Extracted.Key, ", ")),
			Mend:    "give both tables a key over the same columns of the one that they become"}}
	}
	return twiceFilled(parts, i, p.Extracted.Key)
}

// joined judges what two tables that become one ask of the monolith.
func (t *trial) joined() {
	if t.Partner == "" {
		return
	}
	t.refuse(t.Legacy.Kind == kindPartitioned, "leave both out, or let each move to a table of its own",
		"%s is partitioned, and becomes one with %s: a partition that is attached with rows would bring halves that nobody looks for", t.Legacy.Relation, t.Partner)
	t.note(true, "", "it becomes one with %s: the monolith writes a row of %s and its row of %s in one transaction, or the stream stops there", t.Partner, t.Legacy.Relation, t.Partner)
}

// beside is what the table that becomes one with this refuses rows by, under the
// names of the extracted side.
type beside struct {
	table Table
	facts Facts
	names map[string]string
}

// covers says whether rows that the other half allows cannot break a constraint of
// the joined table.
func (b *beside) covers(u Unique) bool {
	return b != nil && covered(u, b.table, b.facts.Uniques, b.names)
}

// has says whether the other half has a check of the joined table.
func (b *beside) has(c Check) bool {
	return b != nil && slices.ContainsFunc(b.facts.Checks, func(l Check) bool { return sameText(l.Definition, c.Definition, b.names) })
}

// elsewhereAlone says whether a constraint is over nothing of this half's but the
// key: then it is the other half's to judge.
func (t *trial) elsewhereAlone(u Unique) bool {
	return t.Partner != "" && len(u.Columns) > 0 && !slices.ContainsFunc(u.Columns, func(name string) bool {
		return !slices.Contains(t.Beside, name) && !slices.Contains(t.Extracted.Key, name)
	}) && slices.ContainsFunc(u.Columns, func(name string) bool { return slices.Contains(t.Beside, name) })
}

// besides finds the other half of a pair, with the facts of the legacy tables in the
// order of the document.
func (p *planner) besides(pair Pair, here []Facts) *beside {
	if pair.Partner == "" {
		return nil
	}
	for _, other := range p.layout.pairs {
		if other.Extracted.Relation != pair.Extracted.Relation || other.Legacy.Relation == pair.Legacy.Relation {
			continue
		}
		for i, d := range p.layout.all {
			if d.From.Relation == other.Legacy.Relation {
				return &beside{table: other.Legacy, facts: here[i], names: other.named(d.Rename)}
			}
		}
	}
	return nil
}

// named are the extracted names of a pair's legacy columns.
func (p Pair) named(renames map[string]string) map[string]string {
	names := map[string]string{}
	for _, c := range p.Legacy.Columns {
		if as := p.under(c, renames); as != "" {
			names[c.Name] = as
		}
	}
	return names
}

// halves refuses rows of the legacy tables that have no other half there. Once the
// move has begun its streams stop at such rows, and its copy counts them again.
func (p *planner) halves(ctx context.Context, legacy, _ Database) (err error) {
	if p.plan.Begun {
		return nil
	}
	for _, m := range wholes(mappings(p.layout.pairs, capability.Legacy)) {
		if m.Halves == nil || p.unfit(m.Halves) { // keys that do not fit cannot be compared
			continue
		}
		n, err := p.alone(ctx, legacy, m)
		if err != nil {
			return err
		}
		if n.any() {
			p.refuse(capability.Problem{Path: p.path(m.Halves[1].Pair), Line: p.line(m.Halves[1].Pair), Message: n.of(m), Mend: n.mend(m)})
		}
	}
	return nil
}

// unfit says that a problem is about the mapping of one of these.
func (p *planner) unfit(halves []Mapping) bool {
	return slices.ContainsFunc(p.layout.problems, func(problem capability.Problem) bool {
		return slices.ContainsFunc(halves, func(m Mapping) bool { return problem.Path == p.path(m.Pair) })
	})
}

func (p *planner) alone(ctx context.Context, legacy Database, m Mapping) (n Alone, err error) {
	err = untilRead(ctx, func(string) {}, func() (err error) {
		rows, err := legacy.OpenRows(ctx, "")
		if err != nil {
			return err
		}
		defer func() { err = closing(err, rows) }()
		n, err = rows.Unpaired(ctx, m.Source())
		return err
	})
	return n, err
}

// Alone are how many rows of either of two tables have no other half.
type Alone [2]int64

func (n Alone) any() bool { return n[0]+n[1] > 0 }

func (n Alone) of(m Mapping) string {
	a, b := m.Halves[0].From.Relation, m.Halves[1].From.Relation
	return fmt.Sprintf("%d rows of %s have no row in %s under their key (%s), and %d of %s none in %s: the two are halves of one table of the other side", n[0], a, b, strings.Join(m.FromKey, ", "), n[1], b, a)
}

func (Alone) mend(m Mapping) string {
	a, b := m.Halves[0], m.Halves[1]
	on := make([]string, len(a.FromKey))
	for i, name := range a.FromKey {
		on[i] = "a." + sqlName(name) + " = b." + sqlName(b.FromKey[slices.Index(b.ToKey, a.ToKey[i])])
	}
	return fmt.Sprintf("give each its other half, or delete it; they are: SELECT * FROM %s a FULL JOIN %s b ON %s WHERE a.%s IS NULL OR b.%s IS NULL",
		a.From.SQL(), b.From.SQL(), strings.Join(on, " AND "), sqlName(a.FromKey[0]), sqlName(b.FromKey[0]))
}
