package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Blockers names the sessions that keep sessions of this Database's role and name
// waiting for a lock of a relation: even a question to the catalog waits for whoever
// has a table for itself. It does not wait for them.
func (d *Database) Blockers(ctx context.Context) ([]string, error) {
	rows, err := d.pool.Query(ctx, `
		SELECT DISTINCT format('pid %s (%s, %s), which has had %s for itself for %s s', b.pid, b.usename, coalesce(nullif(b.application_name, ''), 'no name'),
			(SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = l.relation),
			greatest(0, extract(epoch FROM clock_timestamp() - b.xact_start)::int))
		FROM pg_locks l JOIN pg_stat_activity a USING (pid) CROSS JOIN LATERAL unnest(pg_blocking_pids(l.pid)) AS blocking JOIN pg_stat_activity b ON b.pid = blocking
		WHERE l.locktype = 'relation' AND NOT l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		  AND a.usename = session_user AND a.application_name = current_setting('application_name')`)
	if err != nil {
		return nil, fmt.Errorf("look for locks in %s database: %w", d.side, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for locks in %s database: %w", d.side, err)
	}
	return list, nil
}
