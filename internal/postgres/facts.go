package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// factsSQL reads each table's facts as one JSON object, and whether its rows can
// be read; $1 and $2 name the tables.
const factsSQL = `
	SELECT json_build_object(
		'Unlogged',   c.relpersistence <> 'p',
		'Partition',  c.relispartition,
		'Root',       (SELECT quote_ident(rn.nspname) || '.' || quote_ident(r.relname) FROM pg_partition_ancestors(c.oid) a JOIN pg_class r ON r.oid = a AND NOT r.relispartition JOIN pg_namespace rn ON rn.oid = r.relnamespace WHERE c.relispartition),
		'Partitions', (SELECT coalesce(json_agg(json_build_object('Name', p.oid::regclass::text, 'Relation', json_build_object('Schema', (SELECT nspname FROM pg_namespace WHERE oid = p.relnamespace), 'Name', p.relname), 'Unlogged', p.relpersistence <> 'p', 'Unnamed', p.relkind <> 'p' AND p.relreplident IN ('n', 'i'), 'Brief', p.relkind <> 'p' AND p.relreplident <> 'f',
		                      'Always', ARRAY(SELECT tgname FROM pg_trigger WHERE tgrelid = p.oid AND tgparentid = 0 AND NOT tgisinternal AND tgenabled IN ('A', 'R') AND tgname NOT LIKE 'strangler\_%' ORDER BY 1)) ORDER BY p.oid::regclass::text), '[]')
		                    FROM pg_class p WHERE p.oid = ANY(m.oids) AND p.oid <> c.oid),
		'Default',    c.relkind = 'p' AND EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = c.oid AND (partdefid <> 0 OR partstrat = 'h')),
		'Inherits',   c.relkind = 'r' AND NOT c.relispartition AND EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent)),
		'Forced',     (SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = current_user AND NOT rolsuper AND NOT rolbypassrls AND EXISTS (SELECT FROM pg_class WHERE oid = ANY(m.oids) AND relrowsecurity AND relforcerowsecurity)),
		'Total',      (SELECT sum(pg_total_relation_size(o)) FROM unnest(m.oids) o),
		'Holds',      (WITH RECURSIVE made(col, typ, depth) AS (
		                      SELECT attname, atttypid, 0 FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
		                      UNION SELECT made.col, within.typ, 1 FROM made JOIN pg_type t ON t.oid = made.typ CROSS JOIN LATERAL (
		                          SELECT t.typbasetype WHERE t.typtype = 'd'
		                          UNION ALL SELECT t.typelem WHERE t.typsubscript = 'array_subscript_handler'::regproc
		                          UNION ALL SELECT atttypid FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped
		                          UNION ALL SELECT rngsubtype FROM pg_range WHERE t.oid IN (rngtypid, rngmultitypid)) AS within(typ))
		                    SELECT coalesce(json_object_agg(col, types), '{}') FROM (SELECT col, json_agg(DISTINCT format_type(typ, NULL)) AS types FROM made WHERE depth > 0 GROUP BY col) h),
		'Unequal',    ARRAY(WITH RECURSIVE behind(col, typ) AS (SELECT attname, atttypid FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
		                      UNION ALL SELECT col, typbasetype FROM behind JOIN pg_type t ON t.oid = typ WHERE typtype = 'd')
		                    SELECT col FROM behind JOIN pg_type t ON t.oid = typ JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = col WHERE t.typtype = 'e' AND a.atttypid <> typ ORDER BY 1),
		'Family',     ARRAY(SELECT f.oid::regclass::text FROM pg_inherits i JOIN pg_class f ON f.oid IN (i.inhrelid, i.inhparent) AND f.oid <> c.oid
		                    WHERE c.oid IN (i.inhrelid, i.inhparent) AND f.relkind IN ('r', 'p', 'f') ORDER BY 1),
		'Policies',   ARRAY(SELECT polname FROM pg_policy WHERE polrelid = c.oid ORDER BY 1),
		'Publications', ARRAY(SELECT p.pubname FROM pg_publication p WHERE p.pubname NOT LIKE 'strangler\_%' AND (p.puballtables
		                    OR EXISTS (SELECT FROM pg_publication_rel WHERE prpubid = p.oid AND prrelid = c.oid)
		                    OR EXISTS (SELECT FROM pg_publication_namespace WHERE pnpubid = p.oid AND pnnspid = c.relnamespace)) ORDER BY 1),
		'Subscribed', EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = ANY(m.oids)),
		'ReplicaID',  c.relreplident,
		'ReplicaIndex', (SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisreplident),
		'Primary',    (SELECT json_build_object('Name', x.relname, 'Constraint', true, 'Whole', true, 'Definition', pg_get_constraintdef(k.oid), 'Columns', ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY AS u(attnum, n)
		                    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum ORDER BY u.n)) FROM pg_constraint k JOIN pg_class x ON x.oid = k.conindid WHERE k.conrelid = c.oid AND k.contype = 'p'),
		'Number',     (SELECT a.attname FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1] JOIN pg_type y ON y.oid = a.atttypid
		                    WHERE k.conrelid = c.oid AND k.contype = 'p' AND cardinality(k.conkey) = 1 AND coalesce(nullif(y.typbasetype, 0), y.oid) IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
		                    AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f' AND a.attnum = ANY(f.conkey))),
		'NumberedBy', ARRAY(SELECT tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
		                    AND t.tgtype & 71 = 7 AND strpos(lower(p.prosrc), 'nextval') > 0 ORDER BY 1), -- before an insert, for each row
		'Rules',      ARRAY(SELECT rulename FROM pg_rewrite WHERE ev_class = c.oid AND c.relkind <> 'v' AND c.relkind <> 'm' ORDER BY 1),
		'Always',     ARRAY(SELECT tgname FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled IN ('A', 'R')
		                    AND tgname NOT LIKE 'strangler\_%' ORDER BY 1),
		'Ordinary',   ARRAY(SELECT tgname FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled = 'O'
		                    AND tgname NOT LIKE 'strangler\_%' ORDER BY 1),
		'Rewriting',  ARRAY(SELECT tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled = 'O'
		                    AND t.tgname NOT LIKE 'strangler\_%'
		                    AND t.tgtype & 67 = 1 AND strpos(lower(p.prosrc), lower(c.relname)) > 0 ORDER BY 1), -- after, for each row
		'Checks',     (SELECT coalesce(json_agg(json_build_object('Name', conname, 'Definition', pg_get_constraintdef(oid)) ORDER BY conname), '[]')
		                    FROM pg_constraint WHERE conrelid = c.oid AND contype = 'c'),
		'Uniques',    (SELECT coalesce(json_agg(json_build_object('Name', x.relname, 'Whole', i.indpred IS NULL, 'Exclusion', i.indisexclusion,
		                      'Constraint', EXISTS (SELECT FROM pg_constraint WHERE conindid = x.oid AND contype IN ('u', 'x')), 'Deferrable', NOT i.indimmediate, 'NullsEqual', i.indnullsnotdistinct,
		                      'Columns', CASE WHEN i.indexprs IS NULL THEN ARRAY(SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
		                          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts ORDER BY k.n) END,
		                      'Definition', coalesce((SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conindid = x.oid AND contype = 'x'),
		                          substr(pg_get_indexdef(x.oid), 1 + length(format('CREATE UNIQUE INDEX %I ON %s%I.%I ', x.relname, CASE WHEN c.relkind = 'p' THEN 'ONLY ' ELSE '' END, n.nspname, c.relname)))))
		                      ORDER BY x.relname), '[]')
		                    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
		                    WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND NOT i.indisprimary AND i.indisvalid),
		'Deferred',   EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary AND NOT indimmediate),
		'Invalid',    ARRAY(SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = ANY(m.oids) AND NOT indisvalid ORDER BY 1)),
	       c.relkind IN ('r', 'p') AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid)
	FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, i)
	JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
	CROSS JOIN LATERAL (SELECT array_agg(o) AS oids FROM (SELECT c.oid AS o UNION SELECT relid FROM pg_partition_tree(c.oid) WHERE c.relkind = 'p') u) m
	ORDER BY w.i`

