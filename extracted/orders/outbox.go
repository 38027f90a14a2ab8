package orders

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"extracted/internal/httpx"
)

// The kinds of a task.
const (
	taskCheckout = "checkout"
	taskCancel   = "cancel"
)

// task is one row of the outbox, held under a lease: what remains to be done for an order.
type task struct {
	OrderID    int64
	Kind       string
	CustomerID int64
	Ref        string
	Refusal    refusal // set once it is decided that the order will not be placed
	Trail      httpx.Trail
	Lease      int64
}

// errLeaseLost means that the task is no longer ours: somebody else finished it or is at it.
var errLeaseLost = errors.New("task has passed to somebody else")

// openTask writes the intent in the transaction that makes it necessary, leased to the caller.
func openTask(ctx context.Context, tx pgx.Tx, t *task, lease time.Duration) error {
	err := tx.QueryRow(ctx, `INSERT INTO outbox (order_id, kind, customer_id, ref, request_id, traceparent, tracestate, lease_until)
		VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8::interval)
		ON CONFLICT (order_id, kind) DO UPDATE SET ref = EXCLUDED.ref, refusal = '', request_id = EXCLUDED.request_id,
			traceparent = EXCLUDED.traceparent, tracestate = EXCLUDED.tracestate, created_at = now(),
			lease = outbox.lease + 1, lease_until = EXCLUDED.lease_until, done_at = NULL
		WHERE outbox.done_at IS NOT NULL
		RETURNING lease`,
		t.OrderID, t.Kind, t.CustomerID, t.Ref, t.Trail.RequestID, t.Trail.Traceparent, t.Trail.Tracestate, lease).Scan(&t.Lease)
	if errors.Is(err, pgx.ErrNoRows) {
		return errLeaseLost
	}
	if err != nil {
		return fmt.Errorf("open task: %w", err)
	}
	return nil
}

// taskOpen reports, without a lock, whether a task waits or is being worked on.
func taskOpen(ctx context.Context, db querier, order int64, kind string) (bool, error) {
	var open bool
	err := db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM outbox WHERE order_id = $1 AND kind = $2 AND done_at IS NULL)`,
		order, kind).Scan(&open)
	if err != nil {
		return false, fmt.Errorf("look for task: %w", err)
	}
	return open, nil
}

// closeTask ends a task in the transaction of its last step, unless a refusal was written into it meanwhile
// that the caller does not know of; then it stays open and the refusal is returned. Locks the row.
func closeTask(ctx context.Context, tx pgx.Tx, t task) (refusal, error) {
	var found refusal
	err := tx.QueryRow(ctx, `UPDATE outbox SET done_at = CASE WHEN refusal = $4 THEN now() END
		WHERE order_id = $1 AND kind = $2 AND lease = $3 AND done_at IS NULL RETURNING refusal`,
		t.OrderID, t.Kind, t.Lease, t.Refusal).Scan(&found)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", errLeaseLost
	}
	if err != nil {
		return "", fmt.Errorf("close task: %w", err)
	}
	return found, nil
}

// refuseTask writes down that the order will not be placed, before anything is undone: whoever goes on
// after a crash must undo as well, even if asking again would now succeed.
func refuseTask(ctx context.Context, db execer, t task, why refusal) error {
	tag, err := db.Exec(ctx, `UPDATE outbox SET refusal = $4
		WHERE order_id = $1 AND kind = $2 AND lease = $3 AND done_at IS NULL AND refusal IN ('', $4)`,
		t.OrderID, t.Kind, t.Lease, why)
	if err != nil {
		return fmt.Errorf("refuse task: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return errLeaseLost
	}
	return nil
}

// withdrawCheckout makes a checkout that is still under way end refused, whoever works on it. It reports
// false when there is none.
func withdrawCheckout(ctx context.Context, db execer, order int64) (bool, error) {
	tag, err := db.Exec(ctx, `UPDATE outbox SET refusal = CASE refusal WHEN '' THEN $2 ELSE refusal END
		WHERE order_id = $1 AND kind = 'checkout' AND done_at IS NULL`, order, refusedRefunded)
	if err != nil {
		return false, fmt.Errorf("withdraw checkout: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

// claimTask leases one task whose lease has run out, or returns nil when there is none. It also touches the
// order, so that a database which takes no writes now refuses here, before any neighbour has been asked.
func claimTask(ctx context.Context, tx pgx.Tx, lease time.Duration) (*task, error) {
	var t task
	err := tx.QueryRow(ctx, `UPDATE outbox SET lease = lease + 1, lease_until = now() + $1::interval
		WHERE (order_id, kind) = (SELECT order_id, kind FROM outbox WHERE done_at IS NULL AND lease_until < now()
			ORDER BY lease_until LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING order_id, kind, customer_id, ref, refusal, request_id, traceparent, tracestate, lease`, lease).
		Scan(&t.OrderID, &t.Kind, &t.CustomerID, &t.Ref, &t.Refusal, &t.Trail.RequestID, &t.Trail.Traceparent, &t.Trail.Tracestate, &t.Lease)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("claim task: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE orders SET updated_at = now() WHERE id = $1`, t.OrderID); err != nil {
		return nil, fmt.Errorf("claim task: %w", err)
	}
	return &t, nil
}

// forgetTasks deletes what was done more than an hour ago, at most 5,000 rows so that the statement stays short.
func forgetTasks(ctx context.Context, db execer) error {
	if _, err := db.Exec(ctx, `DELETE FROM outbox WHERE (order_id, kind) IN (SELECT order_id, kind FROM outbox
		WHERE done_at < now() - interval '1 hour' LIMIT 5000)`); err != nil {
		return fmt.Errorf("forget done tasks: %w", err)
	}
	return nil
}
