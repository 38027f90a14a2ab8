package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strangler/internal/postgres/quote"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// secondarySQL finds what hangs on tables and can be taken off for a copy: their
// foreign keys, and every index but the primary key's, with the constraint that
// it stands for. $1 are the tables, which stand for their partitions too; the indexes
// $2, and what a table that stays refers to, are left out. Each is told as the
// statements that make it again, by pass, and by the one that drops it: a unique
// constraint as its index and what makes a constraint of it, so that indexes of one
// table, or of several partitions, can be built side by side, unless it may be broken
// for a moment: its index alone would refuse rows that change places; a foreign key as one that claims nothing
// of the rows that are there, and its validation, where PostgreSQL takes that
// apart. What a partitioned table has goes with its partitions' parts of it, and
// takes these up when it is made again; where one has come meanwhile, it makes it.
const secondarySQL = `
WITH targets AS (SELECT oid, max(depth) AS depth FROM (
		SELECT w.name::regclass::oid AS oid, 0 AS depth FROM unnest($1::text[]) AS w(name)
		UNION ALL SELECT p.relid, p.level FROM unnest($1::text[]) AS w(name) CROSS JOIN LATERAL pg_partition_tree(w.name::regclass) p) t GROUP BY oid),
found AS (
	SELECT i.indexrelid AS oid, i.indrelid AS relation, c.relname::text AS name, x.oid AS con, x.contype, x.conname::text, i.indisclustered AS clustered,
	       coalesce(t.spcname::text, '') AS tablespace, format('%I.%I', n.nspname, c.relname) AS full_name, pg_get_indexdef(i.indexrelid) AS definition,
	       CASE WHEN x.condeferrable THEN ' DEFERRABLE' ELSE '' END || CASE WHEN x.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END AS deferral,
	       EXISTS (SELECT FROM pg_inherits WHERE inhrelid = i.indexrelid) AS attached, c.relkind = 'I' AS partitioned, i.indisunique, r.depth,
	       format('%I.%I', tn.nspname, tc.relname) AS table_name
	FROM targets r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_class tc ON tc.oid = i.indrelid JOIN pg_namespace tn ON tn.oid = tc.relnamespace
	LEFT JOIN pg_constraint x ON x.conindid = i.indexrelid AND x.contype IN ('u', 'x') AND x.conrelid = i.indrelid
	LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace
	WHERE NOT i.indisprimary AND NOT i.indisreplident AND i.indisvalid AND NOT EXISTS (SELECT FROM unnest($2::text[]) k WHERE to_regclass(k) = i.indexrelid)
	  AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = i.indexrelid AND f.conrelid NOT IN (SELECT oid FROM targets))
	  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.deptype = 'e')),
keys AS (
	SELECT k.oid, k.conrelid AS relation, k.conname::text AS name, pg_get_constraintdef(k.oid) AS definition, k.convalidated,
	       k.convalidated AND c.relkind <> 'p' AS apart -- added first and validated then
	FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid IN (SELECT oid FROM targets)),
told (pass, kind, relation, name, statement, tablespace, drops, turn, depth) AS (
	SELECT 1, 'index', relation, name, definition, tablespace, CASE WHEN con IS NULL AND NOT attached THEN format('DROP INDEX %s', full_name) END, 3, depth
	FROM found WHERE contype IS DISTINCT FROM 'x' AND deferral = '' AND NOT partitioned
	UNION ALL
	SELECT 2, CASE contype WHEN 'x' THEN 'exclusion constraint' ELSE 'unique constraint' END, relation, conname,
	       format('ALTER TABLE %s ADD CONSTRAINT %I ', relation::regclass, conname)
	       || CASE WHEN contype = 'x' OR deferral <> '' THEN pg_get_constraintdef(con) ELSE format('UNIQUE USING INDEX %I', name) END
	       || coalesce(format('; COMMENT ON CONSTRAINT %I ON %s IS %L', conname, relation::regclass, obj_description(con, 'pg_constraint')), ''),
	       tablespace, CASE WHEN NOT attached THEN format('ALTER TABLE %s DROP CONSTRAINT %I', relation::regclass, conname) END, 2, depth
	FROM found WHERE con IS NOT NULL AND NOT partitioned
	UNION ALL
	SELECT 3, 'unique constraint', relation, conname, format('ALTER TABLE %s ADD CONSTRAINT %I %s', relation::regclass, conname, pg_get_constraintdef(con))
	       || coalesce(format('; COMMENT ON CONSTRAINT %I ON %s IS %L', conname, relation::regclass, obj_description(con, 'pg_constraint')), ''),
	       tablespace, CASE WHEN NOT attached THEN format('ALTER TABLE %s DROP CONSTRAINT %I', relation::regclass, conname) END, 2, depth
	FROM found WHERE con IS NOT NULL AND partitioned
	UNION ALL
	SELECT 3, 'index', relation, name, format('CREATE %sINDEX %I ON %s ', u, name, table_name) || substr(definition, 1 + length(format('CREATE %sINDEX %I ON ONLY %s ', u, name, table_name))),
	       tablespace, CASE WHEN NOT attached THEN format('DROP INDEX %s', full_name) END, 3, depth
	FROM found CROSS JOIN LATERAL (SELECT CASE WHEN indisunique THEN 'UNIQUE ' ELSE '' END) k(u) WHERE con IS NULL AND partitioned
	UNION ALL
	SELECT CASE WHEN partitioned THEN 3 ELSE 2 END, 'index property', relation, name, statement, '', NULL, 4, depth FROM found CROSS JOIN LATERAL (
		SELECT format('ALTER TABLE %s CLUSTER ON %I', relation::regclass, name) WHERE clustered
		UNION ALL SELECT format('COMMENT ON INDEX %s IS %L', full_name, obj_description(oid, 'pg_class')) WHERE obj_description(oid, 'pg_class') IS NOT NULL
		UNION ALL SELECT format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s', full_name, attnum, attstattarget) FROM pg_attribute WHERE attrelid = oid AND attstattarget >= 0
	) p(statement)
	UNION ALL
	SELECT 4, 'foreign key', relation, name, format('ALTER TABLE %s ADD CONSTRAINT %I %s', relation::regclass, name, definition) || CASE WHEN apart THEN ' NOT VALID' ELSE '' END
	       || coalesce(format('; COMMENT ON CONSTRAINT %I ON %s IS %L', name, relation::regclass, obj_description(oid, 'pg_constraint')), ''),
	       '', format('ALTER TABLE %s DROP CONSTRAINT %I', relation::regclass, name), 1, 0
	FROM keys
	UNION ALL
	SELECT 5, 'foreign key', relation, name, format('ALTER TABLE %s VALIDATE CONSTRAINT %I', relation::regclass, name), '', NULL, 5, 0 FROM keys WHERE apart)
SELECT 0::bigint AS id, pass, kind, n.nspname::text, c.relname::text, t.name, t.statement, t.tablespace, coalesce(t.drops, '')
FROM told t JOIN pg_class c ON c.oid = t.relation JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY turn, pass, depth DESC, 4, 5, 6, 7`

