package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// needType adds what makes a type that is not built in, after the types that it
// is made of. A type that exists already is left alone: the plan compares it.
func (f *definer) needType(ctx context.Context, oid uint32) error {
	if f.types[oid] {
		return nil
	}
	f.types[oid] = true
	var kind, schema, name, extension, extensionSchema string
	var element, base, relation uint32
	err := f.database.pool.QueryRow(ctx, `
		SELECT y.typtype::text, n.nspname::text, format_type(y.oid, NULL), coalesce(e.extname::text, ''), coalesce(en.nspname::text, ''),
		       CASE WHEN y.typlen = -1 THEN y.typelem ELSE 0 END, y.typbasetype, y.typrelid
		FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace
		LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = y.oid AND d.deptype = 'e'
		LEFT JOIN pg_extension e ON e.oid = d.refobjid LEFT JOIN pg_namespace en ON en.oid = e.extnamespace
		WHERE y.oid = $1`, oid).Scan(&kind, &schema, &name, &extension, &extensionSchema, &element, &base, &relation)
	if err != nil {
		return err
	}
	switch {
	case extension != "":
		f.schema(extensionSchema)
		f.add("CREATE EXTENSION IF NOT EXISTS %s WITH SCHEMA %s", ident(extension), ident(extensionSchema))
		return nil
	case element != 0:
		return f.needType(ctx, element)
	case schema == "pg_catalog":
		return nil
	}
	f.schema(schema)
	switch kind {
	case "e":
		return f.enum(ctx, oid, name)
	case "d":
		return f.domain(ctx, oid, base, name)
	case "c":
		return f.composite(ctx, relation, name)
	}
	return fmt.Errorf("type %s is of a kind (%s) that is not made here: make it in the extracted database by hand", name, kind)
}

// unlessThere makes a CREATE TYPE that does nothing where the type exists.
func (f *definer) unlessThere(statement string) {
	f.add("DO $type$ BEGIN\n\t%s;\nEXCEPTION WHEN duplicate_object THEN NULL;\nEND $type$", statement)
}

func (f *definer) enum(ctx context.Context, oid uint32, name string) error {
	rows, err := f.database.pool.Query(ctx, `SELECT quote_literal(enumlabel) FROM pg_enum WHERE enumtypid = $1 ORDER BY enumsortorder`, oid)
	if err != nil {
		return err
	}
	labels, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	f.unlessThere("CREATE TYPE " + name + " AS ENUM (" + strings.Join(labels, ", ") + ")")
	return nil
}

func (f *definer) domain(ctx context.Context, oid, base uint32, name string) error {
	if err := f.needType(ctx, base); err != nil {
		return err
	}
	var text string
	err := f.database.pool.QueryRow(ctx, `
		SELECT format_type(y.typbasetype, y.typtypmod)
		       || coalesce((SELECT format(' COLLATE %I.%I', n.nspname, l.collname) FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
		                    JOIN pg_type b ON b.oid = y.typbasetype WHERE l.oid = y.typcollation AND y.typcollation <> b.typcollation), '')
		       || coalesce(' DEFAULT ' || y.typdefault, '') || CASE WHEN y.typnotnull THEN ' NOT NULL' ELSE '' END
		       || coalesce((SELECT string_agg(format(' CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)), '' ORDER BY conname) FROM pg_constraint WHERE contypid = y.oid), '')
		FROM pg_type y WHERE y.oid = $1`, oid).Scan(&text)
	if err != nil {
		return err
	}
	f.unlessThere("CREATE DOMAIN " + name + " AS " + text)
	return nil
}

func (f *definer) composite(ctx context.Context, relation uint32, name string) error {
	rows, err := f.database.pool.Query(ctx, `SELECT atttypid, format('%I %s', attname, format_type(atttypid, atttypmod)) FROM pg_attribute
		WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, relation)
	if err != nil {
		return err
	}
	var types []uint32
	var lines []string
	var oid uint32
	var line string
	if _, err := pgx.ForEachRow(rows, []any{&oid, &line}, func() error {
		types, lines = append(types, oid), append(lines, line)
		return nil
	}); err != nil {
		return err
	}
	for _, oid := range types {
		if err := f.needType(ctx, oid); err != nil {
			return err
		}
	}
	f.unlessThere("CREATE TYPE " + name + " AS (" + strings.Join(lines, ", ") + ")")
	return nil
}
