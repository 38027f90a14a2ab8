package migrate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// finding is what becomes of a move whose tables are not as they were.
type finding struct {
	different bool
	// waits are what keeps it from going on, with what a person can do; then it goes
	// on by itself.
	waits []string
	// ends are what it cannot go on from without a comparison of all rows.
	ends []string
	// lost are what it cannot go on from at all.
	lost []string
}

// differences holds the tables as they are against those that were followed.
func differences(now layout, followed []Pair) finding {
	var j finding
	if len(followed) != len(now.seen) {
		j.lost = append(j.lost, "the document lists other tables than those that the move began with")
		return j
	}
	for i, s := range now.seen {
		at := slices.IndexFunc(followed, func(p Pair) bool { return p.Legacy.is(s.legacy) && (!s.doc.Divided || p.Extracted.is(s.extracted)) })
		if at < 0 || followed[at].Mode != s.doc.Mode {
			j.lost = append(j.lost, fmt.Sprintf("the document lists table %s, or its mode, since the move has begun", s.doc.Table))
			continue
		}
		a := &altered{doc: s.doc, was: followed[at], legacy: s.legacy, extracted: s.extracted}
		for _, p := range now.problems {
			if p.Path == entry(s.doc) {
				a.problems = append(a.problems, p)
			}
		}
		for _, other := range now.seen[:i] {
			a.told = a.told || s.doc.Divided && other.legacy.Relation == s.legacy.Relation
		}
		if i := slices.IndexFunc(now.pairs, func(p Pair) bool {
			return p.Legacy.Relation == s.legacy.Relation && p.Extracted.Relation == s.extracted.Relation
		}); i >= 0 {
			a.is = now.pairs[i]
		}
		a.judge(&j)
	}
	return j
}

// altered is one table that may not be as it was.
type altered struct {
	doc               capability.Table
	was, is           Pair // is: empty where the tables do not fit
	legacy, extracted Table
	problems          []capability.Problem

	statements map[capability.Side][]string
	notes      []string // what a person may do besides
	omit       []string // what the document may leave behind instead
	instead    []string // what it may rename instead
	what       []string // that has changed, for people
	rewritten  []string // rows that came in no stream
	told       bool     // what is new in the legacy table was told with another part of it
}

// is says that a table is another one's present form.
func (t Table) is(now Table) bool {
	return t.ID == now.ID && now.ID != 0 || t.Relation == now.Relation
}

func (a *altered) on(side capability.Side) Table {
	if side == capability.Legacy {
		return a.legacy
	}
	return a.extracted
}

func (a *altered) judge(j *finding) {
	for _, side := range capability.Sides {
		was, is := a.was.On(side), a.on(side)
		switch {
		case is.Kind == "":
			j.different = true
			j.waits = append(j.waits, fmt.Sprintf("the %s database has no table %s any more: if it was renamed or moved, rename it back; then it goes on by itself", side, is.Relation))
			return
		case was.ID != is.ID:
			j.lost = append(j.lost, fmt.Sprintf("table %s of the %s database was dropped and made anew", is.Relation, side))
			return
		}
		j.different = j.different || !sameTable(was, is) || was.File != is.File
	}
	a.statements = map[capability.Side][]string{}
	a.columns()
	a.added()
	a.keys()
	switch {
	case len(a.rewritten) > 0:
		j.different = true
		j.ends = append(j.ends, a.say(strings.Join(a.rewritten, "; ")))
	case len(a.what) > 0 || len(a.problems) > 0:
		j.different = true
		j.waits = append(j.waits, a.say("")+"; then it goes on by itself")
	default:
		if why := a.remapped(); why != "" {
			j.different = true
			j.ends = append(j.ends, why)
		}
		j.different = j.different || !samePair(a.was, a.is)
	}
}

// say tells what has changed and what to do.
func (a *altered) say(why string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s", a.legacy.Relation)
	what := slices.Clone(a.what)
	if why != "" {
		what = append(what, why)
	}
	todo := len(a.statements)+len(a.notes)+len(a.instead) > 0
	if len(what) > 0 {
		b.WriteString(" " + strings.Join(what, ", and "))
	}
	if !todo {
		for _, p := range a.problems {
			fmt.Fprintf(&b, ": %s: %s", p.Message, p.Mend)
		}
	}
	for _, side := range capability.Sides {
		if list := a.statements[side]; len(list) > 0 {
			fmt.Fprintf(&b, "; run in the %s database: %s", side, strings.Join(list, "; "))
		}
	}
	for _, n := range a.notes {
		b.WriteString("; " + n)
	}
	if len(a.instead) > 0 {
		or := ""
		if len(a.statements) > 0 {
			or = "or "
		}
		fmt.Fprintf(&b, "; %swrite `columns: {%s}`", or, strings.Join(a.instead, ", "))
	}
	if len(a.omit) > 0 {
		fmt.Fprintf(&b, "; or leave behind what need not move: `omit: [%s]`", strings.Join(a.omit, ", "))
	}
	return b.String()
}

