package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// leavingTime bounds how long the last session that used a slot or an origin may
// take to be gone, after its connection was closed.
const leavingTime = 10 * time.Second

// inUse is what PostgreSQL says of a slot or an origin that a session holds.
const inUse = "55006"

// onceFree runs a statement that removes a slot or an origin, again and again
// while a session that is about to leave still holds it.
func (d *Database) onceFree(ctx context.Context, statement string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, leavingTime)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		_, err := d.pool.Exec(ctx, statement, args...)
		var refused *pgconn.PgError
		if err == nil || !errors.As(err, &refused) || refused.Code != inUse {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-again.C:
		}
	}
}
