package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"strangler/migrate"
)

// tablesSQL describes tables, in the order asked; $1 and $2 name them. Without $3
// they are not measured, which waits for whoever alters one. What a column is made
// of, an array's elements or a domain's base, may be an enumeration.
const tablesSQL = `
	SELECT w.schema, w.name, coalesce(c.relkind::text, ''), coalesce(z.bytes, 0), coalesce(z.blocks, 0), coalesce(z.tuples, 0),
	       coalesce(c.oid::bigint, 0), coalesce(c.relfilenode::bigint, 0), coalesce(c.relnatts, 0),
	       ARRAY(SELECT a.attname::text FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k(attnum, n)
	             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
	             WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.n),
	       coalesce((SELECT json_agg(json_build_object('Index', x.relname, 'Primary', i.indisprimary, 'Columns', k.columns) ORDER BY i.indisprimary DESC, i.indisreplident DESC, i.indnkeyatts, x.relname)
	        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
	        CROSS JOIN LATERAL (SELECT array_agg(a.attname::text ORDER BY u.n) AS columns, bool_and(a.attnotnull) AS filled FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u(attnum, n)
	                            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum WHERE u.n <= i.indnkeyatts) k
	        WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AND k.filled AND (i.indisprimary OR c.relkind = 'r')), '[]'),
	       (SELECT json_agg(json_build_object('Name', a.attname, 'Type', format_type(a.atttypid, a.atttypmod), 'NotNull', a.attnotnull, 'Generated', a.attgenerated <> '',
	             'Identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'default' ELSE '' END,
	             'Default', coalesce(pg_get_expr(f.adbin, f.adrelid), ''), 'Collation', CASE WHEN l.oid IS NULL THEN '' ELSE format('%I.%I', ln.nspname, l.collname) END,
	             'Number', a.attnum, 'TypeID', a.atttypid::bigint, 'Modifier', a.atttypmod, 'Missing', CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END,
	             'Enum', CASE WHEN e.typtype = 'e' THEN format_type(e.oid, NULL) ELSE '' END) ORDER BY a.attnum)
	        FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
	        JOIN pg_type b ON b.oid = CASE WHEN y.typtype = 'd' THEN y.typbasetype WHEN y.typlen = -1 AND y.typelem <> 0 THEN y.typelem ELSE y.oid END
	        JOIN pg_type e ON e.oid = CASE WHEN b.typtype = 'd' THEN b.typbasetype WHEN b.typlen = -1 AND b.typelem <> 0 THEN b.typelem ELSE b.oid END
	        LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
	        LEFT JOIN pg_collation l ON l.oid = a.attcollation AND a.attcollation <> y.typcollation
	        LEFT JOIN pg_namespace ln ON ln.oid = l.collnamespace
	        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
	       (SELECT json_agg(json_build_object('Name', format_type(e.oid, NULL), 'Labels', ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = e.oid ORDER BY enumsortorder)) ORDER BY e.oid)
	        FROM pg_type e WHERE e.typtype = 'e' AND e.oid IN (
	            SELECT CASE WHEN b.typtype = 'd' THEN b.typbasetype WHEN b.typlen = -1 AND b.typelem <> 0 THEN b.typelem ELSE b.oid END
	            FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
	            JOIN pg_type b ON b.oid = CASE WHEN y.typtype = 'd' THEN y.typbasetype WHEN y.typlen = -1 AND y.typelem <> 0 THEN y.typelem ELSE y.oid END
	            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
	FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, i)
	LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace) ON n.nspname = w.schema AND c.relname = w.name AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
	LEFT JOIN LATERAL (SELECT sum(pg_table_size(l.oid))::bigint AS bytes, (sum(pg_relation_size(l.oid)) / current_setting('block_size')::int)::bigint AS blocks,
	                          sum(CASE WHEN l.reltuples < 0 THEN pg_table_size(l.oid) / 100 ELSE l.reltuples::bigint END)::bigint AS tuples
	           FROM (SELECT c.oid AS o WHERE c.relkind <> 'p' UNION ALL SELECT relid FROM pg_partition_tree(c.oid) WHERE c.relkind = 'p' AND isleaf) m JOIN pg_class l ON l.oid = m.o WHERE $3) z ON true
	ORDER BY w.i`

// Tables describes tables by their catalog, in the order asked. A table that
// does not exist has its name and no Kind.
func (d *Database) Tables(ctx context.Context, relations []migrate.Relation) ([]migrate.Table, error) {
	return d.tables(ctx, relations, true)
}

// Look is Tables without the sizes. It waits for nobody.
func (d *Database) Look(ctx context.Context, relations []migrate.Relation) ([]migrate.Table, error) {
	return d.tables(ctx, relations, false)
}

func (d *Database) tables(ctx context.Context, relations []migrate.Relation, measured bool) ([]migrate.Table, error) {
	rows, err := d.pool.Query(ctx, tablesSQL, schemas(relations), names(relations), measured)
	if err != nil {
		return nil, fmt.Errorf("describe tables of %s database: %w", d.side, err)
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t migrate.Table, err error) {
		return t, row.Scan(&t.Schema, &t.Name, &t.Kind, &t.Bytes, &t.Pages, &t.Rows, &t.ID, &t.File, &t.Last, &t.Key, &t.Candidates, &t.Columns, &t.Enums)
	})
	if err != nil {
		return nil, fmt.Errorf("describe tables of %s database: %w", d.side, err)
	}
	return tables, nil
}

// ForeignKeys returns the foreign keys with at least one end in the tables.
// Those that a partition inherits are not told again; what refers to a partition
// refers to its table.
func (d *Database) ForeignKeys(ctx context.Context, relations []migrate.Relation) ([]migrate.ForeignKey, error) {
	rows, err := d.pool.Query(ctx, membersSQL+`, wanted AS (SELECT oid FROM members)
		SELECT k.conname::text, fn.nspname::text, f.relname::text, tn.nspname::text, t.relname::text,
		       k.confdeltype::text, k.confupdtype::text, pg_get_constraintdef(k.oid), k.convalidated,
		       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(number, i) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.i),
		       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u(number, i) JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.i)
		FROM pg_constraint k
		JOIN pg_class f ON f.oid = k.conrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
		JOIN pg_class t ON t.oid = coalesce((SELECT root FROM members WHERE oid = k.confrelid LIMIT 1), k.confrelid) JOIN pg_namespace tn ON tn.oid = t.relnamespace
		WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid IN (TABLE wanted) OR k.confrelid IN (TABLE wanted))
		ORDER BY 2, 3, 1`, schemas(relations), names(relations))
	if err != nil {
		return nil, fmt.Errorf("list foreign keys of %s database: %w", d.side, err)
	}
	keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k migrate.ForeignKey, err error) {
		return k, row.Scan(&k.Name, &k.From.Schema, &k.From.Name, &k.To.Schema, &k.To.Name, &k.OnDelete, &k.OnUpdate, &k.Definition, &k.Validated, &k.Columns, &k.Referred)
	})
	if err != nil {
		return nil, fmt.Errorf("list foreign keys of %s database: %w", d.side, err)
	}
	return keys, nil
}

func schemas(relations []migrate.Relation) []string {
	list := make([]string, len(relations))
	for i, r := range relations {
		list[i] = r.Schema
	}
	return list
}

func names(relations []migrate.Relation) []string {
	list := make([]string, len(relations))
	for i, r := range relations {
		list[i] = r.Name
	}
	return list
}