func (a *altered) run(side capability.Side, format string, args ...any) {
	a.statements[side] = append(a.statements[side], "ALTER TABLE "+a.on(side).SQL()+" "+fmt.Sprintf(format, args...))
}

func (a *altered) note(format string, args ...any) {
	a.notes = append(a.notes, fmt.Sprintf(format, args...))
}

func (a *altered) changed(format string, args ...any) {
	a.what = append(a.what, fmt.Sprintf(format, args...))
}

// fills says whether the present mapping fills a column of the extracted table.
func (a *altered) fills(column string) bool {
	return slices.ContainsFunc(a.is.Columns, func(p ColumnPair) bool { return p.Extracted == column }) || contains(a.is.Forward, column)
}

// columns looks at those that moved.
func (a *altered) columns() {
	renames := map[capability.Side][][2]string{}
	for _, p := range a.was.Columns {
		hereWas, _ := a.was.Legacy.Column(p.Legacy)
		thereWas, _ := a.was.Extracted.Column(p.Extracted)
		here, isHere := a.legacy.Numbered(hereWas.Number)
		there, isThere := a.extracted.Numbered(thereWas.Number)
		switch {
		case isHere && isThere:
			a.renamed(renames, hereWas, here, thereWas, there)
			a.retyped(hereWas, here, thereWas, there)
		case isThere && !a.fills(there.Name):
			a.changed("has lost column %s on the legacy side", p.Legacy)
			a.run(capability.Extracted, "DROP COLUMN %s", sqlName(there.Name))
		case isHere && !slices.Contains(a.doc.Omit, here.Name) && !a.moves(here.Name):
			a.changed("has lost column %s on the extracted side", p.Extracted)
			a.run(capability.Legacy, "DROP COLUMN %s", sqlName(here.Name))
			a.omit = append(a.omit, here.Name)
		}
	}
	for _, side := range capability.Sides {
		a.rename(side, renames[side])
	}
}

// moves says whether the present mapping takes a column of the legacy table.
func (a *altered) moves(column string) bool {
	return slices.ContainsFunc(a.is.Columns, func(p ColumnPair) bool { return p.Legacy == column })
}

// renamed looks at the names of a column that both sides still have.
func (a *altered) renamed(renames map[capability.Side][][2]string, hereWas, here, thereWas, there Column) {
	want := cmp.Or(a.doc.Columns[here.Name], here.Name)
	if there.Name == want || slices.Contains(a.doc.Omit, here.Name) {
		return
	}
	if here.Name != hereWas.Name {
		a.changed("has column %s renamed to %s on the legacy side", hereWas.Name, here.Name)
		if a.doc.Columns[hereWas.Name] == "" { // or else the document names it, and must be changed anyway
			renames[capability.Extracted] = append(renames[capability.Extracted], [2]string{there.Name, want})
		}
		a.instead = append(a.instead, here.Name+": "+there.Name)
	}
	if there.Name == thereWas.Name || here.Name != hereWas.Name {
		return
	}
	a.changed("has column %s renamed to %s on the extracted side", thereWas.Name, there.Name)
	if a.doc.Columns[here.Name] == "" {
		renames[capability.Legacy] = append(renames[capability.Legacy], [2]string{here.Name, there.Name})
	}
	a.instead = append(a.instead, here.Name+": "+there.Name)
}

// rename writes statements that give columns their names, through another one where
// they take them from each other.
func (a *altered) rename(side capability.Side, list [][2]string) {
	for len(list) > 0 {
		at := slices.IndexFunc(list, func(r [2]string) bool {
			return !slices.ContainsFunc(list, func(other [2]string) bool { return other[0] == r[1] })
		})
		if at < 0 {
			a.run(side, "RENAME COLUMN %s TO strangler_aside", sqlName(list[0][0]))
			list[0][0] = "strangler_aside"
			continue
		}
		a.run(side, "RENAME COLUMN %s TO %s", sqlName(list[at][0]), sqlName(list[at][1]))
		list = slices.Delete(list, at, at+1)
	}
}

