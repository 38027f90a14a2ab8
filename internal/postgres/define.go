package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// Define returns the statements that make tables of this database in another
// one, under their new names. Columns are made under their old names and renamed
// at the end: so PostgreSQL itself rewrites the expressions of defaults, checks
// and indexes.
func (d *Database) Define(ctx context.Context, definitions []migrate.Definition, named ...migrate.Renamed) (migrate.DDL, error) {
	f := &definer{database: d, schemas: map[string]bool{"public": true}, all: definitions, wanted: map[migrate.Relation]migrate.Definition{}, aside: map[migrate.Relation][][2]string{}}
	first, second, joining := parted(definitions)
	steps := []func(context.Context) error{f.parts, f.tables, f.partitions, f.constraints, f.indexes, f.drops, f.renames, f.computed, f.rejoin, f.omissions}
	for i, round := range [][]migrate.Definition{first, second, joining} {
		if f.make(round, i > 0); len(f.relations) == 0 {
			continue
		}
		for _, step := range steps {
			if err := step(ctx); err != nil {
				return migrate.DDL{}, fmt.Errorf("define tables of %s database: %w", d.side, err)
			}
		}
	}
	for _, s := range named {
		f.schema(s.To.Schema)
		f.add("CREATE SEQUENCE IF NOT EXISTS %s AS %s %s", quote.Relation(s.To), s.From.Type, options(s.From))
	}
	if err := f.foreignKeys(ctx); err != nil {
		return migrate.DDL{}, fmt.Errorf("define tables of %s database: %w", d.side, err)
	}
	return f.ddl, nil
}

// Execute runs statements in one transaction: all or none take effect.
func (d *Database) Execute(ctx context.Context, statements []string) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		for _, statement := range statements {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("change the schema of %s database: %w", d.side, err)
	}
	return nil
}

// definer collects the statements of one call of Define.
type definer struct {
	database  *Database
	ddl       migrate.DDL
	schemas   map[string]bool
	all       []migrate.Definition
	relations []migrate.Relation // that are made, in order
	wanted    map[migrate.Relation]migrate.Definition
	second    bool // these are the second parts of tables that are divided, or become one with another
	// aside are the names that columns of a joined table have lost to those of the
	// table that joins it, by the names that they have meanwhile.
	aside map[migrate.Relation][][2]string
}

func (f *definer) add(format string, args ...any) {
	f.ddl.Statements = append(f.ddl.Statements, fmt.Sprintf(format, args...))
}

func (f *definer) omit(format string, args ...any) {
	f.ddl.Omitted = append(f.ddl.Omitted, fmt.Sprintf(format, args...))
}

func (f *definer) schema(name string) {
	if !f.schemas[name] && name != "" && name != "pg_catalog" {
		f.schemas[name] = true
		f.add("CREATE SCHEMA IF NOT EXISTS %s", quote.Ident(name))
	}
}

// parts makes what the tables are made of: extensions, collations, types,
// functions. What exists already is left alone: the plan compares it.
func (f *definer) parts(ctx context.Context) error {
	parts, err := f.database.Parts(ctx, f.relations, nil)
	if err != nil {
		return err
	}
	bodies := false
	for _, p := range parts {
		if p.Definition == "" {
			if p.Schema != "pg_catalog" {
				f.omit("%s, which has to be made by hand, before the tables", p.Name)
			}
			continue
		}
		f.schema(p.Schema)
		switch p.Kind {
		case "extension":
			f.add("%s", p.Definition)
			continue
		case "function":
			if !bodies {
				// A body may name what is made later, or never.
				f.add("SET check_function_bodies = off")
				bodies = true
			}
			f.omit("whatever the function %s calls, as far as only its text says so", p.Name)
		}
		f.unlessThere(p.Definition)
	}
	return nil
}

// unlessThere makes a statement that does nothing where the object exists.
func (f *definer) unlessThere(statement string) {
	tag := "$make$"
	for n := 1; strings.Contains(statement, tag); n++ {
		tag = fmt.Sprintf("$make%d$", n)
	}
	f.add("DO %s BEGIN\n\t%s;\nEXCEPTION WHEN duplicate_object OR duplicate_function THEN NULL;\nEND %s", tag, strings.TrimRight(statement, " \n;"), tag)
}

