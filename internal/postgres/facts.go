package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"strangler/migrate"
)

// factsSQL reads one table's facts as one JSON object; $1 and $2 name it.
const factsSQL = `
	SELECT json_build_object(
		'Unlogged',   c.relpersistence <> 'p',
		'Partition',  c.relispartition,
		'Inherits',   c.relkind = 'r' AND NOT c.relispartition AND EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent)),
		'Forced',     c.relrowsecurity AND c.relforcerowsecurity AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user),
		'Subscribed', EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = c.oid),
		'ReplicaID',  c.relreplident,
		'Rules',      ARRAY(SELECT rulename FROM pg_rewrite WHERE ev_class = c.oid AND c.relkind <> 'v' AND c.relkind <> 'm' ORDER BY 1),
		'Always',     ARRAY(SELECT tgname FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled IN ('A', 'R')
		                    AND tgname NOT IN ('strangler_guard', 'strangler_guard_truncate') ORDER BY 1),
		'Ordinary',   ARRAY(SELECT tgname FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled = 'O'
		                    AND tgname NOT IN ('strangler_guard', 'strangler_guard_truncate') ORDER BY 1),
		'Enums',      (SELECT json_object_agg(e.name, e.labels) FROM (
		                    SELECT format_type(y.oid, NULL) AS name, array_agg(v.enumlabel ORDER BY v.enumsortorder) AS labels
		                    FROM (SELECT DISTINCT CASE WHEN b.typelem <> 0 AND b.typlen = -1 THEN b.typelem ELSE b.oid END AS oid
		                          FROM pg_attribute a JOIN pg_type b ON b.oid = a.atttypid
		                          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) y
		                    JOIN pg_enum v ON v.enumtypid = y.oid GROUP BY y.oid) e),
		'Deferred',   EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary AND NOT indimmediate),
		'Invalid',    EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND NOT indisvalid))
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = $1 AND c.relname = $2`

// Facts reads what a plan must know of existing tables besides their columns.
func (d *Database) Facts(ctx context.Context, relations []migrate.Relation) ([]migrate.Facts, error) {
	all := make([]migrate.Facts, 0, len(relations))
	for _, relation := range relations {
		facts, err := d.facts(ctx, relation)
		if err != nil {
			return nil, fmt.Errorf("examine %s in %s database: %w", relation, d.side, err)
		}
		all = append(all, facts)
	}
	return all, nil
}

func (d *Database) facts(ctx context.Context, relation migrate.Relation) (migrate.Facts, error) {
	var facts migrate.Facts
	var text []byte
	if err := d.pool.QueryRow(ctx, factsSQL, relation.Schema, relation.Name).Scan(&text); err != nil {
		return facts, err
	}
	if err := json.Unmarshal(text, &facts); err != nil {
		return facts, err
	}
	// Views and foreign tables are refused by their kind; nothing is read there.
	var table bool
	err := d.pool.QueryRow(ctx, `SELECT relkind IN ('r', 'p') AND has_table_privilege(oid, 'SELECT') FROM pg_class
		WHERE relname = $2 AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)`, relation.Schema, relation.Name).Scan(&table)
	if err != nil || !table {
		return facts, err
	}
	err = d.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+quoted(relation)+`)`).Scan(&facts.Filled)
	return facts, err
}
