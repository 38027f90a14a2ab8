// Package stock owns how many of each product there are, and which order took
// them. It refers to orders by number only, so that it works for orders it cannot
// see. Take and Return of one order are each idempotent and may arrive in either
// order.
package stock

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/jackc/pgx/v5"

	"legacy-monolith/web"
)

// Answers of this module that callers may compare.
var (
	ErrOutOfStock = web.Refuse(http.StatusConflict, "out of stock")
	ErrReturned   = web.Refuse(http.StatusConflict, "stock of this order was returned")
)

// Ledger takes and returns stock inside the caller's transaction.
type Ledger struct{}

// Take removes the quantities (by product) for an order: all of them, or none and
// ErrOutOfStock. A repeated Take changes nothing; one after a Return is ErrReturned.
// Rows stay locked until the transaction ends; they are locked in order of
// product, so that two orders cannot wait for each other.
func (Ledger) Take(ctx context.Context, tx pgx.Tx, orderID int64, quantities map[int64]int64) error {
	if err := lockOrder(ctx, tx, orderID); err != nil {
		return err
	}
	var taken, returned bool
	err := tx.QueryRow(ctx, `select
		exists (select from stock_movements where order_id = $1 and kind = 'take'),
		exists (select from stock_movements where order_id = $1 and kind = 'return')
		or exists (select from stock_tombstones where order_id = $1)`, orderID).Scan(&taken, &returned)
	if err != nil {
		return fmt.Errorf("read stock movements: %w", err)
	}
	if returned {
		return ErrReturned
	}
	if taken {
		return nil
	}
	products := slices.Sorted(maps.Keys(quantities))
	wanted := make([]int64, len(products))
	for i, product := range products {
		wanted[i] = quantities[product]
	}
	if err := reserve(ctx, tx, products, wanted); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `with wanted as (select * from unnest($2::bigint[], $3::bigint[]) as w (product_id, quantity)),
		moved as (insert into stock_movements (order_id, product_id, kind, quantity, at)
			select $1, product_id, 'take', quantity, now() from wanted)
		update stock s set quantity = s.quantity - w.quantity from wanted w where s.product_id = w.product_id`,
		orderID, products, wanted)
	if err != nil {
		return fmt.Errorf("take stock: %w", err)
	}
	return nil
}

// reserve locks the products' rows and finds out whether there is enough of each.
func reserve(ctx context.Context, tx pgx.Tx, products, wanted []int64) error {
	rows, err := tx.Query(ctx, `select quantity from stock where product_id = any($1) order by product_id for update`, products)
	if err != nil {
		return fmt.Errorf("lock stock: %w", err)
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("lock stock: %w", err)
	}
	if len(there) < len(products) {
		return ErrOutOfStock // a product nobody ever stocked
	}
	for i, quantity := range there {
		if quantity < wanted[i] {
			return ErrOutOfStock
		}
	}
	return nil
}

// Return puts back what an order took. When it took nothing, a tombstone stays
// behind, so that a Take delayed on its way is refused when it arrives.
func (Ledger) Return(ctx context.Context, tx pgx.Tx, orderID int64) error {
	if err := lockOrder(ctx, tx, orderID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `select from stock where product_id in
		(select product_id from stock_movements where order_id = $1 and kind = 'take')
		order by product_id for update`, orderID)
	if err != nil {
		return fmt.Errorf("lock stock: %w", err)
	}
	_, err = tx.Exec(ctx, `with moved as (
			insert into stock_movements (order_id, product_id, kind, quantity, at)
			select order_id, product_id, 'return', quantity, now()
			from stock_movements where order_id = $1 and kind = 'take'
			on conflict do nothing returning product_id, quantity),
		tombstone as (insert into stock_tombstones (order_id)
			select $1 where not exists (select from stock_movements where order_id = $1)
			on conflict do nothing)
		update stock s set quantity = s.quantity + m.quantity from moved m where s.product_id = m.product_id`, orderID)
	if err != nil {
		return fmt.Errorf("return stock: %w", err)
	}
	return nil
}

// lockOrder makes take and return of one order wait for each other: before the
// first of them there is no row that could be locked.
func lockOrder(ctx context.Context, tx pgx.Tx, orderID int64) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('stock', $1))`, orderID)
	if err != nil {
		return fmt.Errorf("lock order %d in stock: %w", orderID, err)
	}
	return nil
}
