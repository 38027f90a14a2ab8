package database

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	patience     = time.Second     // with a statement whose client has gone; most are over by then
	hangUp       = 5 * time.Second // with a database that does not hear that it may stop
	rollbackTime = 5 * time.Second
)

// sparing keeps a client that goes away from costing a session. The driver ends the
// session otherwise, and clients go away in crowds, when the shop is slow: starting
// all those sessions again is what then keeps it slow.
func sparing(conn *pgconn.PgConn) ctxwatch.Handler {
	return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, CancelRequestDelay: patience, DeadlineDelay: hangUp}
}

// InTx runs do in one transaction and commits it when do returns nil. Where ctx has
// ended by then it is rolled back, and the session is kept.
func InTx(ctx context.Context, pool *pgxpool.Pool, do func(pgx.Tx) error) error {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
		defer cancel()
		_ = tx.Rollback(end) // after a commit it does nothing
	}()
	if err := do(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return tx.Commit(ctx)
}
