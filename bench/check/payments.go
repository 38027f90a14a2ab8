package check

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// payments pairs every confirmed order with one charged payment of the same customer and amount, and the reverse.
// Payments stay with legacy, whoever owns the orders.
func (f *Findings) payments(ctx context.Context, d *Databases, owner Side) error {
	err := compare(ctx,
		d.of(owner), `select id, 0::bigint, row(customer_id, total_cents)::text from orders where status = 'confirmed' order by id`,
		d.legacy, `select order_id, 0::bigint, row(customer_id, amount_cents)::text from payments where status = 'charged' order by order_id`,
		func(order, payment *row) {
			switch {
			case payment == nil:
				f.note(&f.UnpairedPayments, 1, "unpaired: order %d is confirmed and not charged", order.first)
			case order == nil:
				f.note(&f.UnpairedPayments, 1, "unpaired: order %d is charged and not confirmed", payment.first)
			default:
				f.note(&f.UnpairedPayments, 1, "unpaired: order %d is %s and its payment %s", order.first, order.text, payment.text)
			}
		})
	if err != nil {
		return fmt.Errorf("pair payments: %w", err)
	}
	return nil
}

// pending finds checkouts that nobody has finished.
func (f *Findings) pending(ctx context.Context, owner *pgxpool.Pool) error {
	rows, err := owner.Query(ctx, `select id from orders where status = 'pending' order by id`)
	if err != nil {
		return fmt.Errorf("read pending orders: %w", err)
	}
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		f.note(&f.PendingOrders, 1, "pending: order %d", id)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read pending orders: %w", err)
	}
	return nil
}
