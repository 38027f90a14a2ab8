package orders

import (
	"context"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"

	"legacy-monolith/database"
	"legacy-monolith/web"
)

// Cart is what a customer is about to order, at the prices of this moment.
type Cart struct {
	Lines      []CartLine `json:"lines"`
	TotalCents int64      `json:"total_cents"`
}

// CartLine is one product in a cart.
type CartLine struct {
	ProductID  int64  `json:"product_id"`
	Name       string `json:"name"`
	Quantity   int    `json:"quantity"`
	PriceCents int64  `json:"price_cents"`
}

// Cart returns a customer's cart; one that was never filled is empty.
func (s *Service) Cart(ctx context.Context, customerID int64) (Cart, error) {
	rows, err := s.pool.Query(ctx, `select l.product_id, p.name, l.quantity, p.price_cents
		from cart_lines l join products p on p.id = l.product_id
		where l.customer_id = $1 order by l.product_id`, customerID)
	if err != nil {
		return Cart{}, fmt.Errorf("read cart: %w", err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[CartLine])
	if err != nil {
		return Cart{}, fmt.Errorf("read cart: %w", err)
	}
	cart := Cart{Lines: lines}
	for _, line := range lines {
		cart.TotalCents += int64(line.Quantity) * line.PriceCents
	}
	return cart, nil
}

// SetItem puts a product into the cart in the given quantity, which replaces the
// one before; 0 takes it out. It returns ErrNoProduct for a product not for sale.
func (s *Service) SetItem(ctx context.Context, customerID, productID int64, quantity int, ref string) error {
	if quantity < 0 || quantity > maxQuantity {
		return web.Refuse(http.StatusBadRequest, fmt.Sprintf("quantity must be from 0 to %d", maxQuantity))
	}
	if err := checkText("ref", ref, maxRef); err != nil {
		return err
	}
	err := database.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockCart(ctx, tx, customerID); err != nil {
			return err
		}
		if err := setLine(ctx, tx, customerID, productID, quantity); err != nil {
			return err
		}
		return record(ctx, tx, customerID, 0, kindCart, ref)
	})
	if err != nil {
		return fmt.Errorf("set cart item: %w", err)
	}
	return nil
}

// lockCart makes all writes to one cart follow each other, and makes the cart
// where there is none.
func lockCart(ctx context.Context, tx pgx.Tx, customerID int64) error {
	_, err := tx.Exec(ctx, `insert into carts (customer_id, updated_at) values ($1, now())
		on conflict (customer_id) do update set updated_at = excluded.updated_at`, customerID)
	if err != nil {
		return fmt.Errorf("lock cart: %w", err)
	}
	return nil
}

func setLine(ctx context.Context, tx pgx.Tx, customerID, productID int64, quantity int) error {
	if quantity == 0 {
		_, err := tx.Exec(ctx, `delete from cart_lines where customer_id = $1 and product_id = $2`, customerID, productID)
		return err
	}
	done, err := tx.Exec(ctx, `insert into cart_lines (customer_id, product_id, quantity)
		select $1, id, $3 from products where id = $2 and active
		on conflict (customer_id, product_id) do update set quantity = excluded.quantity`,
		customerID, productID, quantity)
	if err != nil {
		return err
	}
	if done.RowsAffected() == 0 {
		return ErrNoProduct
	}
	return nil
}
