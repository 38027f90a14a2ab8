package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/apply"
	"strangler/migrate"
)

// lsn parameters travel as text, and are cast by the server.
const progressColumns = `capability, source, (position - '0/0'::pg_lsn)::bigint, fence, system, timeline`

// BeginProgress writes where a stream into this database begins: at the position
// of the snapshot that the backfill copied. What an earlier stream left is
// replaced.
func (d *Database) BeginProgress(ctx context.Context, p migrate.Progress) error {
	_, err := d.pool.Exec(ctx, `
		INSERT INTO strangler.progress (capability, source, slot, position, fence, system, timeline) VALUES ($1, $2, $3, $4::text::pg_lsn, $5, $6, $7)
		ON CONFLICT (capability, source) DO UPDATE SET slot = excluded.slot, position = excluded.position, fence = excluded.fence,
			system = excluded.system, timeline = excluded.timeline, updated_at = clock_timestamp()`,
		p.Capability, p.From, slotName(p.Capability, p.From), p.Position.String(), p.Fence, p.Source.System, p.Source.Timeline)
	if err != nil {
		return fmt.Errorf("write progress of %s from %s: %w", p.Capability, p.From, err)
	}
	return nil
}

// Progress reads what this database has applied from a side; found is false
// where no stream has begun.
func (d *Database) Progress(ctx context.Context, name string, from capability.Side) (p migrate.Progress, found bool, err error) {
	p, err = scanProgress(d.pool.QueryRow(ctx, `SELECT `+progressColumns+` FROM strangler.progress WHERE capability = $1 AND source = $2`, name, from))
	if errors.Is(err, pgx.ErrNoRows) {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("read progress of %s from %s: %w", name, from, err)
	}
	return p, true, nil
}

// DropProgress forgets a stream into this database. No error when there is none.
func (d *Database) DropProgress(ctx context.Context, name string, from capability.Side) error {
	if _, err := d.pool.Exec(ctx, `DELETE FROM strangler.progress WHERE capability = $1 AND source = $2`, name, from); err != nil {
		return fmt.Errorf("drop progress of %s from %s: %w", name, from, err)
	}
	return nil
}

// Applier opens the n-th session that writes a source's changes into this database.
// It fails while another session has the same origin, and for good (a
// migrate.HaltError) where there is no progress or a newer controller.
func (d *Database) Applier(ctx context.Context, name string, from capability.Side, n int, fence uint64, mappings []migrate.Mapping) (migrate.Session, error) {
	conn, err := d.moverSession(ctx, name, from, n)
	if err != nil {
		return nil, err
	}
	progress, err := takeProgress(ctx, conn, name, from, fence)
	if err == nil {
		var session *apply.Session
		if session, err = apply.Open(ctx, conn, d.side, progress, mappings); err == nil {
			return session, nil
		}
	}
	return nil, d.abandon(ctx, conn, err)
}

// takeProgress writes the fence into the progress row, unless a higher one is
// there, and reads the row. From then on nobody with a lower fence can commit.
func takeProgress(ctx context.Context, conn *pgx.Conn, name string, from capability.Side, fence uint64) (migrate.Progress, error) {
	p, err := scanProgress(conn.QueryRow(ctx,
		`UPDATE strangler.progress SET fence = $3 WHERE capability = $1 AND source = $2 AND fence <= $3 RETURNING `+progressColumns, name, from, fence))
	if errors.Is(err, pgx.ErrNoRows) {
		return p, &migrate.HaltError{
			Reason: fmt.Sprintf("the stream of %s from %s has no progress to resume from, or another controller has taken it over", name, from),
			Mend:   "see `strangler data status`",
		}
	}
	if err != nil {
		return p, fmt.Errorf("take over progress of %s from %s: %w", name, from, err)
	}
	return p, nil
}

func scanProgress(row pgx.Row) (migrate.Progress, error) {
	var p migrate.Progress
	err := row.Scan(&p.Capability, &p.From, &p.Position, &p.Fence, &p.Source.System, &p.Source.Timeline)
	return p, err
}
