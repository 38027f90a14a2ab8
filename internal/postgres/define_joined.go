package postgres

import (
	"context"
	"fmt"
	"slices"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// joined is the definition before another one that makes the same table.
func (f *definer) joined(d migrate.Definition) (migrate.Definition, bool) {
	for _, first := range f.all {
		if first.From.Relation == d.From.Relation {
			break
		}
		if first.To == d.To {
			return first, true
		}
	}
	return migrate.Definition{}, false
}

// wantedFor is the definition at hand that makes a table.
func (f *definer) wantedFor(to migrate.Relation) (migrate.Definition, bool) {
	for _, relation := range f.relations {
		if d := f.wanted[relation]; d.To == to {
			return d, true
		}
	}
	return migrate.Definition{}, false
}

// joining says whether the table at hand joins one that is made.
func (f *definer) joining(to migrate.Relation) bool {
	d, ok := f.wantedFor(to)
	if ok {
		_, ok = f.joined(d)
	}
	return ok
}

// keyed says whether the primary key of a table that joins another one is over
// columns that both have.
func (f *definer) keyed(to migrate.Relation) bool {
	d, _ := f.wantedFor(to)
	first, _ := f.joined(d)
	has := columnsOf(first)
	return !slices.ContainsFunc(d.From.Key, func(name string) bool { return !slices.Contains(has, d.Name(name)) })
}

// columnsOf are the columns that a definition makes, by their names.
func columnsOf(d migrate.Definition) []string {
	var names []string
	for _, c := range d.Reduced().From.Columns {
		names = append(names, d.Name(c.Name))
	}
	for _, c := range d.Computed {
		names = append(names, c.Column)
	}
	return names
}

// shares are the columns that a table has in common with the one that it joins, by
// their names there.
func shares(d, first migrate.Definition) map[string]string {
	has, shared := columnsOf(first), map[string]string{}
	for _, c := range d.Reduced().From.Columns {
		if slices.Contains(has, d.Name(c.Name)) {
			shared[d.Name(c.Name)] = c.Name
		}
	}
	return shared
}

// join adds the columns of a table to the one that it joins, all under their old
// names: so the expressions of its checks and indexes mean what they say. Those that
// the two share, which are its key, take its names for that time, and whatever else
// is called like one of its columns is called something else.
func (f *definer) join(d, first migrate.Definition, identities map[string]string) {
	table := quote.Relation(d.To)
	rename := func(from, to string) {
		f.add("ALTER TABLE %s RENAME COLUMN %s TO %s", table, quote.Ident(from), quote.Ident(to))
	}
	has, shared := columnsOf(first), shares(d, first)
	var last [][2]string
	for i, name := range has {
		old, is := shared[name]
		_, taken := d.From.Column(name)
		meanwhile := fmt.Sprintf("strangler joins %d", i+1)
		switch {
		case is && old != name:
			rename(name, meanwhile)
			last = append(last, [2]string{meanwhile, old})
		case !is && taken:
			rename(name, meanwhile)
			f.aside[d.To] = append(f.aside[d.To], [2]string{meanwhile, name})
		}
	}
	for _, r := range last {
		rename(r[0], r[1])
	}
	for _, generated := range []bool{false, true} { // from the others
		for _, c := range d.From.Columns {
			if c.Generated == generated && shared[d.Name(c.Name)] != c.Name {
				f.add("ALTER TABLE %s ADD COLUMN %s", table, column(c, identities[c.Name]))
			}
		}
	}
}

// rejoin gives columns of joined tables their names back.
func (f *definer) rejoin(context.Context) error {
	for _, relation := range f.relations {
		to := f.wanted[relation].To
		for _, r := range f.aside[to] {
			f.add("ALTER TABLE %s RENAME COLUMN %s TO %s", quote.Relation(to), quote.Ident(r[0]), quote.Ident(r[1]))
		}
		delete(f.aside, to)
	}
	return nil
}
