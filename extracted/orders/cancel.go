package orders

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"

	"extracted/internal/database"
	"extracted/internal/httpx"
)

// cancelOwn cancels a customer's order. Cancelling a cancelled order changes nothing and succeeds.
func (s *saga) cancelOwn(ctx context.Context, customer, id int64, ref string) (Order, error) {
	if err := checkText("ref", ref, maxRef); err != nil {
		return Order{}, err
	}
	return s.runCancel(ctx, id, customer, ref)
}

// markRefunded is what billing calls once it has refunded a payment on its own account: the order is
// cancelled, or, while its checkout is still under way, will never be confirmed.
func (s *saga) markRefunded(ctx context.Context, id int64) (Order, error) {
	withdrawn, err := withdrawCheckout(ctx, s.pool, id)
	if err != nil {
		return Order{}, err
	}
	if withdrawn {
		return anyOrder(ctx, s.pool, id)
	}
	return s.runCancel(ctx, id, anybody, "")
}

// anybody is the customer of a caller who may cancel every order.
const anybody = 0

// runCancel runs the cancel saga.
func (s *saga) runCancel(ctx context.Context, id, customer int64, ref string) (Order, error) {
	t := task{OrderID: id, Kind: taskCancel, Ref: ref, Trail: httpx.TrailOf(ctx)}
	var already *Order
	err := database.InTx(ctx, s.pool, func(tx pgx.Tx) (err error) {
		already, err = s.beginCancel(ctx, tx, &t, customer)
		return err
	})
	switch {
	case errors.Is(err, errLeaseLost):
		return Order{}, underWay(t)
	case err != nil:
		return Order{}, fmt.Errorf("begin cancel: %w", err)
	case already != nil:
		return *already, nil
	}
	if err := s.cut("begun"); err != nil {
		return Order{}, err
	}
	order, err := s.finish(ctx, t)
	return s.settle(ctx, t, order, err)
}

// beginCancel locks the order and notes that it is to be cancelled. It returns the order when it is
// cancelled already, and errLeaseLost when somebody is at it.
func (s *saga) beginCancel(ctx context.Context, tx pgx.Tx, t *task, customer int64) (*Order, error) {
	var status string
	err := tx.QueryRow(ctx, `SELECT status, customer_id FROM orders WHERE id = $1 AND (customer_id = $2 OR $2::bigint = 0) FOR UPDATE`,
		t.OrderID, customer).Scan(&status, &t.CustomerID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errNoOrder
	}
	if err != nil {
		return nil, fmt.Errorf("lock order: %w", err)
	}
	switch {
	case status == cancelled, status == refused && customer == anybody: // a refund of what has ended anyway
		order, err := anyOrder(ctx, tx, t.OrderID)
		return &order, err
	case status == refused:
		return nil, httpx.Fail(http.StatusConflict, "order was refused")
	case status == pending:
		return nil, httpx.Fail(http.StatusConflict, "order %d is still being placed", t.OrderID)
	}
	// A plain look first: waiting here for the row of a running cancel, which waits for the order, is a deadlock.
	open, err := taskOpen(ctx, tx, t.OrderID, taskCancel)
	if err != nil {
		return nil, err
	}
	if open {
		return nil, errLeaseLost
	}
	// The outbox is not behind the gate; a write to the order is. Stock and money must not move for an order
	// that this database is not allowed to cancel afterwards.
	if _, err := tx.Exec(ctx, `UPDATE orders SET updated_at = now() WHERE id = $1`, t.OrderID); err != nil {
		return nil, fmt.Errorf("touch order: %w", err)
	}
	return nil, openTask(ctx, tx, t, s.lease)
}