// options writes a sequence's parameters, without its name and type.
func options(s migrate.Sequence) string {
	text := fmt.Sprintf("INCREMENT BY %d MINVALUE %d MAXVALUE %d START WITH %d CACHE %d", s.Increment, s.Min, s.Max, s.Start, s.Cached)
	if s.Cycle {
		text += " CYCLE"
	}
	return text
}

// tables makes the tables with their columns, after the sequences that belong to
// no identity.
func (f *definer) tables(ctx context.Context) error {
	sequences, err := f.database.Sequences(ctx, f.relations)
	if err != nil {
		return err
	}
	made := map[migrate.Relation]bool{}
	sequences = f.drawn(sequences)
	for _, s := range sequences {
		if s.Identity || made[s.Relation] {
			continue
		}
		made[s.Relation] = true
		f.schema(s.Schema)
		f.add("CREATE SEQUENCE IF NOT EXISTS %s AS %s %s", quote.Relation(s.Relation), s.Type, options(s))
	}
	partitioning, err := f.partitioning(ctx)
	if err != nil {
		return err
	}
	storage, err := f.storage(ctx)
	if err != nil {
		return err
	}
	for _, relation := range f.relations {
		definition := f.wanted[relation]
		identities := map[string]string{}
		for _, s := range sequences {
			if s.Identity && s.Table == relation {
				identities[s.Column] = "SEQUENCE NAME " + quote.Relation(migrate.Relation{Schema: definition.To.Schema, Name: s.Name}) + " " + options(s)
			}
		}
		if first, ok := f.joined(definition); ok {
			f.join(definition, first, identities)
			continue
		}
		lines := make([]string, 0, len(definition.From.Columns))
		for _, c := range definition.From.Columns {
			lines = append(lines, "\t"+column(f.numbered(definition, c), identities[c.Name]))
		}
		f.schema(definition.To.Schema)
		f.add("CREATE TABLE %s (\n%s\n)%s", quote.Relation(definition.To), strings.Join(lines, ",\n"), partitioning[relation]+storage[relation])
	}
	for _, s := range sequences {
		if s.Owned && !s.Identity {
			f.add("ALTER SEQUENCE %s OWNED BY %s.%s", quote.Relation(s.Relation), quote.Relation(f.wanted[s.Table].To), quote.Ident(s.Column))
		}
	}
	return nil
}

// storage reads the storage parameters of tables, as CREATE TABLE takes them.
func (f *definer) storage(ctx context.Context) (map[migrate.Relation]string, error) {
	rows, err := f.database.pool.Query(ctx, `SELECT n.nspname::text, c.relname::text, (SELECT string_agg(format('%s = %L', option_name, option_value), ', ') FROM pg_options_to_table(c.reloptions))
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.reloptions IS NOT NULL AND c.relkind IN ('r', 'p') AND (n.nspname, c.relname) IN (SELECT * FROM unnest($1::name[], $2::name[]))`, schemas(f.relations), names(f.relations))
	if err != nil {
		return nil, err
	}
	storage := map[migrate.Relation]string{}
	var relation migrate.Relation
	var text string
	_, err = pgx.ForEachRow(rows, []any{&relation.Schema, &relation.Name, &text}, func() error {
		storage[relation] = " WITH (" + text + ")"
		return nil
	})
	return storage, err
}

func column(c migrate.Column, identity string) string {
	text := quote.Ident(c.Name) + " " + c.Type
	if c.Collation != "" {
		text += " COLLATE " + c.Collation
	}
	switch {
	case c.Generated:
		text += " GENERATED ALWAYS AS (" + c.Default + ") STORED"
	case c.Identity == "always":
		text += " GENERATED ALWAYS AS IDENTITY (" + identity + ")"
	case c.Identity == "default":
		text += " GENERATED BY DEFAULT AS IDENTITY (" + identity + ")"
	case c.Default != "":
		text += " DEFAULT " + c.Default
	}
	if c.NotNull {
		text += " NOT NULL"
	}
	return text
}

