package postgres

import (
	"context"
	"slices"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// drops takes off the columns that stay behind, and with them what is over them:
// PostgreSQL knows what that is.
func (f *definer) drops(context.Context) error {
	for _, relation := range f.relations {
		definition := f.wanted[relation]
		for _, name := range definition.Omit {
			f.add("ALTER TABLE %s DROP COLUMN %s CASCADE", quote.Relation(definition.To), quote.Ident(name))
			f.omit("column %s of %s, and the indexes, constraints and generated columns over it", name, definition.To)
		}
	}
	return nil
}

// computed adds the columns that are computed, under their types, and without
// constraints: only rows tell whether a result is ever NULL.
func (f *definer) computed(context.Context) error {
	for _, relation := range f.relations {
		definition := f.wanted[relation]
		for _, c := range definition.Computed {
			f.add("ALTER TABLE %s ADD COLUMN %s %s", quote.Relation(definition.To), quote.Ident(c.Column), c.Type)
		}
	}
	return nil
}

// stays says whether a foreign key is over columns of which one stays behind.
func stays(definition migrate.Definition, columns []string) bool {
	return slices.ContainsFunc(columns, func(name string) bool { return slices.Contains(definition.Omit, name) })
}
