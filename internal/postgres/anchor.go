package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// anchor is a session in a transaction that has exported its snapshot: as long as
// it is open, others can import it.
type anchor struct {
	conn *pgx.Conn
	name string
}

// OpenSnapshot opens a session that keeps a snapshot: one that somebody else has
// exported, whose session may then end, or the present one. Nothing ends it for
// being idle, but it ends with its connection.
func (d *Database) OpenSnapshot(ctx context.Context, snapshot string) (migrate.Anchor, error) {
	conn, err := d.connect(ctx, map[string]string{"application_name": "strangler snapshot"})
	if err != nil {
		return nil, err
	}
	begin := `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; `
	if snapshot != "" {
		begin += `SET TRANSACTION SNAPSHOT ` + quote.Literal(snapshot) + `; `
	}
	// Later versions can also end a transaction for being long.
	begin += `SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'; SELECT pg_export_snapshot()`
	results, err := conn.PgConn().Exec(ctx, begin).ReadAll()
	if err != nil {
		_ = conn.Close(context.WithoutCancel(ctx)) // the first error is told
		return nil, fmt.Errorf("keep a snapshot of %s database: %w", d.side, err)
	}
	return &anchor{conn: conn, name: string(results[len(results)-1].Rows[0][0])}, nil
}

func (a *anchor) Name() string { return a.name }

// Ping asks the session for a sign of life, for five seconds.
func (a *anchor) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return a.conn.Ping(ctx)
}

// Close ends the session, and with it the snapshot.
func (a *anchor) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return a.conn.Close(ctx)
}
