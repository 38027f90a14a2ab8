// Package billing owns payments and their invoices. Charge and Refund of one
// order are each idempotent and may arrive in either order. What a refund means
// for the order is the business of orders, which is told about it.
package billing

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"

	"legacy-monolith/web"
)

// MaxCharge is the largest amount that is charged, in cents.
const MaxCharge = 5_000_000

// The states of a payment.
const (
	charged  = "charged"
	refunded = "refunded"
)

// Answers of this module that callers may compare.
var (
	ErrTooMuch  = web.Refuse(http.StatusPaymentRequired, "charge refused: amount is above the limit")
	ErrRefunded = web.Refuse(http.StatusPaymentRequired, "charge refused: payment was refunded")
	ErrOther    = web.Refuse(http.StatusConflict, "order is charged already, with another amount or customer")
)

// Ledger charges and refunds inside the caller's transaction.
type Ledger struct{}

// Charge makes the payment and the invoice of an order. Repeating it with the same
// customer and amount changes nothing. It returns ErrTooMuch above MaxCharge and
// ErrRefunded once the order has been refunded, even if never charged before.
func (l Ledger) Charge(ctx context.Context, tx pgx.Tx, orderID, customerID, amountCents int64) error {
	_, err := l.charge(ctx, tx, orderID, customerID, amountCents)
	return err
}

// charge also says whether there was no payment before.
func (Ledger) charge(ctx context.Context, tx pgx.Tx, orderID, customerID, amountCents int64) (created bool, err error) {
	if amountCents > MaxCharge {
		return false, ErrTooMuch
	}
	if err := lockOrder(ctx, tx, orderID); err != nil {
		return false, err
	}
	var status string
	var customer, amount int64
	err = tx.QueryRow(ctx, `select status, customer_id, amount_cents from payments where order_id = $1
		union all select $2, 0, 0 from charge_tombstones where order_id = $1`, orderID, refunded).
		Scan(&status, &customer, &amount)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return true, insertPayment(ctx, tx, orderID, customerID, amountCents)
	case err != nil:
		return false, fmt.Errorf("read payment: %w", err)
	case status == refunded:
		return false, ErrRefunded
	case customer != customerID || amount != amountCents:
		return false, ErrOther
	}
	return false, nil
}

func insertPayment(ctx context.Context, tx pgx.Tx, orderID, customerID, amountCents int64) error {
	_, err := tx.Exec(ctx, `with payment as (
			insert into payments (order_id, customer_id, amount_cents, status, created_at, updated_at)
			values ($1, $2, $3, $4, now(), now()) returning id)
		insert into invoices (payment_id, order_id, number, issued_at)
		select id, $1, 'INV-' || to_char(id, 'FM00000000'), now() from payment`,
		orderID, customerID, amountCents, charged)
	if err != nil {
		return fmt.Errorf("insert payment: %w", err)
	}
	return nil
}

// Refund gives the payment of an order back. When there is none, a tombstone stays
// behind, so that a Charge delayed on its way is refused when it arrives.
func (Ledger) Refund(ctx context.Context, tx pgx.Tx, orderID int64) error {
	if err := lockOrder(ctx, tx, orderID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `with back as (update payments set status = $2, updated_at = now()
			where order_id = $1 and status = $3)
		insert into charge_tombstones (order_id)
		select $1 where not exists (select from payments where order_id = $1) on conflict do nothing`,
		orderID, refunded, charged)
	if err != nil {
		return fmt.Errorf("refund payment: %w", err)
	}
	return nil
}

// lockOrder makes charge and refund of one order wait for each other: before the
// first of them there is no row that could be locked.
func lockOrder(ctx context.Context, tx pgx.Tx, orderID int64) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('billing', $1))`, orderID)
	if err != nil {
		return fmt.Errorf("lock order %d in billing: %w", orderID, err)
	}
	return nil
}
