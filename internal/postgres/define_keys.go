package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// foreignKeys adds those that have both ends in tables that move.
func (f *definer) foreignKeys(ctx context.Context) error {
	moved := map[migrate.Relation][]migrate.Definition{}
	var relations []migrate.Relation
	for _, definition := range f.all {
		if from := definition.From.Relation; definition.Mode == capability.Move {
			if len(moved[from]) == 0 {
				relations = append(relations, from)
			}
			moved[from] = append(moved[from], definition)
		}
	}
	rows, err := f.database.pool.Query(ctx, `
		SELECT k.conname::text, fn.nspname::text, fc.relname::text, tn.nspname::text, tc.relname::text,
		       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(n, i) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.i),
		       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u(n, i) JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.i),
		       CASE k.confmatchtype WHEN 'f' THEN ' MATCH FULL' ELSE '' END
		       || CASE k.confupdtype WHEN 'r' THEN ' ON UPDATE RESTRICT' WHEN 'c' THEN ' ON UPDATE CASCADE' WHEN 'n' THEN ' ON UPDATE SET NULL' WHEN 'd' THEN ' ON UPDATE SET DEFAULT' ELSE '' END
		       || CASE k.confdeltype WHEN 'r' THEN ' ON DELETE RESTRICT' WHEN 'c' THEN ' ON DELETE CASCADE' WHEN 'n' THEN ' ON DELETE SET NULL' WHEN 'd' THEN ' ON DELETE SET DEFAULT' ELSE '' END,
		       ARRAY(SELECT a.attname::text FROM unnest(k.confdelsetcols) WITH ORDINALITY AS u(n, i) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.i),
		       CASE WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END || CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END
		       || CASE WHEN k.convalidated THEN '' ELSE ' NOT VALID' END
		FROM pg_constraint k
		JOIN pg_class fc ON fc.oid = k.conrelid JOIN pg_namespace fn ON fn.oid = fc.relnamespace
		JOIN pg_class tc ON tc.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = tc.relnamespace
		WHERE k.contype = 'f' AND k.conparentid = 0 AND (fn.nspname, fc.relname) IN (SELECT * FROM unnest($1::name[], $2::name[])) ORDER BY 2, 3, 1`, schemas(relations), names(relations))
	if err != nil {
		return err
	}
	var name, actions, rest string
	var from, to migrate.Relation
	var columns, references, cleared []string
	_, err = pgx.ForEachRow(rows, []any{&name, &from.Schema, &from.Name, &to.Schema, &to.Name, &columns, &references, &actions, &cleared, &rest}, func() error {
		referring, referred := having(moved[from], columns), having(moved[to], references)
		switch {
		case !slices.ContainsFunc(moved[from], func(d migrate.Definition) bool { return !d.Exists }):
			return nil
		case len(moved[to]) == 0:
			f.omit("foreign key %s of %s to %s, which does not move", name, from, to)
			return nil
		case referring.To.Name == "", referred.To.Name == "":
			f.omit("foreign key %s of %s to %s, over columns that stay behind", name, from, to)
			return nil
		case referring.Exists:
			return nil
		case referring.To == referred.To && from != to:
			f.omit("foreign key %s of %s to %s, which become one table", name, from, to)
			return nil
		}
		if len(cleared) > 0 {
			actions += " (" + quote.Idents(renamed(referring, cleared)) + ")"
		}
		constraint := "CONSTRAINT " + quote.Ident(name) + " "
		if _, joins := f.joined(referring); joins { // the name may be taken by one of the other table
			constraint = ""
		}
		f.add("ALTER TABLE %s ADD %sFOREIGN KEY (%s) REFERENCES %s (%s)%s%s", quote.Relation(referring.To), constraint,
			quote.Idents(renamed(referring, columns)), quote.Relation(referred.To), quote.Idents(renamed(referred, references)), actions, rest)
		return nil
	})
	return err
}

// having is the first part of a table that has columns; nothing where none has.
func having(parts []migrate.Definition, columns []string) migrate.Definition {
	for _, d := range parts {
		if !stays(d, columns) {
			return d
		}
	}
	return migrate.Definition{}
}

func renamed(definition migrate.Definition, columns []string) []string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = definition.Name(c)
	}
	return list
}
