package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"strangler/capability"
)

// layout is the tables of one capability on both sides, as the catalogs have
// them.
type layout struct {
	pairs    []Pair
	missing  []Definition // tables that the extracted database lacks
	all      []Definition // every table, in the order of the document
	problems []capability.Problem
	unread   []capability.Problem // those of problems that are about expressions
	seen     []seen               // every table, whether it is there or not
}

// seen is one table of the document on both sides. What is not there has no Kind.
type seen struct {
	doc               capability.Table
	legacy, extracted Table
}

// surveyed is a database whose tables are matched with another's.
type surveyed interface {
	Catalog
	Calculator
}

// survey reads both catalogs and matches the tables.
func survey(ctx context.Context, doc capability.Document, legacy, extracted surveyed) (layout, error) {
	var l layout
	var from, to []Relation
	tables := divides(doc.Data.Tables)
	for _, t := range tables {
		from = append(from, ParseRelation(t.Table))
		to = append(to, ParseRelation(renamedTable(t)))
	}
	here, err := legacy.Tables(ctx, from)
	if err != nil {
		return l, err
	}
	there, err := extracted.Tables(ctx, to)
	if err != nil {
		return l, err
	}
	parts := make([]part, len(tables))
	unread := make([][]capability.Problem, len(tables))
	for i, t := range tables {
		t.Mode = mode(t)
		parts[i] = part{doc: t, here: here[i], there: there[i]}
		if here[i].Kind == "" {
			continue
		}
		if parts[i].expressions, unread[i], err = express(ctx, t, here[i], there[i], legacy, extracted); err != nil {
			return l, err
		}
		parts[i].claims = claims(t, here[i], there[i], parts[i].expressions)
		parts[i].fills = filled(t, here[i], there[i], parts[i].expressions)
	}
	for i, p := range parts {
		t, expressions, problems := p.doc, p.expressions, unread[i]
		refuse := func(message, mend string) {
			l.problems = append(l.problems, capability.Problem{Path: entry(t), Line: t.Line, Message: message, Mend: mend})
		}
		l.seen = append(l.seen, seen{doc: t, legacy: here[i], extracted: there[i]})
		if here[i].Kind == "" {
			refuse("the legacy database has no table "+from[i].String(), "write the name as the database has it, with its schema where that is not public")
			continue
		}
		l.problems, l.unread = append(l.problems, problems...), append(l.unread, located(doc, problems)...)
		definition := Definition{From: here[i], To: to[i], Rename: t.Columns, Mode: t.Mode, Exists: there[i].Kind != "", Omit: left(t, here[i]), Computed: expressions.forward}
		l.all = append(l.all, definition)
		if !definition.Exists {
			l.missing = append(l.missing, definition)
			key := here[i].Key
			if len(key) == 0 && len(here[i].Candidates) > 0 {
				key = here[i].Candidates[0].Columns
			}
			both := slices.Concat(twice(parts, i, key), twiceFilled(parts, i, definition.names(key)))
			l.problems, l.unread = append(l.problems, both...), append(l.unread, located(doc, both)...) // it would be made with them
			refuse("the extracted database has no table "+to[i].String(), "strangler data plan "+doc.Name+" --create")
			continue
		}
		if len(problems) > 0 {
			continue // without its expressions, whatever they fill would be a problem too
		}
		expressions.elsewhere = elsewhere(parts, i)
		partner, joined := partner(parts, i)
		if joined {
			expressions.beside = partner.fills
		}
		pair, problems := newPair(t, here[i], there[i], expressions)
		if others := others(parts, i); len(others) > 0 {
			pair.Sibling = to[others[0]].String()
		}
		if joined {
			pair.Partner = partner.here.Relation.String()
		}
		l.problems = slices.Concat(l.problems, problems, together(parts, i, l.pairs, pair))
		l.pairs = append(l.pairs, pair)
	}
	l.problems = located(doc, l.problems)
	return l, nil
}

// left are the legacy columns that a table which is made anew goes without: those
// that the document omits, those that come back from other columns, and those whose
// name another column has. Its key stays.
func left(doc capability.Table, here Table) []string {
	var names []string
	for _, c := range here.Columns {
		_, renamed := doc.Columns[c.Name]
		instead := slices.ContainsFunc(doc.Computed, func(computed capability.Computed) bool {
			return computed.Column == c.Name && !renamed || slices.ContainsFunc(computed.Reverse, func(r capability.Reverse) bool { return r.Column == c.Name })
		})
		if (slices.Contains(doc.Omit, c.Name) || instead) && !slices.Contains(here.Key, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

func renamedTable(t capability.Table) string {
	if t.As != "" {
		return t.As
	}
	return t.Table
}

// mode is a table's mode, which is to move unless the document says otherwise.
func mode(t capability.Table) capability.TableMode {
	if t.Mode == "" {
		return capability.Move
	}
	return t.Mode
}

// located gives problems the document's file and, where they have none, the line
// of its tables.
func located(doc capability.Document, problems []capability.Problem) []capability.Problem {
	for i := range problems {
		p := &problems[i]
		p.File = doc.File
		if p.Line == 0 {
			p.Line = doc.Data.TableLine
		}
	}
	return problems
}

// moved are the pairs that change their owner.
func (l layout) moved() []Pair {
	return slices.DeleteFunc(slices.Clone(l.pairs), func(p Pair) bool { return p.Mode == capability.Copy })
}

// relations names tables of one side.
func relations(pairs []Pair, side capability.Side) []Relation {
	list := make([]Relation, len(pairs))
	for i, p := range pairs {
		list[i] = p.On(side).Relation
	}
	return list
}

// mappings sees pairs in one direction.
func mappings(pairs []Pair, from capability.Side) []Mapping {
	list := make([]Mapping, len(pairs))
	for i, p := range pairs {
		list[i] = p.Direct(from)
	}
	return list
}

// fingerprint tells two layouts apart by what a running move cannot follow.
func (l layout) fingerprint() (string, error) {
	pairs := slices.Clone(l.pairs)
	for i := range pairs {
		for _, t := range []*Table{&pairs[i].Legacy, &pairs[i].Extracted} {
			*t = Table{Relation: t.Relation, Kind: t.Kind, Columns: slices.Clone(t.Columns), Key: t.Key, KeyIndex: t.KeyIndex}
			for j, c := range t.Columns {
				t.Columns[j] = Column{Name: c.Name, Type: c.Type, NotNull: c.NotNull, Generated: c.Generated, Identity: c.Identity, Collation: c.Collation}
			}
		}
	}
	text, err := json.Marshal(pairs)
	if err != nil {
		return "", fmt.Errorf("fingerprint the tables: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12]), nil
}

// keyColumns are the columns of a mapping's key on one of its ends, with types.
func keyColumns(names []string, t Table) []KeyColumn {
	list := make([]KeyColumn, len(names))
	for i, name := range names {
		c, _ := t.Column(name) // NewPair refuses keys whose columns are not there
		list[i] = KeyColumn{Name: name, Type: c.Type}
	}
	return list
}
