package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"strangler/migrate"
)

// serverSQL reads settings and counts; every role may.
const serverSQL = `
SELECT pg_backend_pid(), pg_is_in_recovery(), quote_ident(current_database()), quote_ident(session_user),
	coalesce(to_jsonb(d)->>'datlocprovider', 'c') || ' ' || coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale', d.datcollate),
	coalesce(pg_database_collation_actual_version(d.oid), ''), coalesce(d.datcollversion, ''),
	(SELECT coalesce(jsonb_object_agg(name, default_version), '{}') FROM pg_available_extensions),
	current_setting('max_replication_slots')::int, (SELECT count(*)::int FROM pg_replication_slots),
	CASE WHEN current_setting('max_active_replication_origins', true) IS NULL THEN 'max_replication_slots' ELSE 'max_active_replication_origins' END,
	coalesce(current_setting('max_active_replication_origins', true), current_setting('max_replication_slots'))::int, (SELECT count(*)::int FROM pg_replication_origin),
	current_setting('max_wal_senders')::int, (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'walsender'),
	current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int - coalesce(current_setting('reserved_connections', true)::int, 0),
	(SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend'),
	(SELECT setting::bigint * 1024 * 1024 FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
	(SELECT coalesce(wal_bytes / nullif(extract(epoch FROM clock_timestamp() - stats_reset), 0), 0)::float8 FROM pg_stat_wal),
	ARRAY(SELECT DISTINCT application_name FROM pg_stat_activity WHERE datid = d.oid AND usename = session_user AND backend_type = 'client backend' AND application_name NOT LIKE 'strangler%' ORDER BY 1),
	NOT pg_has_role('pg_read_all_stats', 'USAGE'), EXISTS (SELECT FROM pg_largeobject_metadata)
FROM pg_database d WHERE d.datname = current_database()`

// waitsSQL lists the transactions of the whole cluster that a new slot or a gate
// waits for, those of the last second left out.
const waitsSQL = `
SELECT '', pid, coalesce(usename::text, backend_type), coalesce(application_name, ''), coalesce(datname::text, ''),
       coalesce(state || CASE WHEN state LIKE 'idle%' THEN ' for ' || extract(epoch FROM clock_timestamp() - state_change)::int || ' s' ELSE '' END, 'active'), xact_start
FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '1 s' AND application_name NOT LIKE 'strangler%'
UNION ALL
SELECT gid, 0, owner::text, '', database::text, 'prepared', prepared FROM pg_prepared_xacts
ORDER BY 7, 2`

// Server tells how the server is set up, and which of its transactions others
// have to wait for now.
func (d *Database) Server(ctx context.Context) (migrate.Server, error) {
	fail := func(err error) (migrate.Server, error) {
		return migrate.Server{}, fmt.Errorf("examine the server of %s database: %w", d.side, err)
	}
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return fail(err)
	}
	defer conn.Release()
	var s migrate.Server
	var pid uint32
	err = conn.QueryRow(ctx, serverSQL).Scan(&pid, &s.Standby, &s.Database, &s.Role, &s.Collation.Name, &s.Collation.Version, &s.Collation.Recorded, &s.Extensions,
		&s.Slots, &s.SlotsTaken, &s.OriginsBy, &s.Origins, &s.OriginsTaken, &s.Senders, &s.SendersTaken, &s.Places, &s.PlacesTaken, &s.KeepSize, &s.LogRate, &s.Sharing, &s.Blind, &s.LargeObjects)
	if err != nil {
		return fail(err)
	}
	// A pooler makes up the process number that it gives to its clients.
	s.Pooled = pid != conn.Conn().PgConn().PID()
	rows, err := conn.Query(ctx, waitsSQL)
	if err != nil {
		return fail(err)
	}
	if s.Waits, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (w migrate.Waiting, err error) {
		return w, row.Scan(&w.Prepared, &w.PID, &w.User, &w.Application, &w.Database, &w.Does, &w.Since)
	}); err != nil {
		return fail(err)
	}
	rows, err = conn.Query(ctx, `SELECT slot_name::text, coalesce(plugin::text, ''), coalesce(database::text, ''), active,
		CASE WHEN pg_is_in_recovery() THEN 0 ELSE coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint END
		FROM pg_replication_slots WHERE slot_type = 'logical' ORDER BY 1`)
	if err != nil {
		return fail(err)
	}
	if s.Decoders, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (x migrate.Decoder, err error) {
		return x, row.Scan(&x.Name, &x.Plugin, &x.Database, &x.Active, &x.Retained)
	}); err != nil {
		return fail(err)
	}
	return s, nil
}
