package orders

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"legacy-monolith/database"
)

// ChangeNote replaces the note of an order, whatever its state; ref becomes the
// order's, and the revision goes up by one.
func (s *Service) ChangeNote(ctx context.Context, customerID, id int64, note, ref string) (order Order, err error) {
	if err := checkWrite(ref, note); err != nil {
		return Order{}, err
	}
	err = database.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `update orders set note = $3, ref = $4, revision = revision + 1, updated_at = now()
			where id = $2 and customer_id = $1`, customerID, id, note, ref)
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return ErrNoOrder
		}
		if order, err = readOrder(ctx, tx, customerID, id); err != nil {
			return err
		}
		return record(ctx, tx, customerID, id, kindChange, ref)
	})
	if err != nil {
		return Order{}, fmt.Errorf("change order: %w", err)
	}
	return order, nil
}

// Cancel cancels an order of a customer: its stock is returned and its payment
// refunded in the same transaction. Cancelling again changes and records nothing.
// A refused order is ErrRefused.
func (s *Service) Cancel(ctx context.Context, customerID, id int64, ref string) (order Order, err error) {
	if err := checkText("ref", ref, maxRef); err != nil {
		return Order{}, err
	}
	err = database.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		owner, err := s.cancel(ctx, tx, id, customerID, ref)
		if err != nil {
			return err
		}
		order, err = readOrder(ctx, tx, owner, id)
		return err
	})
	if err != nil {
		return Order{}, fmt.Errorf("cancel order: %w", err)
	}
	return order, nil
}

// Refunded learns that the payment of an order has gone back to the customer,
// which ends the order: it is cancelled like any other. Repeating is harmless, and
// a refused order has ended already.
func (s *Service) Refunded(ctx context.Context, id int64) (order Order, err error) {
	err = database.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		owner, err := s.cancel(ctx, tx, id, anybody, "")
		if err != nil {
			return err
		}
		order, err = readOrder(ctx, tx, owner, id)
		return err
	})
	if err != nil {
		return Order{}, fmt.Errorf("mark order refunded: %w", err)
	}
	return order, nil
}

// anybody is the customer of a caller who may cancel every order.
const anybody = 0

// cancel locks the order and, unless it is cancelled already, undoes what its
// checkout did. An order left pending by another system is cancelled as well:
// stock and billing refuse whatever of its checkout may still be on its way.
func (s *Service) cancel(ctx context.Context, tx pgx.Tx, id, customerID int64, ref string) (owner int64, err error) {
	var status string
	err = tx.QueryRow(ctx, `select customer_id, status from orders where id = $1 for update`, id).Scan(&owner, &status)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrNoOrder
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("lock order: %w", err)
	case customerID != anybody && customerID != owner:
		return 0, ErrNoOrder
	case status == cancelled, status == refused && customerID == anybody:
		return owner, nil
	case status == refused:
		return 0, ErrRefused
	}
	if _, err := tx.Exec(ctx, `update orders set status = $2, updated_at = now() where id = $1`, id, cancelled); err != nil {
		return 0, fmt.Errorf("update order: %w", err)
	}
	if err := s.stock.Return(ctx, tx, id); err != nil {
		return 0, err
	}
	if err := s.billing.Refund(ctx, tx, id); err != nil {
		return 0, err
	}
	return owner, record(ctx, tx, owner, id, kindCancel, ref)
}
