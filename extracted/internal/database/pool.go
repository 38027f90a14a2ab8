// Package database opens a service's own PostgreSQL database and brings its schema up to date. It holds
// no query of any service.
package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Open connects a pool. The URL's own settings win over the defaults here: at most 16 connections, no
// statement longer than 4 s, no wait for a lock longer than 2 s. The two limits keep a request that waits
// for a lock from outliving its client. pool_min_conns in the URL starts sessions at once, rather than in the
// moment in which all of them are needed.
func Open(ctx context.Context, url, application string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse DATABASE_URL: %w", err)
	}
	for name, value := range map[string]string{
		"application_name": application, "statement_timeout": "4s", "lock_timeout": "2s",
		"idle_in_transaction_session_timeout": "10s",
	} {
		if _, set := cfg.ConnConfig.RuntimeParams[name]; !set {
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
	cfg.ConnConfig.BuildContextWatcherHandler = sparing
	if !strings.Contains(url, "pool_max_conns") {
		cfg.MaxConns = 16
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach database: %w", err)
	}
	return pool, nil
}

const (
	patience     = time.Second     // with a statement whose client has gone; most are over by then
	hangUp       = 5 * time.Second // with a database that does not hear that it may stop
	rollbackTime = 5 * time.Second
)

// sparing keeps a client that goes away from costing a session. The driver ends the session otherwise, and
// clients go away in crowds, when the service is slow: starting all those sessions again is what then keeps
// it slow.
func sparing(conn *pgconn.PgConn) ctxwatch.Handler {
	return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, CancelRequestDelay: patience, DeadlineDelay: hangUp}
}

// InTx runs do in one transaction and commits it when do returns nil. Where ctx has ended by then it is
// rolled back, and the session is kept.
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

// GateRefused is the SQLSTATE of a table that takes no writes here at the moment, because the other
// system owns it or is about to.
const GateRefused = "P0S01"

// Refusal reports whether err is the database refusing for now rather than failing: the gate is shut, the
// transaction lost against another one, or a lock or statement took too long. The text is for the client.
func Refusal(err error) (message string, ok bool) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return "", false
	}
	switch pg.Code {
	case GateRefused, "40001", "55P03", "57014":
		return pg.Message, true
	}
	return "", false
}

// IsGateRefused reports whether err is the gate's refusal.
func IsGateRefused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == GateRefused
}
