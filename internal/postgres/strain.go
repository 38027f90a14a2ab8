package postgres

import (
	"context"
	"fmt"
	"time"

	"strangler/migrate"
)

// strainSQL asks what others have to bear. Who may not read statistics of others
// gets rows without a lag. A walsender without a slot of logical decoding feeds a
// standby, or a backup, which has no lag.
const strainSQL = `
WITH standby AS (SELECT coalesce(nullif(r.application_name, ''), host(r.client_addr), r.pid::text) AS name, coalesce(r.replay_lag, '0') AS lag
	FROM pg_stat_replication r WHERE NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')),
worst AS (SELECT name, lag FROM standby ORDER BY lag DESC, name LIMIT 1),
slot AS (SELECT slot_name, safe_wal_size FROM pg_replication_slots WHERE safe_wal_size IS NOT NULL AND slot_name NOT LIKE 'strangler\_%' ORDER BY safe_wal_size LIMIT 1)
SELECT coalesce((SELECT name FROM worst), ''), coalesce((SELECT extract(epoch FROM lag) FROM worst), 0)::float8,
	(SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend' AND application_name NOT LIKE 'strangler%' AND pid <> pg_backend_pid()),
	coalesce((SELECT slot_name::text FROM slot), ''), coalesce((SELECT safe_wal_size FROM slot), 0),
	NOT pg_has_role('pg_read_all_stats', 'USAGE')`

// Strain asks what others have to bear with the cluster: standbys, sessions at
// work, and slots that are close to being given up.
func (d *Database) Strain(ctx context.Context) (s migrate.Strain, err error) {
	var lag float64
	if err := d.pool.QueryRow(ctx, strainSQL).Scan(&s.Standby, &lag, &s.Busy, &s.Slot, &s.Headroom, &s.Hidden); err != nil {
		return s, fmt.Errorf("look at the strain of %s database: %w", d.side, err)
	}
	s.Lag = time.Duration(lag * float64(time.Second))
	return s, nil
}

// retained is what the slot of a stream keeps.
func (d *Database) retained(ctx context.Context, name string) (migrate.Retention, error) {
	r := migrate.Retention{Headroom: -1}
	err := d.pool.QueryRow(ctx, `
		SELECT coalesce(sum(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)), 0)::bigint, coalesce(min(safe_wal_size), -1)
		FROM pg_replication_slots WHERE slot_name = $1`, slotName(name, d.side)).Scan(&r.Bytes, &r.Headroom)
	if err != nil {
		return r, fmt.Errorf("look at what %s database keeps: %w", d.side, err)
	}
	return r, nil
}