// Secondary lists what could be set aside.
func (d *Database) Secondary(ctx context.Context, relations, keep []migrate.Relation) ([]migrate.Aside, error) {
	asides, _, err := secondary(ctx, d.pool, relations, keep)
	if err != nil {
		return nil, fmt.Errorf("list indexes and constraints in %s database: %w", d.side, err)
	}
	return asides, nil
}

// queries is a pool, or a transaction.
type queries interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// secondary also returns the statements that drop what it lists, in their order.
func secondary(ctx context.Context, q queries, relations, keep []migrate.Relation) (asides []migrate.Aside, drops []string, err error) {
	quoted := func(list []migrate.Relation) []string {
		names := make([]string, len(list))
		for i, r := range list {
			names[i] = quote.Relation(r)
		}
		return names
	}
	rows, err := q.Query(ctx, secondarySQL, quoted(relations), quoted(keep))
	if err != nil {
		return nil, nil, err
	}
	asides, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a migrate.Aside, err error) {
		var drop string
		err = row.Scan(&a.ID, &a.Pass, &a.Kind, &a.Table.Schema, &a.Table.Name, &a.Name, &a.Statement, &a.Tablespace, &drop)
		if drop != "" {
			drops = append(drops, drop)
		}
		return a, err
	})
	return asides, drops, err
}