// constraints adds keys, checks and exclusions; foreign keys come last of all.
func (f *definer) constraints(ctx context.Context) error {
	return f.each(ctx, `SELECT w.schema, w.name, k.conname::text, pg_get_constraintdef(k.oid)
		FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, i)
		JOIN pg_constraint k ON k.conrelid = format('%I.%I', w.schema, w.name)::regclass AND k.contype IN ('p', 'u', 'c', 'x')
		ORDER BY w.i, k.contype <> 'p', k.conname`, func(to migrate.Relation, name, text string) {
		if key, is := strings.CutPrefix(text, "PRIMARY KEY "); is && f.joining(to) {
			if !f.keyed(to) { // by another key than the table that it joins
				f.add("ALTER TABLE %s ADD UNIQUE %s", quote.Relation(to), key)
			}
			return
		}
		if f.second { // its name is taken by that of the first part
			f.add("ALTER TABLE %s ADD %s", quote.Relation(to), text)
			return
		}
		f.add("ALTER TABLE %s ADD CONSTRAINT %s %s", quote.Relation(to), quote.Ident(name), text)
	})
}

// indexes makes the indexes that stand for no constraint. The statement that the
// catalog gives names the index, then the table, then everything else.
func (f *definer) indexes(ctx context.Context) error {
	return f.each(ctx, `SELECT w.schema, w.name, format('%s INDEX %I', CASE WHEN i.indisunique THEN 'CREATE UNIQUE' ELSE 'CREATE' END, c.relname),
		substr(pg_get_indexdef(c.oid), 1 + length(format('%s INDEX %I ON %s%I.%I ', CASE WHEN i.indisunique THEN 'CREATE UNIQUE' ELSE 'CREATE' END, c.relname, CASE c.relkind WHEN 'I' THEN 'ONLY ' ELSE '' END, w.schema, w.name)))
		FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, i)
		JOIN pg_index i ON i.indrelid = format('%I.%I', w.schema, w.name)::regclass JOIN pg_class c ON c.oid = i.indexrelid
		WHERE i.indisvalid AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = c.oid AND contype IN ('p', 'u', 'x'))
		ORDER BY w.i, c.relname`, func(to migrate.Relation, create, rest string) {
		if before, _, ok := strings.Cut(create, " INDEX "); ok && f.second {
			create = before + " INDEX"
		}
		f.add("%s ON %s %s", create, quote.Relation(to), rest)
	})
}

// each runs a query of two texts for every table that is made.
func (f *definer) each(ctx context.Context, query string, do func(to migrate.Relation, name, text string)) error {
	rows, err := f.database.pool.Query(ctx, query, schemas(f.relations), names(f.relations))
	if err != nil {
		return err
	}
	var from migrate.Relation
	var name, text string
	_, err = pgx.ForEachRow(rows, []any{&from.Schema, &from.Name, &name, &text}, func() error {
		do(f.wanted[from].To, name, text)
		return nil
	})
	return err
}

// renames gives columns their new names. One that takes the name of another
// waits under a third name until that has gone.
func (f *definer) renames(context.Context) error {
	for _, relation := range f.relations {
		definition := f.wanted[relation].Reduced()
		rename := func(from, to string) {
			f.add("ALTER TABLE %s RENAME COLUMN %s TO %s", quote.Relation(definition.To), quote.Ident(from), quote.Ident(to))
		}
		waiting := map[string]string{}
		for _, c := range definition.From.Columns {
			as := definition.Name(c.Name)
			if _, taken := definition.From.Column(as); taken && as != c.Name {
				waiting[c.Name] = fmt.Sprintf("strangler renames %d", len(waiting)+1)
				rename(c.Name, waiting[c.Name])
			}
		}
		for _, c := range definition.From.Columns {
			if as := definition.Name(c.Name); as != c.Name && waiting[c.Name] == "" {
				rename(c.Name, as)
			}
		}
		for _, c := range definition.From.Columns {
			if waiting[c.Name] != "" {
				rename(waiting[c.Name], definition.Name(c.Name))
			}
		}
	}
	return nil
}
