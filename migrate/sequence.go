package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"strangler/capability"
)

// carry computes what a target's sequence must have handed out last, so that it
// continues behind everything that the source's has handed out or that stands in
// the column, with a gap for numbers that applications have reserved. It never
// takes the target back. Only of one that goes round does the source's number say all:
// greater ones stand in the column from the round before.
func carry(source, target Sequence, extreme int64, found bool, gap int64) (int64, error) {
	if source.Cycle && source.Called {
		return within(target, source.further(source.steps(gap)))
	}
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
	return within(target, value)
}

func within(target Sequence, value int64) (int64, error) {
	if value < target.Min || value > target.Max {
		return 0, fmt.Errorf("sequence %s would stand at %d, outside %d to %d", target.Relation, value, target.Min, target.Max)
	}
	return value, nil
}

// stride is how far apart two of its numbers are.
func (s Sequence) stride() uint64 { return uint64(max(s.Increment, -s.Increment)) } //nolint:gosec // PostgreSQL takes no smaller increment than the least number plus one

// steps are how many numbers of a sequence that goes round a gap passes over: no more
// than a tenth of them, or it would come to those that are in use from behind.
func (s Sequence) steps(gap int64) uint64 {
	round := (uint64(s.Max) - uint64(s.Min)) / s.stride() //nolint:gosec // the difference is right, whatever the signs
	steps := (uint64(max(gap, 0)) + s.stride() - 1) / s.stride()
	return max(1, min(steps, round/10))
}

// further is where a sequence that goes round stands after that many numbers.
func (s Sequence) further(steps uint64) int64 {
	ahead, start := uint64(s.Max)-uint64(s.Last), s.Min //nolint:gosec // as above
	if s.Increment < 0 {
		ahead, start = uint64(s.Last)-uint64(s.Min), s.Max //nolint:gosec // as above
	}
	from := s.Last
	if left := ahead / s.stride(); steps > left {
		from, steps = start, steps-left-1
	}
	return from + int64(steps)*s.Increment //nolint:gosec // within the bounds
}

// matched is a sequence of the target with the source's that it continues.
type matched struct{ source, target Sequence }

// numbering is how the sequences of both sides belong together.
type numbering struct {
	pairs []matched
	// unmatched are sequences of the source that none of the target continues, alone
	// those of the target that continue none: they have to be beyond the rows.
	unmatched, alone []Sequence
	missing          map[capability.Side][]capability.Sequence // that the document names
	grants           map[capability.Side][]Sequence            // that may not be read and set
}

