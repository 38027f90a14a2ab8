package orders

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"legacy-monolith/database"
)

// Checkout turns the cart into a confirmed order, takes its stock and charges for
// it, in one transaction: a refusal leaves nothing behind. It returns ErrEmptyCart,
// ErrWithdrawn, or what stock and billing refuse with.
func (s *Service) Checkout(ctx context.Context, customerID int64, ref, note string) (order Order, err error) {
	if err := checkWrite(ref, note); err != nil {
		return Order{}, err
	}
	err = database.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		lines, err := takeCart(ctx, tx, customerID)
		if err != nil {
			return err
		}
		order, err = insertOrder(ctx, tx, customerID, ref, note, lines)
		if err != nil {
			return err
		}
		quantities := make(map[int64]int64, len(lines))
		for _, line := range lines {
			quantities[line.ProductID] = int64(line.Quantity)
		}
		if err := s.stock.Take(ctx, tx, order.ID, quantities); err != nil {
			return err
		}
		if err := s.billing.Charge(ctx, tx, order.ID, customerID, order.TotalCents); err != nil {
			return err
		}
		return record(ctx, tx, customerID, order.ID, kindCheckout, ref)
	})
	if err != nil {
		return Order{}, fmt.Errorf("check out: %w", err)
	}
	return order, nil
}

// takeCart locks the cart, empties it and returns what was in it as the lines of
// an order.
func takeCart(ctx context.Context, tx pgx.Tx, customerID int64) ([]Line, error) {
	if err := lockCart(ctx, tx, customerID); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `with emptied as (delete from cart_lines where customer_id = $1 returning product_id, quantity)
		select row_number() over (order by e.product_id)::int, e.product_id, e.quantity, p.price_cents, p.active
		from emptied e join products p on p.id = e.product_id order by e.product_id`, customerID)
	if err != nil {
		return nil, fmt.Errorf("empty cart: %w", err)
	}
	var lines []Line
	var line Line
	var active, withdrawn bool
	_, err = pgx.ForEachRow(rows, []any{&line.Line, &line.ProductID, &line.Quantity, &line.UnitPriceCents, &active}, func() error {
		lines = append(lines, line)
		withdrawn = withdrawn || !active
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("empty cart: %w", err)
	case len(lines) == 0:
		return nil, ErrEmptyCart
	case withdrawn:
		return nil, ErrWithdrawn
	}
	return lines, nil
}

func insertOrder(ctx context.Context, tx pgx.Tx, customerID int64, ref, note string, lines []Line) (Order, error) {
	order := Order{Status: confirmed, Note: note, Ref: ref, Lines: lines}
	numbers, products := make([]int, len(lines)), make([]int64, len(lines))
	quantities, prices := make([]int, len(lines)), make([]int64, len(lines))
	for i, line := range lines {
		numbers[i], products[i], quantities[i], prices[i] = line.Line, line.ProductID, line.Quantity, line.UnitPriceCents
		order.TotalCents += int64(line.Quantity) * line.UnitPriceCents
	}
	err := tx.QueryRow(ctx, `insert into orders (customer_id, status, total_cents, note, ref, created_at, updated_at)
		values ($1, $2, $3, $4, $5, now(), now()) returning id, created_at`,
		customerID, order.Status, order.TotalCents, note, ref).Scan(&order.ID, &order.CreatedAt)
	if err != nil {
		return Order{}, fmt.Errorf("insert order: %w", err)
	}
	_, err = tx.Exec(ctx, `insert into order_lines (order_id, line, product_id, quantity, unit_price_cents)
		select $1, * from unnest($2::int[], $3::bigint[], $4::int[], $5::bigint[])`,
		order.ID, numbers, products, quantities, prices)
	if err != nil {
		return Order{}, fmt.Errorf("insert order lines: %w", err)
	}
	return order, nil
}

func checkWrite(ref, note string) error {
	if err := checkText("ref", ref, maxRef); err != nil {
		return err
	}
	return checkText("note", note, maxNote)
}