// retyped looks at the types of a column that both sides still have.
func (a *altered) retyped(hereWas, here, thereWas, there Column) {
	sides := map[capability.Side][2]Column{capability.Legacy: {hereWas, here}, capability.Extracted: {thereWas, there}}
	for _, side := range capability.Sides {
		was, is := sides[side][0], sides[side][1]
		other := sides[side.Other()][1]
		if was.Type == is.Type {
			continue
		}
		if a.was.On(side).File != a.on(side).File {
			a.rewritten = append(a.rewritten, fmt.Sprintf("has the type of column %s changed to %s on the %s side, whose rows were written anew", is.Name, is.Type, side))
		} else if other.Type != is.Type {
			a.changed("has the type of column %s changed to %s on the %s side", is.Name, is.Type, side)
		}
		if other.Type != is.Type && other.Type == sides[side.Other()][0].Type {
			a.run(side.Other(), "ALTER COLUMN %s TYPE %s", sqlName(other.Name), is.Type)
		}
	}
}

// added looks at columns that one side has got.
func (a *altered) added() {
	for _, c := range a.legacy.Columns {
		if _, was := a.was.Legacy.Numbered(c.Number); was || c.Generated || slices.Contains(a.doc.Omit, c.Name) || contains(a.was.Reverse, c.Name) || inputs(a.was.Forward, c.Name) {
			continue
		}
		as := cmp.Or(a.doc.Columns[c.Name], c.Name)
		there, ok := a.extracted.Column(as)
		if _, was := a.was.Extracted.Numbered(there.Number); ok && was {
			continue // it was there without a partner, with values that a comparison looks at
		}
		if !ok && (a.told || slices.Contains(a.is.Elsewhere, c.Name)) {
			continue
		}
		if a.was.Legacy.File != a.legacy.File {
			a.rewritten = append(a.rewritten, fmt.Sprintf("has got column %s on the legacy side, whose rows were written anew", c.Name))
			c.Missing = nil
		}
		switch {
		case !ok:
			if len(a.rewritten) == 0 {
				a.changed("has got column %s on the legacy side", c.Name)
			}
			a.add(c, as)
		case a.was.Extracted.File != a.extracted.File && len(a.rewritten) == 0:
			a.rewritten = append(a.rewritten, fmt.Sprintf("has got column %s on the extracted side, whose rows were written anew", as))
		case c.Type == there.Type && !sameMissing(c, there):
			a.rewritten = append(a.rewritten, fmt.Sprintf("has got column %s, and old rows have another value in it on the legacy side than on the extracted one", c.Name))
		}
	}
}

func sameMissing(a, b Column) bool {
	if a.Missing == nil || b.Missing == nil {
		return a.Missing == b.Missing
	}
	return *a.Missing == *b.Missing
}

// add writes the statement that gives the extracted table a column of the legacy
// one, with the value that its old rows have.
func (a *altered) add(c Column, as string) {
	sql := sqlName(as) + " " + c.Type
	if c.Collation != "" {
		sql += " COLLATE " + c.Collation
	}
	literal := ""
	if c.Missing != nil {
		literal = quoted(*c.Missing)
		sql += " DEFAULT " + literal
	}
	a.run(capability.Extracted, "ADD COLUMN %s", sql)
	switch {
	case c.Identity != "":
		a.note("and later make it an identity column there, if it is to be one")
	case c.Default != "" && (literal == "" || c.Default != *c.Missing && c.Default != literal && !strings.HasPrefix(c.Default, literal+"::")):
		a.note("and later its default there, which is (%s) in the legacy database", c.Default)
	}
	if c.NotNull {
		a.note("and NOT NULL there when it follows again")
	}
	a.omit = append(a.omit, c.Name)
}

// keys looks at the primary keys, by the numbers of their columns.
func (a *altered) keys() {
	for _, side := range capability.Sides {
		was, is := a.was.On(side), a.on(side)
		if is.keeps(was) {
			continue
		}
		if other := side.Other(); a.on(other).keeps(a.was.On(other)) {
			a.changed("has lost its key on the %s side", side)
			if was.KeyIndex == "" {
				a.note("make (%s) its primary key again", sqlNames(was.Key))
			} else {
				a.note("make its unique index %s over (%s) again, and REPLICA IDENTITY USING INDEX %s", was.KeyIndex, sqlNames(was.Key), was.KeyIndex)
			}
		} else {
			a.rewritten = append(a.rewritten, "has lost its key on both sides")
		}
	}
}

func (t Table) numbers(columns []string) []int16 {
	list := make([]int16, len(columns))
	for i, name := range columns {
		list[i] = t.numberOf(name)
	}
	return list
}