// number pairs the sequences of both sides: by the columns that they fill, and by
// the names that the document gives.
func number(ctx context.Context, source, target Database, from capability.Side, mappings []Mapping, named []capability.Sequence) (numbering, error) {
	n := numbering{missing: map[capability.Side][]capability.Sequence{}, grants: map[capability.Side][]Sequence{}}
	var tables, asked [2][]Relation
	for _, m := range mappings {
		tables[0], tables[1] = append(tables[0], m.From.Relation), append(tables[1], m.To.Relation)
	}
	for _, s := range named {
		asked[0], asked[1] = append(asked[0], ParseRelation(s.On(from))), append(asked[1], ParseRelation(s.On(from.Other())))
	}
	var filling, there [2][]Sequence
	var reading errgroup.Group // writes may be waiting
	for i, d := range []Database{source, target} {
		reading.Go(func() (err error) {
			filling[i], err = d.Sequences(ctx, distinct(tables[i]))
			return err
		})
		reading.Go(func() (err error) {
			there[i], err = d.NamedSequences(ctx, asked[i])
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		return n, err
	}
	for i := range filling {
		side := []capability.Side{from, from.Other()}[i]
		for _, s := range slices.Concat(filling[i], there[i]) {
			known := slices.ContainsFunc(n.grants[side], func(o Sequence) bool { return o.Relation == s.Relation })
			if s.Grant != "" && !known {
				n.grants[side] = append(n.grants[side], s)
			}
		}
	}
	n.pairs, n.unmatched = match(mappings, filling[0], filling[1])
	for i, s := range named {
		find := func(side int) int {
			return slices.IndexFunc(there[side], func(o Sequence) bool { return o.Relation == asked[side][i] })
		}
		here, over := find(0), find(1)
		if here < 0 {
			n.missing[from] = append(n.missing[from], s)
		}
		if over < 0 {
			n.missing[from.Other()] = append(n.missing[from.Other()], s)
		}
		if here >= 0 && over >= 0 {
			n.name(there[0][here], there[1][over], filling[0])
		}
	}
	for _, s := range filling[1] {
		moves := slices.ContainsFunc(mappings, func(m Mapping) bool { return m.To.Relation == s.Table && slices.Contains(m.ToColumns, s.Column) })
		if moves && !slices.ContainsFunc(n.pairs, func(p matched) bool { return p.target.Table == s.Table && p.target.Column == s.Column }) {
			n.alone = append(n.alone, s)
		}
	}
	return n, nil
}

// name pairs two sequences by the document's word. What stands in columns that the
// source's fills counts all the same.
func (n *numbering) name(source, target Sequence, filling []Sequence) {
	n.pairs = append(n.pairs, matched{source, target})
	for _, s := range filling {
		if s.Relation == source.Relation {
			n.pairs = append(n.pairs, matched{s, target})
		}
	}
	n.unmatched = slices.DeleteFunc(n.unmatched, func(s Sequence) bool { return s.Relation == source.Relation })
}

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

// incomplete says what keeps the sequences from being set.
func (n numbering) incomplete() (reasons []string) {
	for _, side := range capability.Sides {
		for _, s := range n.missing[side] {
			reasons = append(reasons, fmt.Sprintf("the %s database has no sequence %s, which sequences.named asks for", side, ParseRelation(s.On(side))))
		}
		for _, s := range n.grants[side] {
			reasons = append(reasons, fmt.Sprintf("the mover's role may not read and set sequence %s of the %s database: %s", s.Relation, side, s.Grant))
		}
	}
	return reasons
}

// carried is where sequences have to stand.
type carried struct {
	values  map[Relation]int64
	reasons []string // why some cannot
}

// set notes where one has to stand. One that fills several columns ends behind all
// of them.
func (c *carried) set(source, target Sequence, extreme int64, found bool, gap int64) {
	if before, ok := c.values[target.Relation]; ok {
		target.Last, target.Called = before, true
	}
	value, err := carry(source, target, extreme, found, gap)
	if err != nil {
		c.reasons = append(c.reasons, err.Error()+"; "+widened(target))
		return
	}
	c.values[target.Relation] = value
}

// widened is how a sequence comes to hold what a switch sets it to.
func widened(s Sequence) string {
	switch {
	case s.Cycle:
		return fmt.Sprintf("give it the bounds of the one that it goes on from: ALTER SEQUENCE %s MINVALUE … MAXVALUE …", s.SQL())
	case s.Type == "bigint":
		return fmt.Sprintf("lower sequences.gap, or ALTER SEQUENCE %s NO MAXVALUE NO MINVALUE", s.SQL())
	}
	return fmt.Sprintf("lower sequences.gap, or ALTER SEQUENCE %s AS bigint, with its column", s.SQL())
}

// carries computes where every sequence of the target has to stand: behind its
// counterpart, and those that have none behind the rows.
func carries(ctx context.Context, source, target Database, from capability.Side, mappings []Mapping, data *capability.Data) (carried, error) {
	c := carried{values: map[Relation]int64{}}
	n, err := number(ctx, source, target, from, mappings, data.Sequences)
	if err != nil {
		return c, err
	}
	if c.reasons = n.incomplete(); len(c.reasons) > 0 {
		return c, nil
	}
	standing := slices.DeleteFunc(n.alone, func(s Sequence) bool { return s.Cycle && s.Called }) // those have their place in their round
	filling := make([]Sequence, 0, len(n.pairs))
	for _, p := range n.pairs {
		filling = append(filling, p.source)
	}
	var inSource, inTarget []extreme
	var reading errgroup.Group
	reading.Go(func() (err error) { inSource, err = extremes(ctx, source, filling); return err })
	reading.Go(func() (err error) { inTarget, err = extremes(ctx, target, standing); return err })
	if err := reading.Wait(); err != nil {
		return c, err
	}
	for i, p := range n.pairs {
		c.set(p.source, p.target, inSource[i].value, inSource[i].found, data.Gap)
	}
	for i, s := range standing { // every row has arrived
		if last := inTarget[i]; last.found {
			rows := s
			rows.Last, rows.Called, rows.Cycle = last.value, true, false
			c.set(rows, s, last.value, true, data.Gap)
		}
	}
	return c, nil
}

// extreme is the number that is furthest in a sequence's direction, of those that stand
// in its column.
type extreme struct {
	value int64
	found bool
}

// atOnce is how many columns are asked for their last number at once: writes may be
// waiting, and each question is a way to the database and back.
const atOnce = 4

// extremes asks for that of each sequence, in their order.
func extremes(ctx context.Context, d Database, sequences []Sequence) ([]extreme, error) {
	found := make([]extreme, len(sequences))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, s := range sequences {
		group.Go(func() (err error) {
			found[i].value, found[i].found, err = d.Extreme(ctx, s)
			return err
		})
	}
	return found, group.Wait()
}

// carrySequences sets every sequence of the target. It may be repeated.
func carrySequences(ctx context.Context, source, target Database, from capability.Side, mappings []Mapping, data *capability.Data) error {
	c, err := carries(ctx, source, target, from, mappings, data)
	if err == nil && len(c.reasons) > 0 {
		err = errors.New(strings.Join(c.reasons, "; "))
	}
	if err != nil {
		return err
	}
	return target.SetSequences(ctx, c.values)
}

// sequences tells which sequences a switch sets, and where it sets none.
func (p *planner) sequences(ctx context.Context, legacy, extracted Database) error {
	n, err := number(ctx, legacy, extracted, capability.Legacy, mappings(p.layout.moved(), capability.Legacy), p.doc.Data.Sequences)
	if err != nil {
		return err
	}
	for _, m := range n.pairs {
		if name := m.source.Relation.String(); !slices.Contains(p.plan.Sequences, name) {
			p.plan.Sequences = append(p.plan.Sequences, name)
		}
		if (m.source.Increment > 0) != (m.target.Increment > 0) {
			path := "data.sequences"
			if m.source.Table.Name != "" {
				path = "data.tables." + m.source.Table.String()
			}
			p.refuse(capability.Problem{Path: path, Message: fmt.Sprintf("sequence %s counts up on one side and down on the other", m.source.Relation),
				Mend: "give both the same sign of INCREMENT"})
		} else {
			p.bounded(m)
		}
	}
	p.unnumbered(n)
	for _, s := range n.unmatched {
		p.plan.Notes = append(p.plan.Notes, Remark{Message: fmt.Sprintf("%s.%s draws from a sequence in the legacy database and from none in the extracted one: the service must find numbers of its own", s.Table, s.Column),
			Mend: fmt.Sprintf("- {sequence: %s, as: …} # under data.sequences.named, if it asks one by name", s.Relation)})
	}
	for _, s := range n.alone {
		p.plan.Notes = append(p.plan.Notes, Remark{Message: fmt.Sprintf("%s.%s draws from a sequence in the extracted database and from none in the legacy one: a cutover sets it behind the rows", s.Table, s.Column)})
	}
	return p.asked(ctx, legacy)
}

// bounded tells of a sequence that goes round, and of one that a switch could not set
// where it stands now.
func (p *planner) bounded(m matched) {
	note := func(mend, format string, args ...any) {
		n := Remark{Message: fmt.Sprintf(format, args...), Mend: mend}
		if !slices.Contains(p.plan.Notes, n) { // for one of its columns
			p.plan.Notes = append(p.plan.Notes, n)
		}
	}
	s, t, gap := m.source, m.target, p.doc.Data.Gap
	if s.Cycle && t.Cycle {
		note("", "sequence %s goes round (CYCLE, from %d to %d): a switch goes on %d behind the owner's number, whatever stands in the columns", s.Relation, s.Min, s.Max, s.steps(gap)*s.stride())
	}
	if s.Cycle != t.Cycle {
		round, ends, side := s, t, capability.Legacy
		if t.Cycle {
			round, ends, side = t, s, capability.Extracted
		}
		note(fmt.Sprintf("ALTER SEQUENCE %s CYCLE; -- in the %s database", ends.SQL(), side.Other()), "sequence %s goes round on the %s side only: on the other one, writes fail at the end of its numbers", round.Relation, side)
	}
	if s.Grant != "" || t.Grant != "" {
		return // where they stand is not known
	}
	if _, err := carry(s, t, 0, false, gap); err != nil {
		if p.plan.Begun {
			note(widened(t), "a switch would be refused now: %v", err)
			return
		}
		problem := capability.Problem{Path: "data.sequences", Message: err.Error(), Mend: widened(t)}
		if !slices.ContainsFunc(p.problems, func(o capability.Problem) bool { return o.Message == problem.Message }) {
			p.refuse(problem)
		}
	}
}

// unnumbered refuses sequences that a switch could not set.
func (p *planner) unnumbered(n numbering) {
	for _, side := range capability.Sides {
		for _, s := range n.missing[side] {
			problem := capability.Problem{Path: "data.sequences", Line: s.Line, Message: fmt.Sprintf("the %s database has no sequence %s", side, ParseRelation(s.On(side))), Mend: "strangler data plan " + p.doc.Name + " --create"}
			if side == capability.Legacy {
				problem.Mend = "write the name as the database has it, with its schema where that is not public"
			}
			p.refuse(problem)
		}
		for _, s := range n.grants[side] {
			if s.Owned {
				continue // has the owner of its table, which the role has to be a member of anyway
			}
			p.refuse(capability.Problem{Path: "data.sequences", Message: fmt.Sprintf("the mover's role may not read and set sequence %s of the %s database", s.Relation, side), Mend: s.Grant})
		}
	}
}

// asked tells of keys that nothing in the catalog makes, and of sequences that
// belong to nothing in it: writers may ask these by name for those.
func (p *planner) asked(ctx context.Context, legacy Database) error {
	var moved []Relation
	kinds := map[string][]string{}
	filled, err := legacy.Sequences(ctx, p.inside())
	if err != nil {
		return err
	}
	for i, d := range p.layout.all {
		if d.Mode != capability.Move {
			continue
		}
		moved = append(moved, d.From.Relation)
		f := p.facts[i]
		column, _ := d.From.Column(f.Number)
		if f.Number == "" || slices.ContainsFunc(filled, func(s Sequence) bool { return s.Table == d.From.Relation && s.Column == f.Number }) {
			continue
		}
		kind := "are made by the writers"
		switch {
		case len(f.NumberedBy) > 0:
			kind = "are drawn by a trigger"
		case column.Default != "":
			kind = "come from a default that names no sequence"
		}
		kinds[kind] = append(kinds[kind], fmt.Sprintf("%s (%s)", d.From.Relation, f.Number))
	}
	var names []string
	for _, s := range p.doc.Data.Sequences {
		names = append(names, ParseRelation(s.Sequence).String())
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		text := fmt.Sprintf("the keys of %s %s: a sequence that is asked by name for them has to be in the document, or both sides draw the same numbers", strings.Join(kinds[kind], ", "), kind)
		mend := "sequences: {named: [{sequence: …}]} # under data"
		if len(names) > 0 {
			text, mend = text+"; it names "+strings.Join(names, ", "), ""
		}
		p.plan.Notes = append(p.plan.Notes, Remark{Message: text, Mend: mend})
	}
	loose, err := legacy.LooseSequences(ctx, moved)
	if err != nil {
		return err
	}
	for _, s := range loose {
		if !slices.Contains(names, s.String()) {
			p.plan.Notes = append(p.plan.Notes, Remark{Message: fmt.Sprintf("sequence %s fills no column: if writers of these tables ask it by name, the document has to name it", s),
				Mend: fmt.Sprintf("- sequence: %s # under data.sequences.named", s)})
		}
	}
	return nil
}
