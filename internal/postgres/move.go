package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
)

// Move reads where the move of a capability stands. Found is false where none
// was begun, or nothing was ever installed.
func (d *Database) Move(ctx context.Context, name string) (m migrate.Move, found bool, err error) {
	var verified *time.Time
	var legacy, extracted capability.Capture
	// Columns that a version before it did not have are read by their names.
	err = d.pool.QueryRow(ctx, `SELECT phase, fingerprint, coalesce((snapshot - '0/0'::pg_lsn)::bigint, 0),
			coalesce(((to_jsonb(m) ->> 'horizon')::pg_lsn - '0/0'::pg_lsn)::bigint, 0), verified_at,
			coalesce(to_jsonb(m) ->> 'capture_legacy', 'wal'), coalesce(to_jsonb(m) ->> 'capture_extracted', 'wal'),
			coalesce(to_jsonb(m) ->> 'layout', '')
		FROM strangler.move m WHERE capability = $1`, name).
		Scan(&m.Phase, &m.Fingerprint, &m.Snapshot, &m.Horizon, &verified, &legacy, &extracted, &m.Layout)
	if errors.Is(err, pgx.ErrNoRows) || undefined(err) {
		return m, false, nil
	}
	if err != nil {
		return m, false, fmt.Errorf("read move of %s: %w", name, err)
	}
	m.Capture = map[capability.Side]capability.Capture{capability.Legacy: legacy, capability.Extracted: extracted}
	if verified != nil {
		m.VerifiedAt = *verified
	}
	return m, true, nil
}

// SaveMove writes where the move of a capability stands.
func (d *Database) SaveMove(ctx context.Context, name string, m migrate.Move) error {
	var verified *time.Time
	if !m.VerifiedAt.IsZero() {
		verified = &m.VerifiedAt
	}
	_, err := d.pool.Exec(ctx, `
		INSERT INTO strangler.move (capability, phase, fingerprint, snapshot, horizon, verified_at, capture_legacy, capture_extracted)
			VALUES ($1, $2, $3, $4::text::pg_lsn, nullif($5::text::pg_lsn, '0/0'), $6, $7, $8)
		ON CONFLICT (capability) DO UPDATE SET phase = excluded.phase, fingerprint = excluded.fingerprint, snapshot = excluded.snapshot, horizon = excluded.horizon,
			verified_at = excluded.verified_at, capture_legacy = excluded.capture_legacy, capture_extracted = excluded.capture_extracted, updated_at = clock_timestamp()`,
		name, string(m.Phase), m.Fingerprint, m.Snapshot.String(), m.Horizon.String(), verified, string(m.Capture[capability.Legacy]), string(m.Capture[capability.Extracted]))
	if err != nil {
		return fmt.Errorf("write move of %s: %w", name, err)
	}
	return nil
}

// SaveLayout writes the tables that a move follows.
func (d *Database) SaveLayout(ctx context.Context, name, fingerprint string, layout []byte) error {
	_, err := d.pool.Exec(ctx, `UPDATE strangler.move SET fingerprint = $2, layout = $3, updated_at = clock_timestamp() WHERE capability = $1`, name, fingerprint, string(layout))
	if err != nil {
		return fmt.Errorf("write tables of %s: %w", name, err)
	}
	return nil
}

// Forget removes what this database remembers of a capability's move, the gate
// excepted, and the origins of its writing sessions.
func (d *Database) Forget(ctx context.Context, name string) error {
	var origins []string
	for _, side := range capability.Sides {
		origins = append(origins, applyOrigins(name, side)...)
		for worker := range migrate.Workers + 1 { // and that of repairs
			origins = append(origins, migrate.CopyOriginName(name, side, worker))
		}
	}
	err := d.onceFree(ctx, `SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname = ANY($1)`, origins)
	if err != nil {
		return fmt.Errorf("drop replication origins of %s in %s database: %w", name, d.side, err)
	}
	// The record of the move goes last: without it nobody would come back for the rest.
	for _, table := range []string{"progress", "chunk", "partition", "identity", "border", "move"} {
		_, err := d.pool.Exec(ctx, `DELETE FROM strangler.`+table+` WHERE capability = $1`, name)
		if err != nil && !undefined(err) {
			return fmt.Errorf("forget %s in %s database: %w", name, d.side, err)
		}
	}
	return nil
}
