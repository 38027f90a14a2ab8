package orders

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"extracted/internal/database"
)

// execer is a pool or a transaction.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// saga carries an order through what used to be one transaction. A live request and the worker run the very
// same steps; every step may be repeated, so whoever comes second starts from the first one.
type saga struct {
	pool    *pgxpool.Pool
	stock   Stock
	billing Billing
	log     *slog.Logger
	lease   time.Duration // longer than patience by far: the holder has given up before it ends
	cut     func(step string) error
}

// finish runs whatever remains of a task and returns the order in its final state. A *refusedError is final
// too. After any other error the task is still open, and the worker's.
func (s *saga) finish(ctx context.Context, t task) (Order, error) {
	if t.Kind == taskCancel {
		return s.cancel(ctx, t)
	}
	return s.place(ctx, t)
}

// place completes a checkout: take, charge, confirm; or, once anybody has said no, undo.
func (s *saga) place(ctx context.Context, t task) (Order, error) {
	order, err := anyOrder(ctx, s.pool, t.OrderID)
	if err != nil {
		return Order{}, err
	}
	var no *refusedError
	switch {
	case t.Refusal != "":
		no = &refusedError{why: t.Refusal}
	case order.Status == cancelled || order.Status == refused:
		// Ended elsewhere, while the other side owned the orders. What this side did must not stay.
		no = &refusedError{why: refusedRefunded}
	default:
		order, err = s.obtain(ctx, t, order)
		if !errors.As(err, &no) {
			return order, err
		}
	}
	return s.undo(ctx, t, no)
}

// obtain is the way forward. It returns a *refusedError when the order is not to be had.
func (s *saga) obtain(ctx context.Context, t task, order Order) (Order, error) {
	if err := s.stock.Take(ctx, t.OrderID, order.Lines); err != nil {
		return Order{}, err
	}
	if err := s.cut("taken"); err != nil {
		return Order{}, err
	}
	if err := s.billing.Charge(ctx, t.OrderID, t.CustomerID, order.TotalCents); err != nil {
		return Order{}, err
	}
	if err := s.cut("charged"); err != nil {
		return Order{}, err
	}
	order, err := s.confirm(ctx, t)
	if err != nil {
		return Order{}, err
	}
	return order, s.cut("confirmed")
}

// confirm is the one transaction in which the checkout becomes true: state, log and counter.
func (s *saga) confirm(ctx context.Context, t task) (order Order, err error) {
	var why refusal
	err = database.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if why, err = closeTask(ctx, tx, t); err != nil || why != "" {
			return err
		}
		moved, err := setStatus(ctx, tx, t.OrderID, pending, confirmed)
		if err != nil {
			return err
		}
		if moved {
			if err := record(ctx, tx, t.CustomerID, t.OrderID, logCheckout, t.Ref); err != nil {
				return err
			}
		}
		order, err = anyOrder(ctx, tx, t.OrderID)
		return err
	})
	if err != nil {
		return Order{}, fmt.Errorf("confirm order %d: %w", t.OrderID, err)
	}
	if why != "" {
		return Order{}, &refusedError{why: why}
	}
	return order, nil
}

// undo gives back whatever was or may have been taken and charged. Both calls are made whatever is known:
// a take whose answer was lost may still be on its way, and the return is what makes it fail on arrival.
func (s *saga) undo(ctx context.Context, t task, no *refusedError) (Order, error) {
	if err := refuseTask(ctx, s.pool, t, no.why); err != nil {
		if errors.Is(err, errLeaseLost) && no.why != refusedRefunded {
			return s.undo(ctx, t, &refusedError{why: refusedRefunded}) // the payment was refunded under our hands
		}
		return Order{}, err
	}
	t.Refusal = no.why
	if err := s.cut("refusal written"); err != nil {
		return Order{}, err
	}
	if err := s.giveBack(ctx, t.OrderID); err != nil {
		return Order{}, err
	}
	err := database.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if why, err := closeTask(ctx, tx, t); err != nil || why != t.Refusal {
			return errors.Join(errLeaseLost, err)
		}
		moved, err := setStatus(ctx, tx, t.OrderID, pending, refused)
		if err != nil || !moved {
			return err
		}
		return refillCart(ctx, tx, t.CustomerID, t.OrderID)
	})
	if err != nil {
		return Order{}, fmt.Errorf("refuse order %d: %w", t.OrderID, err)
	}
	if err := s.cut("refused"); err != nil {
		return Order{}, err
	}
	return Order{}, no
}

// giveBack returns the stock and refunds the payment of an order.
func (s *saga) giveBack(ctx context.Context, order int64) error {
	if err := s.stock.Return(ctx, order); err != nil {
		return err
	}
	if err := s.cut("returned"); err != nil {
		return err
	}
	if err := s.billing.Refund(ctx, order); err != nil {
		return err
	}
	return s.cut("refunded")
}

// cancel gives everything back and then says so.
func (s *saga) cancel(ctx context.Context, t task) (order Order, err error) {
	if err := s.giveBack(ctx, t.OrderID); err != nil {
		return Order{}, err
	}
	err = database.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := closeTask(ctx, tx, t); err != nil {
			return err
		}
		moved, err := setStatus(ctx, tx, t.OrderID, confirmed, cancelled)
		if err != nil {
			return err
		}
		if moved {
			if err := record(ctx, tx, t.CustomerID, t.OrderID, logCancel, t.Ref); err != nil {
				return err
			}
		}
		order, err = anyOrder(ctx, tx, t.OrderID)
		return err
	})
	if err != nil {
		return Order{}, fmt.Errorf("cancel order %d: %w", t.OrderID, err)
	}
	return order, s.cut("cancelled")
}

// setStatus moves an order from one state to another and reports whether it was in the first.
func setStatus(ctx context.Context, db execer, order int64, from, to string) (bool, error) {
	tag, err := db.Exec(ctx, `UPDATE orders SET status = $3, updated_at = now() WHERE id = $1 AND status = $2`, order, from, to)
	if err != nil {
		return false, fmt.Errorf("set order %s: %w", to, err)
	}
	return tag.RowsAffected() == 1, nil
}
