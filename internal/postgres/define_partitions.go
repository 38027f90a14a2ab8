package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// partitioning reads by what tables are partitioned, as CREATE TABLE takes it.
func (f *definer) partitioning(ctx context.Context) (map[migrate.Relation]string, error) {
	rows, err := f.database.pool.Query(ctx, `SELECT n.nspname::text, c.relname::text, pg_get_partkeydef(c.oid)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'p' AND (n.nspname, c.relname) IN (SELECT * FROM unnest($1::name[], $2::name[]))`, schemas(f.relations), names(f.relations))
	if err != nil {
		return nil, err
	}
	keys := map[migrate.Relation]string{}
	var relation migrate.Relation
	var text string
	_, err = pgx.ForEachRow(rows, []any{&relation.Schema, &relation.Name, &text}, func() error {
		keys[relation] = " PARTITION BY " + text
		return nil
	})
	return keys, err
}

// partitions makes the partitions of the tables, under their own names in the
// schema of the new table. What only a partition has is named among the omissions.
func (f *definer) partitions(ctx context.Context) error {
	rows, err := f.database.pool.Query(ctx, `SELECT w.schema, w.name, c.relname::text, p.relname::text, p.oid = format('%I.%I', w.schema, w.name)::regclass, pg_get_expr(c.relpartbound, c.oid),
			coalesce(' PARTITION BY ' || pg_get_partkeydef(c.oid), ''),
			concat_ws(', ', CASE WHEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = i.indexrelid)) THEN 'indexes' END,
				CASE WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.conparentid = 0 AND k.conislocal AND k.coninhcount = 0 AND k.contype <> 't') THEN 'constraints' END,
				CASE WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgparentid = 0 AND NOT g.tgisinternal AND g.tgname NOT LIKE 'strangler\\_%') THEN 'triggers' END,
				CASE WHEN c.reloptions IS NOT NULL THEN 'storage parameters' END, CASE WHEN c.reltablespace <> 0 THEN 'a tablespace' END)
		FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, i) CROSS JOIN LATERAL pg_partition_tree(format('%I.%I', w.schema, w.name)::regclass) t
		JOIN pg_class c ON c.oid = t.relid JOIN pg_class p ON p.oid = t.parentrelid ORDER BY w.i, t.level, c.relname`, schemas(f.relations), names(f.relations))
	if err != nil {
		return err
	}
	var root migrate.Relation
	var name, parent, bound, key, own string
	var direct bool
	_, err = pgx.ForEachRow(rows, []any{&root.Schema, &root.Name, &name, &parent, &direct, &bound, &key, &own}, func() error {
		to := f.wanted[root].To
		if _, joins := f.joined(f.wanted[root]); joins { // which the plan refuses
			return nil
		}
		if f.second { // the names are taken by those of the first part
			name, parent = to.Name+" "+name, to.Name+" "+parent
		}
		of := to
		if !direct {
			of = migrate.Relation{Schema: to.Schema, Name: parent}
		}
		f.add("CREATE TABLE %s PARTITION OF %s %s%s", quote.Relation(migrate.Relation{Schema: to.Schema, Name: name}), quote.Relation(of), bound, key)
		if own != "" {
			f.omit("what partition %s of %s has for itself: %s", name, to, own)
		}
		return nil
	})
	return err
}
