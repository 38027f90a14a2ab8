package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"strangler/migrate"
)

// dependentsSQL lists what the catalog knows to use the tables $1, $2. Views are
// followed through views.
const dependentsSQL = `
WITH RECURSIVE wanted AS (
	SELECT c.oid FROM unnest($1::text[], $2::text[]) AS w(schema, name)
	JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
),
uses(oid, rule, used) AS (
	SELECT r.ev_class, r.oid, d.refobjid FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
	WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid IN (TABLE wanted) AND r.ev_class NOT IN (TABLE wanted)
	UNION
	SELECT r.ev_class, r.oid, u.used FROM uses u JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = u.oid AND d.classid = 'pg_rewrite'::regclass
	JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_class <> u.oid
)
SELECT kind, name, coalesce(of, ''), (SELECT CASE WHEN nspname = 'public' THEN '' ELSE nspname || '.' END || relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = used), access
FROM (
	SELECT DISTINCT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'rule' END AS kind,
		CASE WHEN c.relkind IN ('v', 'm') THEN c.oid::regclass::text ELSE quote_ident(r.rulename) END AS name,
		CASE WHEN c.relkind NOT IN ('v', 'm') THEN c.oid::regclass::text END AS of, u.used,
		CASE WHEN c.relkind IN ('v', 'm') AND pg_relation_is_updatable(c.oid, false) & 28 = 0 THEN 'reads' WHEN c.relkind = 'v' THEN 'reads and may write' ELSE 'names' END AS access
	FROM uses u JOIN pg_class c ON c.oid = u.oid JOIN pg_rewrite r ON r.oid = u.rule
	UNION ALL
	SELECT 'policy', quote_ident(p.polname), p.polrelid::regclass::text, d.refobjid, 'reads' FROM pg_policy p
	JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid IN (TABLE wanted) AND p.polrelid NOT IN (TABLE wanted)
	UNION ALL
	SELECT DISTINCT 'function', f.oid::regprocedure::text, NULL, d.refobjid, 'names' FROM pg_proc f
	JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid IN (TABLE wanted)
	UNION ALL
	SELECT DISTINCT 'sequence', s.oid::regclass::text, other.adrelid::regclass::text, own.adrelid, 'draws from' FROM pg_attrdef own
	JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = own.oid AND d.refclassid = 'pg_class'::regclass
	JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
	JOIN pg_depend e ON e.refclassid = 'pg_class'::regclass AND e.refobjid = s.oid AND e.classid = 'pg_attrdef'::regclass
	JOIN pg_attrdef other ON other.oid = e.objid AND other.adrelid NOT IN (TABLE wanted)
	WHERE own.adrelid IN (TABLE wanted)
) d ORDER BY 1, 2, 3, 4`

// Dependents returns the objects outside the tables that the catalog knows to
// use them: not what functions do, whose bodies are text to it.
func (d *Database) Dependents(ctx context.Context, relations []migrate.Relation) ([]migrate.Dependent, error) {
	rows, err := d.pool.Query(ctx, dependentsSQL, schemas(relations), names(relations))
	if err != nil {
		return nil, fmt.Errorf("list what depends on tables of %s database: %w", d.side, err)
	}
	dependents, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (migrate.Dependent, error) {
		found := migrate.Dependent{Found: migrate.FoundCatalog}
		return found, row.Scan(&found.Kind, &found.Name, &found.On, &found.Table, &found.Access)
	})
	if err != nil {
		return nil, fmt.Errorf("list what depends on tables of %s database: %w", d.side, err)
	}
	return dependents, nil
}

// Code returns the functions, triggers and table names of the database. Bodies
// come whole: a large application's are some megabytes.
func (d *Database) Code(ctx context.Context) (code migrate.Code, err error) {
	fail := func(err error) (migrate.Code, error) {
		return migrate.Code{}, fmt.Errorf("read the functions of %s database: %w", d.side, err)
	}
	rows, err := d.pool.Query(ctx, `
		SELECT f.oid::regprocedure::text, f.prorettype = 'trigger'::regtype, coalesce(f.proconfig, '{}'), coalesce(pg_get_function_sqlbody(f.oid), f.prosrc)
		FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace JOIN pg_language l ON l.oid = f.prolang
		WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'strangler') AND l.lanname NOT IN ('internal', 'c') AND f.prokind <> 'a'
		AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = f.oid AND deptype = 'e') ORDER BY 1`)
	if err != nil {
		return fail(err)
	}
	if code.Routines, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r migrate.Routine, err error) {
		return r, row.Scan(&r.Name, &r.Trigger, &r.Settings, &r.Body)
	}); err != nil {
		return fail(err)
	}
	rows, err = d.pool.Query(ctx, `
		SELECT t.tgname::text, n.nspname::text, c.relname::text, t.tgfoid::regprocedure::text, t.tgenabled = 'D'
		FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgname NOT LIKE 'strangler\_%' ORDER BY 2, 3, 1`)
	if err != nil {
		return fail(err)
	}
	if code.Triggers, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t migrate.Trigger, err error) {
		return t, row.Scan(&t.Name, &t.On.Schema, &t.On.Name, &t.Routine, &t.Disabled)
	}); err != nil {
		return fail(err)
	}
	rows, err = d.pool.Query(ctx, `SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'strangler', 'pg_toast') ORDER BY 1, 2`)
	if err != nil {
		return fail(err)
	}
	if code.Tables, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r migrate.Relation, err error) {
		return r, row.Scan(&r.Schema, &r.Name)
	}); err != nil {
		return fail(err)
	}
	return code, nil
}