// remapped says why the present mapping of tables that fit is another one than the
// one that was followed.
func (a *altered) remapped() string {
	paired := func(p Pair) map[[2]int16]bool {
		set := map[[2]int16]bool{}
		for _, c := range p.Columns {
			set[[2]int16{p.Legacy.numberOf(c.Legacy), p.Extracted.numberOf(c.Extracted)}] = true
		}
		return set
	}
	if now := a.is.Legacy; now.KeyIndex != a.was.Legacy.KeyIndex || !slices.Equal(now.numbers(now.Key), a.was.Legacy.numbers(a.was.Legacy.Key)) {
		return fmt.Sprintf("table %s: its rows are known by another key (%s)", a.legacy.Relation, sqlNames(now.Key))
	}
	was, is := paired(a.was), paired(a.is)
	moves, fills := map[int16]bool{}, map[int16]bool{}
	for pair := range was {
		moves[pair[0]], fills[pair[1]] = true, true
	}
	for _, c := range a.is.Columns {
		pair := [2]int16{a.is.Legacy.numberOf(c.Legacy), a.is.Extracted.numberOf(c.Extracted)}
		_, here := a.was.Legacy.Numbered(pair[0])
		_, there := a.was.Extracted.Numbered(pair[1])
		switch {
		case was[pair]:
		case here && there:
			return fmt.Sprintf("table %s: column %s moves as %s now, which it did not", a.legacy.Relation, c.Legacy, c.Extracted)
		case moves[pair[0]] || fills[pair[1]]: // and some of its changes may have gone into the old one
			return fmt.Sprintf("table %s: another column %s has taken the place of the one that moved as %s", a.legacy.Relation, c.Legacy, c.Extracted)
		}
	}
	for pair := range was {
		_, here := a.is.Legacy.Numbered(pair[0])
		_, there := a.is.Extracted.Numbered(pair[1])
		if !is[pair] && here && there {
			c, _ := a.is.Legacy.Numbered(pair[0])
			return fmt.Sprintf("table %s: column %s does not move any more", a.legacy.Relation, c.Name)
		}
	}
	if !a.sameComputed(capability.Legacy, a.was.Forward, a.is.Forward) || !a.sameComputed(capability.Extracted, a.was.Reverse, a.is.Reverse) || !a.sameWhere() {
		return fmt.Sprintf("table %s: an expression of its mapping is another one", a.legacy.Relation)
	}
	return ""
}

// names are new names of a side's columns by their old ones.
func (a *altered) names(side capability.Side) map[string]string {
	list := map[string]string{}
	for _, c := range a.was.On(side).Columns {
		if is, ok := a.on(side).Numbered(c.Number); ok && is.Name != c.Name {
			list[c.Name] = is.Name
		}
	}
	return list
}

// sameComputed compares what is computed of the columns of a side, whatever their
// names are.
func (a *altered) sameComputed(from capability.Side, was, is []Computed) bool {
	here, there := a.names(from), a.names(from.Other())
	return slices.EqualFunc(was, is, func(x, y Computed) bool {
		return cmp.Or(there[x.Column], x.Column) == y.Column && sameText(x.SQL, y.SQL, here)
	})
}

func (a *altered) sameWhere() bool {
	was, is := a.was.Where, a.is.Where
	if was == nil || is == nil {
		return was == is
	}
	return sameText(was.SQL, is.SQL, a.names(capability.Legacy))
}

// keeps says that the key by which rows were known is there.
func (t Table) keeps(was Table) bool {
	return slices.ContainsFunc(t.Candidates, func(c Candidate) bool {
		return c.named() == was.KeyIndex && slices.Equal(t.numbers(c.Columns), was.numbers(was.Key))
	})
}

// sameTable says that a table, as its catalog has it, is as it was, but for its rows
// and for what nobody follows by.
func sameTable(a, b Table) bool {
	return a.ID == b.ID && a.Relation == b.Relation && a.Kind == b.Kind && a.Last == b.Last && b.keeps(a) &&
		slices.EqualFunc(a.Columns, b.Columns, func(x, y Column) bool {
			return x.Number == y.Number && x.Name == y.Name && x.Type == y.Type && x.TypeID == y.TypeID && x.Modifier == y.Modifier &&
				x.Generated == y.Generated && x.Identity == y.Identity && x.Collation == y.Collation
		})
}

// samePair says that a pair of such tables is followed in the same way.
func samePair(a, b Pair) bool {
	text := func(list []Computed) string { return fmt.Sprintf("%+v", list) }
	return slices.Equal(a.Columns, b.Columns) && a.Lossy == b.Lossy && text(a.Forward) == text(b.Forward) && text(a.Reverse) == text(b.Reverse)
}
