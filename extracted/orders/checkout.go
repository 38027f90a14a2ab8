package orders

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"

	"extracted/internal/answer"
	"extracted/internal/database"
	"extracted/internal/httpx"
)

// checkout turns the cart of a customer into an order. It blocks until the order is confirmed or refused,
// for as long as ctx allows; what is open then is finished by the worker, and the error says so.
func (s *saga) checkout(ctx context.Context, customer int64, note, ref string) (Order, error) {
	if err := errors.Join(checkText("note", note, maxNote), checkText("ref", ref, maxRef)); err != nil {
		return Order{}, err
	}
	t := task{Kind: taskCheckout, CustomerID: customer, Ref: ref, Trail: httpx.TrailOf(ctx)}
	err := database.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		return s.begin(ctx, tx, &t, note)
	})
	if err != nil {
		return Order{}, fmt.Errorf("begin checkout: %w", err)
	}
	if err := s.cut("begun"); err != nil {
		return Order{}, err
	}
	order, err := s.finish(ctx, t)
	return s.settle(ctx, t, order, err)
}

// begin writes the pending order, empties the cart into it and notes what remains to be done.
func (s *saga) begin(ctx context.Context, tx pgx.Tx, t *task, note string) error {
	lines, total, err := lockCart(ctx, tx, t.CustomerID)
	if err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, `INSERT INTO orders (customer_id, status, total_cents, note, ref, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, now(), now()) RETURNING id`,
		t.CustomerID, pending, total, note, t.Ref).Scan(&t.OrderID); err != nil {
		return fmt.Errorf("insert order: %w", err)
	}
	var products, prices []int64
	var quantities []int
	for _, l := range lines {
		products, quantities, prices = append(products, l.ProductID), append(quantities, l.Quantity), append(prices, l.PriceCents)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO items (order_id, line, product_id, quantity, price_cents)
		SELECT $1, l.line, l.product_id, l.quantity, l.price_cents
		FROM unnest($2::bigint[], $3::int[], $4::bigint[]) WITH ORDINALITY AS l (product_id, quantity, price_cents, line)`,
		t.OrderID, products, quantities, prices); err != nil {
		return fmt.Errorf("insert items: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM cart_lines WHERE customer_id = $1`, t.CustomerID); err != nil {
		return fmt.Errorf("empty cart: %w", err)
	}
	return openTask(ctx, tx, t, s.lease)
}

// lockCart locks a cart against other writers and reads it at the prices of this moment.
func lockCart(ctx context.Context, tx pgx.Tx, customer int64) ([]CartLine, int64, error) {
	empty := httpx.Fail(http.StatusConflict, "cart is empty")
	tag, err := tx.Exec(ctx, `UPDATE carts SET updated_at = now() WHERE customer_id = $1`, customer)
	if err != nil {
		return nil, 0, fmt.Errorf("lock cart: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return nil, 0, empty
	}
	rows, err := tx.Query(ctx, `SELECT l.product_id, coalesce(p.name, ''), l.quantity,
			CASE WHEN p.active THEN p.price_cents ELSE -1 END
		FROM cart_lines l LEFT JOIN products p ON p.id = l.product_id WHERE l.customer_id = $1 ORDER BY l.product_id`, customer)
	if err != nil {
		return nil, 0, fmt.Errorf("read cart: %w", err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[CartLine])
	if err != nil {
		return nil, 0, fmt.Errorf("read cart: %w", err)
	}
	if len(lines) == 0 {
		return nil, 0, empty
	}
	var total int64
	for _, l := range lines {
		if l.PriceCents < 0 {
			return nil, 0, httpx.Fail(http.StatusConflict, "a product in the cart is no longer for sale")
		}
		total += int64(l.Quantity) * l.PriceCents
	}
	return lines, total, nil
}

// settle turns how a task ended, or did not, into the answer of the live request.
func (s *saga) settle(ctx context.Context, t task, order Order, err error) (Order, error) {
	var no *refusedError
	switch {
	case err == nil:
		return order, nil
	case errors.As(err, &no):
		return Order{}, no.why.answer(no.message)
	case errors.Is(err, errLeaseLost):
		return s.outcome(ctx, t)
	}
	s.log.Warn("task left to the worker", "order", t.OrderID, "kind", t.Kind, "error", err, "trail", t.Trail)
	if e, ok := answer.Refused(err); ok {
		return Order{}, e
	}
	return Order{}, underWay(t)
}

// outcome looks at what somebody else has made of the order.
func (s *saga) outcome(ctx context.Context, t task) (Order, error) {
	order, err := anyOrder(ctx, s.pool, t.OrderID)
	if err != nil {
		return Order{}, err
	}
	switch {
	case t.Kind == taskCheckout && order.Status == confirmed, t.Kind == taskCancel && order.Status == cancelled:
		return order, nil
	case t.Kind == taskCheckout && order.Status == pending, t.Kind == taskCancel && order.Status == confirmed:
		return Order{}, underWay(t)
	}
	return Order{}, httpx.Fail(http.StatusConflict, "order %d is %s", t.OrderID, order.Status)
}

func underWay(t task) *httpx.Error {
	if t.Kind == taskCancel {
		return httpx.Fail(http.StatusServiceUnavailable, "order %d is still being cancelled; look again in a moment", t.OrderID)
	}
	return httpx.Fail(http.StatusServiceUnavailable, "order %d is still being placed; look at your orders in a moment", t.OrderID)
}
