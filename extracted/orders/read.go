package orders

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"

	"extracted/internal/httpx"
)

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

var errNoOrder = httpx.Fail(http.StatusNotFound, "no such order")

// orderRows reads orders with their lines in one statement, so that both come from one snapshot.
const orderRows = `SELECT o.id, o.customer_id, o.status, o.total_cents, o.note, o.ref, o.revision, o.created_at,
	i.line, i.product_id, i.quantity, i.price_cents
	FROM (%s) o LEFT JOIN items i ON i.order_id = o.id ORDER BY o.id DESC, i.line`

var (
	selectOrders = fmt.Sprintf(orderRows, `SELECT * FROM orders WHERE customer_id = $1 ORDER BY id DESC LIMIT $2`)
	selectOwn    = fmt.Sprintf(orderRows, `SELECT * FROM orders WHERE id = $1 AND customer_id = $2`)
	selectAny    = fmt.Sprintf(orderRows, `SELECT * FROM orders WHERE id = $1`)
)

// listOrders returns a customer's newest orders first.
func listOrders(ctx context.Context, db querier, customer, limit int64) ([]Order, error) {
	return collectOrders(ctx, db, selectOrders, customer, limit)
}

// ownOrder returns one order of a customer; somebody else's is errNoOrder, like one that never was.
func ownOrder(ctx context.Context, db querier, customer, id int64) (Order, error) {
	return oneOrder(ctx, db, selectOwn, id, customer)
}

// anyOrder returns an order whoever it belongs to.
func anyOrder(ctx context.Context, db querier, id int64) (Order, error) {
	return oneOrder(ctx, db, selectAny, id)
}

func oneOrder(ctx context.Context, db querier, query string, args ...any) (Order, error) {
	found, err := collectOrders(ctx, db, query, args...)
	if err != nil {
		return Order{}, err
	}
	if len(found) == 0 {
		return Order{}, errNoOrder
	}
	return found[0], nil
}

func collectOrders(ctx context.Context, db querier, query string, args ...any) ([]Order, error) {
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	defer rows.Close()
	found := []Order{}
	for rows.Next() {
		var (
			o                     Order
			line, quantity        *int
			productID, priceCents *int64
		)
		if err := rows.Scan(&o.ID, &o.customerID, &o.Status, &o.TotalCents, &o.Note, &o.Ref, &o.Revision, &o.CreatedAt,
			&line, &productID, &quantity, &priceCents); err != nil {
			return nil, fmt.Errorf("read orders: %w", err)
		}
		if len(found) == 0 || found[len(found)-1].ID != o.ID {
			o.CreatedAt, o.Lines = o.CreatedAt.UTC(), []Line{}
			found = append(found, o)
		}
		if line != nil {
			last := &found[len(found)-1]
			last.Lines = append(last.Lines, Line{Line: *line, ProductID: *productID, Quantity: *quantity, UnitPriceCents: *priceCents})
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	return found, nil
}

// readActivity returns zeros for a customer who has written nothing.
func readActivity(ctx context.Context, db querier, customer int64) (Activity, error) {
	var a Activity
	err := db.QueryRow(ctx, `SELECT writes, last_ref FROM order_stats WHERE customer_id = $1`, customer).Scan(&a.Writes, &a.LastRef)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Activity{}, fmt.Errorf("read activity: %w", err)
	}
	return a, nil
}
