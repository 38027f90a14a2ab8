package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
)

// rightsSQL asks for everything that the mover's role or the server lacks, as
// (message, mend). $1 and $2 name the tables; $5 says that this is the extracted side;
// $6 names foreign keys that a switch leaves alone.
const rightsSQL = `
WITH me AS (SELECT rolname, quote_ident(rolname) AS role, rolsuper, rolreplication FROM pg_roles WHERE rolname = current_user),
wanted AS (SELECT c.oid, c.relowner, n.oid AS space, format('%I.%I', n.nspname, c.relname) AS name, n.nspname, c.relname
	FROM unnest($1::text[], $2::text[]) AS w(schema, name)
	JOIN pg_namespace r ON r.nspname = w.schema JOIN pg_class x ON x.relnamespace = r.oid AND x.relname = w.name
	CROSS JOIN LATERAL (SELECT x.oid AS o UNION SELECT relid FROM pg_partition_tree(x.oid)) m
	JOIN pg_class c ON c.oid = m.o JOIN pg_namespace n ON n.oid = c.relnamespace),
needed(function) AS (VALUES ('pg_replication_origin_create(text)'), ('pg_replication_origin_drop(text)'), ('pg_replication_origin_oid(text)'),
	('pg_replication_origin_session_setup(text)'), ('pg_replication_origin_session_reset()'), ('pg_control_system()'), ('pg_control_checkpoint()'),
	('pg_logical_emit_message(boolean, text, text)'), ('pg_current_wal_insert_lsn()'), ('pg_current_wal_flush_lsn()')),
lacking AS (SELECT function FROM needed WHERE NOT has_function_privilege('pg_catalog.' || function, 'EXECUTE')),
room AS (SELECT (SELECT setting::int FROM pg_settings WHERE name = 'max_replication_slots') AS slots,
	(SELECT count(*)::int FROM pg_replication_slots) AS taken,
	(SELECT setting::int FROM pg_settings WHERE name = 'max_wal_senders') AS senders)
SELECT 1 AS rank, format('wal_level is %s: changes cannot be read from the log', setting) AS message,
	'ALTER SYSTEM SET wal_level = logical; -- then restart the server' AS mend FROM pg_settings WHERE name = 'wal_level' AND setting <> 'logical' AND $4
UNION ALL
SELECT 2, format('role %s may not open replication connections', role), format('ALTER ROLE %s REPLICATION', role) FROM me WHERE NOT rolreplication AND NOT rolsuper AND $4
UNION ALL
SELECT 3, format('role %s is not a member of %s, which owns %s: guards, publications and capture by triggers need ownership', role, quote_ident(pg_get_userbyid(relowner)), string_agg(w.relname, ', ' ORDER BY w.relname)),
	format('GRANT %I TO %s', pg_get_userbyid(relowner), role) FROM me, wanted w WHERE NOT pg_has_role(relowner, 'USAGE') GROUP BY relowner, role
UNION ALL
SELECT 4, format('role %s may not create a schema or a publication in the database', role), format('GRANT CREATE ON DATABASE %I TO %s', current_database(), role)
	FROM me WHERE NOT has_database_privilege(current_database(), 'CREATE')
UNION ALL
SELECT 4, format('role %s may make no temporary tables, by which rows are merged and repaired', role), format('GRANT TEMPORARY ON DATABASE %I TO %s', current_database(), role)
	FROM me WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
UNION ALL
SELECT 5, format('role %s may not use schema %s', role, nspname), format('GRANT USAGE ON SCHEMA %I TO %s', nspname, role)
	FROM me, (SELECT DISTINCT space, nspname FROM wanted) w WHERE NOT has_schema_privilege(space, 'USAGE')
UNION ALL
SELECT 5, format('role %s may not refer to %s: foreign keys to it, which are %s, could not be made again', role, referred, CASE WHEN $5 THEN 'set aside for the copy' ELSE 'dropped at a switch' END), format('GRANT REFERENCES ON %s TO %s', referred, role)
	FROM me, (SELECT DISTINCT format('%I.%I', n.nspname, c.relname) AS referred FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
	          WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid IN (SELECT oid FROM wanted) AND k.confrelid NOT IN (SELECT oid FROM wanted) AND NOT has_table_privilege(c.oid, 'REFERENCES')
	            AND ($5 OR k.conname <> ALL ($6::text[]))) f
UNION ALL
SELECT 5, format('role %s is not a member of %s, which owns %s: foreign keys across the border are dropped at a switch, which needs ownership', role, quote_ident(owner), string_agg(referring, ', ' ORDER BY referring)),
	format('GRANT %I TO %s', owner, role)
	FROM me, (SELECT DISTINCT pg_get_userbyid(c.relowner) AS owner, format('%I.%I', n.nspname, c.relname) AS referring FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
	          WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid IN (SELECT oid FROM wanted) AND k.conrelid NOT IN (SELECT oid FROM wanted) AND NOT pg_has_role(c.relowner, 'USAGE')) f
	WHERE NOT $5 AND owner NOT IN (SELECT pg_get_userbyid(relowner) FROM wanted) GROUP BY owner, role
UNION ALL
SELECT 6, format('role %s may not set session_replication_role, so its writes would fire the triggers again', role),
	format('GRANT SET ON PARAMETER session_replication_role TO %s', role) FROM me WHERE NOT has_parameter_privilege('session_replication_role', 'SET')
UNION ALL
SELECT 7, format('role %s may not call %s', role, string_agg(function, ', ')), format('GRANT EXECUTE ON FUNCTION %s TO %s', string_agg('pg_catalog.' || function, ', '), role)
	FROM me, lacking GROUP BY role
UNION ALL
SELECT 8, format('%s of %s replication slots are taken; two are needed, one of them while verifying', taken, slots),
	format('ALTER SYSTEM SET max_replication_slots = %s; -- then restart the server', slots + 4) FROM room WHERE slots - taken < 2 AND NOT $3 AND $4
UNION ALL
SELECT 9, format('max_wal_senders is %s; four are needed', senders), 'ALTER SYSTEM SET max_wal_senders = 10; -- then restart the server' FROM room WHERE senders < 4 AND $4
UNION ALL
SELECT 10, format('the database is encoded in %s: %s', current_setting('server_encoding'), CASE current_setting('server_encoding') WHEN 'SQL_ASCII' THEN 'its text may be bytes of any encoding, which another database would not take' ELSE 'text cannot be compared exactly' END),
	'move it to a database that is encoded in UTF8: pg_dump --encoding=UTF8, after the bytes that are none are mended'
	WHERE current_setting('server_encoding') <> 'UTF8'
ORDER BY rank, message`

// Rights lists what the role lacks in this database, and the server, for a
// stream from it, by that capture, and one into it. The mend of a right is the
// statement that gives it, for a superuser or the owner to run. Slots are not
// counted where the capability's own exist already. kept names the foreign keys across
// the border that a switch leaves alone.
func (d *Database) Rights(ctx context.Context, relations []migrate.Relation, capture capability.Capture, running bool, kept []string) ([]capability.Problem, error) {
	rows, err := d.pool.Query(ctx, `SELECT message, mend FROM (`+rightsSQL+`) r`, schemas(relations), names(relations), running, capture == capability.CaptureWAL, d.side == capability.Extracted, append([]string{}, kept...))
	if err != nil {
		return nil, fmt.Errorf("examine rights in %s database: %w", d.side, err)
	}
	problems, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p capability.Problem, err error) {
		p.Path = string(d.side) + " database"
		return p, row.Scan(&p.Message, &p.Mend)
	})
	if err != nil {
		return nil, fmt.Errorf("examine rights in %s database: %w", d.side, err)
	}
	return problems, nil
}
