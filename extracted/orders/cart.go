package orders

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"

	"extracted/internal/httpx"
)

var errNoProduct = httpx.Fail(http.StatusNotFound, "no such product")

// readCart returns a customer's cart. A product that the reference copy does not know (yet) keeps its line,
// without a price; the checkout refuses it by name.
func readCart(ctx context.Context, db querier, customer int64) (Cart, error) {
	rows, err := db.Query(ctx, `SELECT l.product_id, coalesce(p.name, 'product ' || l.product_id), l.quantity, coalesce(p.price_cents, 0)
		FROM cart_lines l LEFT JOIN products p ON p.id = l.product_id WHERE l.customer_id = $1 ORDER BY l.product_id`, customer)
	if err != nil {
		return Cart{}, fmt.Errorf("read cart: %w", err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[CartLine])
	if err != nil {
		return Cart{}, fmt.Errorf("read cart: %w", err)
	}
	cart := Cart{Lines: lines}
	for _, l := range lines {
		cart.TotalCents += int64(l.Quantity) * l.PriceCents
	}
	return cart, nil
}

// setItem puts a product into the cart in the given quantity, 0 takes it out.
func setItem(ctx context.Context, tx pgx.Tx, customer, product int64, quantity int, ref string) error {
	if quantity < 0 || quantity > maxQuantity {
		return httpx.Fail(http.StatusBadRequest, "quantity must be from 0 to %d", maxQuantity)
	}
	if quantity > 0 {
		if err := checkForSale(ctx, tx, product); err != nil {
			return err
		}
	}
	if err := touchCart(ctx, tx, customer); err != nil {
		return err
	}
	var err error
	if quantity == 0 {
		_, err = tx.Exec(ctx, `DELETE FROM cart_lines WHERE customer_id = $1 AND product_id = $2`, customer, product)
	} else {
		_, err = tx.Exec(ctx, `INSERT INTO cart_lines (customer_id, product_id, quantity) VALUES ($1, $2, $3)
			ON CONFLICT (customer_id, product_id) DO UPDATE SET quantity = EXCLUDED.quantity`, customer, product, quantity)
	}
	if err != nil {
		return fmt.Errorf("set cart line: %w", err)
	}
	return record(ctx, tx, customer, 0, logCart, ref)
}

func checkForSale(ctx context.Context, db querier, product int64) error {
	var active bool
	err := db.QueryRow(ctx, `SELECT active FROM products WHERE id = $1`, product).Scan(&active)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !active {
		return errNoProduct
	}
	if err != nil {
		return fmt.Errorf("read product: %w", err)
	}
	return nil
}

// touchCart creates the cart where there is none and locks its row: all writes to one cart pass here.
func touchCart(ctx context.Context, tx pgx.Tx, customer int64) error {
	if _, err := tx.Exec(ctx, `INSERT INTO carts (customer_id, updated_at) VALUES ($1, now())
		ON CONFLICT (customer_id) DO UPDATE SET updated_at = EXCLUDED.updated_at`, customer); err != nil {
		return fmt.Errorf("touch cart: %w", err)
	}
	return nil
}

// refillCart puts the lines of a refused order back, on top of what the customer has added since.
func refillCart(ctx context.Context, tx pgx.Tx, customer, order int64) error {
	if err := touchCart(ctx, tx, customer); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO cart_lines (customer_id, product_id, quantity)
		SELECT $1, product_id, quantity FROM items WHERE order_id = $2 ORDER BY product_id
		ON CONFLICT (customer_id, product_id) DO UPDATE SET quantity = cart_lines.quantity + EXCLUDED.quantity`,
		customer, order); err != nil {
		return fmt.Errorf("refill cart: %w", err)
	}
	return nil
}