// Facts reads what a plan must know of existing tables besides their columns.
func (d *Database) Facts(ctx context.Context, relations []migrate.Relation) ([]migrate.Facts, error) {
	all, readable, err := d.facts(ctx, relations)
	if err == nil && len(all) != len(relations) {
		err = fmt.Errorf("%d of %d tables are there", len(all), len(relations))
	}
	if err == nil {
		err = d.filled(ctx, relations, readable, all)
	}
	if err != nil {
		return nil, fmt.Errorf("examine tables of %s database: %w", d.side, err)
	}
	return all, nil
}

func (d *Database) facts(ctx context.Context, relations []migrate.Relation) (all []migrate.Facts, readable []bool, err error) {
	rows, err := d.pool.Query(ctx, factsSQL, schemas(relations), names(relations))
	if err != nil {
		return nil, nil, err
	}
	var text []byte
	var may bool
	_, err = pgx.ForEachRow(rows, []any{&text, &may}, func() error {
		var facts migrate.Facts
		if err := json.Unmarshal(text, &facts); err != nil {
			return err
		}
		all, readable = append(all, facts), append(readable, may)
		return nil
	})
	return all, readable, err
}

// filled looks into the tables. Views and foreign tables are refused by their
// kind; nothing is read there.
func (d *Database) filled(ctx context.Context, relations []migrate.Relation, readable []bool, all []migrate.Facts) error {
	var parts []string
	for i, relation := range relations {
		if readable[i] {
			parts = append(parts, fmt.Sprintf("(SELECT %d FROM %s LIMIT 1)", i, quote.Relation(relation)))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	rows, err := d.pool.Query(ctx, strings.Join(parts, " UNION ALL "))
	if err != nil {
		return err
	}
	var i int
	_, err = pgx.ForEachRow(rows, []any{&i}, func() error {
		all[i].Filled = true
		return nil
	})
	return err
}