// SetAside takes off the tables what slows a copy down, in one transaction with
// the records of it. It gives up after five seconds behind somebody who uses one
// of the tables.
func (d *Database) SetAside(ctx context.Context, name string, relations, keep []migrate.Relation) ([]migrate.Aside, error) {
	var asides []migrate.Aside
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '5s'`); err != nil {
			return err
		}
		found, drops, err := secondary(ctx, tx, relations, keep)
		if err == nil {
			err = referable(ctx, tx, relations)
		}
		if err != nil {
			return err
		}
		asides = found
		for _, a := range found {
			_, err := tx.Exec(ctx, `INSERT INTO strangler.aside (capability, pass, kind, relation, name, statement, tablespace) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
				name, a.Pass, a.Kind, quote.Relation(a.Table), a.Name, a.Statement, a.Tablespace)
			if err != nil {
				return err
			}
		}
		for _, drop := range drops {
			if _, err := tx.Exec(ctx, drop); err != nil {
				return fmt.Errorf("%s: %w", drop, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("set indexes and constraints of %s aside: %w", name, err)
	}
	return asides, nil
}

// referable makes sure that foreign keys that are dropped can be made again.
func referable(ctx context.Context, tx pgx.Tx, relations []migrate.Relation) error {
	var mend *string
	err := tx.QueryRow(ctx, membersSQL+`
		SELECT string_agg(DISTINCT format('GRANT REFERENCES ON %s TO %I', k.confrelid::regclass, current_user), '; ')
		FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid IN (SELECT oid FROM members) AND NOT has_table_privilege(k.confrelid, 'REFERENCES')`,
		schemas(relations), names(relations)).Scan(&mend)
	if err == nil && mend != nil {
		err = fmt.Errorf("the mover's role could not make their foreign keys again: %s", *mend)
	}
	return err
}

// Asides lists what is set aside, in the order in which it is made again.
func (d *Database) Asides(ctx context.Context, name string) ([]migrate.Aside, error) {
	rows, err := d.pool.Query(ctx, `SELECT id, pass, kind, (parse_ident(relation))[1], (parse_ident(relation))[2], name, statement, tablespace
		FROM strangler.aside WHERE capability = $1 ORDER BY pass, id`, name)
	if undefined(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list what is set aside of %s: %w", name, err)
	}
	asides, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a migrate.Aside, err error) {
		return a, row.Scan(&a.ID, &a.Pass, &a.Kind, &a.Table.Schema, &a.Table.Name, &a.Name, &a.Statement, &a.Tablespace)
	})
	if undefined(err) {
		return nil, nil // nothing was ever installed, or by a version that set nothing aside
	}
	if err != nil {
		return nil, fmt.Errorf("list what is set aside of %s: %w", name, err)
	}
	return asides, nil
}

// Build makes one thing again and strikes it off, in one transaction. Somebody
// else who builds it is waited for. What belongs to a table that is gone is
// struck off.
func (d *Database) Build(ctx context.Context, a migrate.Aside) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		// The first to delete the record is the one that builds.
		tag, err := tx.Exec(ctx, `DELETE FROM strangler.aside WHERE id = $1`, a.ID)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		var there bool
		err = tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL, set_config('default_tablespace', $2, true), set_config('lock_timeout', '30s', true)`,
			quote.Relation(a.Table), a.Tablespace).Scan(&there, nil, nil)
		if err != nil || !there {
			return err
		}
		_, err = tx.Conn().PgConn().Exec(ctx, a.Statement).ReadAll()
		return err
	})
	if err != nil {
		return d.explainBuild(ctx, a, err)
	}
	return nil
}

// BuildProgress tells what is being built in this database, and how far it is.
func (d *Database) BuildProgress(ctx context.Context, relations []migrate.Relation) (string, error) {
	var text string
	err := d.pool.QueryRow(ctx, membersSQL+`
		SELECT coalesce(string_agg(format('%s: %s%s', c.relname, p.phase, ' ' || CASE WHEN p.tuples_total > 0 THEN 100 * p.tuples_done / p.tuples_total
		                                                                        WHEN p.blocks_total > 0 THEN 100 * p.blocks_done / p.blocks_total END || '%'), ', ' ORDER BY p.pid), '')
		FROM pg_stat_progress_create_index p JOIN pg_class c ON c.oid = p.relid
		WHERE p.datname = current_database() AND p.relid IN (SELECT oid FROM members)`, schemas(relations), names(relations)).Scan(&text)
	if err != nil {
		return "", fmt.Errorf("look at indexes that are built in %s database: %w", d.side, err)
	}
	return text, nil
}

// explainBuild tells rows that stand against an index or constraint from what
// trying again may heal.
func (d *Database) explainBuild(ctx context.Context, a migrate.Aside, err error) error {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) || refusal.Code[:2] != "23" && refusal.Code[:2] != "42" {
		return fmt.Errorf("build %s %s of %s: %w", a.Kind, a.Name, a.Table, sqlstate.Describe(err))
	}
	reason := sqlstate.Discreet(refusal)
	mend := "change the rows in the legacy database, and the move goes on with what they have become; or do without it"
	switch {
	case refusal.Code[:2] == "42": // somebody has changed the table meanwhile
		mend = "give it what it needs, and the move goes on; or do without it"
	case refusal.Code == "23503":
		if orphans, _, err := orphans(ctx, d.pool, a.Table, a.Name); err == nil {
			reason = fmt.Sprintf("%d rows refer to rows that are not there", orphans)
		}
		mend = "change the rows in the legacy database, and the move goes on with what they have become; or leave the key not validated"
	}
	return &migrate.HaltError{
		Reason: fmt.Sprintf("%s %s of %s cannot be made: %s", a.Kind, a.Name, a.Table, reason),
		Mend:   fmt.Sprintf("%s, with this in the extracted database: DELETE FROM strangler.aside WHERE relation = %s AND name = %s", mend, quote.Literal(quote.Relation(a.Table)), quote.Literal(a.Name)),
	}
}
