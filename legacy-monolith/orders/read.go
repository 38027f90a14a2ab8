package orders

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Activity counts a customer's writes and names the last of them.
type Activity struct {
	Writes  int64  `json:"writes"`
	LastRef string `json:"last_ref"`
}

// querier is the pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// withLines reads orders and their lines in one statement, so that both are of
// one snapshot.
const withLines = `select o.id, o.status, o.total_cents, o.note, o.ref, o.revision, o.created_at,
	l.line, l.product_id, l.quantity, l.unit_price_cents
	from (%s) o left join order_lines l on l.order_id = o.id order by o.id desc, l.line`

var (
	newestOrders = fmt.Sprintf(withLines, `select * from orders where customer_id = $1 order by id desc limit $2`)
	ownOrder     = fmt.Sprintf(withLines, `select * from orders where customer_id = $1 and id = $2`)
)

// Orders returns up to limit orders of a customer, newest first.
func (s *Service) Orders(ctx context.Context, customerID, limit int64) ([]Order, error) {
	return readOrders(ctx, s.pool, newestOrders, customerID, limit)
}

// Order returns one order of a customer; somebody else's is ErrNoOrder.
func (s *Service) Order(ctx context.Context, customerID, id int64) (Order, error) {
	return readOrder(ctx, s.pool, customerID, id)
}

func readOrder(ctx context.Context, q querier, customerID, id int64) (Order, error) {
	orders, err := readOrders(ctx, q, ownOrder, customerID, id)
	if err != nil {
		return Order{}, err
	}
	if len(orders) == 0 {
		return Order{}, ErrNoOrder
	}
	return orders[0], nil
}

func readOrders(ctx context.Context, q querier, query string, args ...any) ([]Order, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	var o Order
	var line, quantity *int
	var product, price *int64
	orders := []Order{}
	_, err = pgx.ForEachRow(rows, []any{&o.ID, &o.Status, &o.TotalCents, &o.Note, &o.Ref, &o.Revision, &o.CreatedAt,
		&line, &product, &quantity, &price}, func() error {
		if len(orders) == 0 || orders[len(orders)-1].ID != o.ID {
			o.Lines = []Line{}
			orders = append(orders, o)
		}
		if line != nil { // an order without lines joins to nulls
			last := &orders[len(orders)-1]
			last.Lines = append(last.Lines, Line{Line: *line, ProductID: *product, Quantity: *quantity, UnitPriceCents: *price})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	return orders, nil
}

// Activity returns zeros for a customer who has not written yet.
func (s *Service) Activity(ctx context.Context, customerID int64) (a Activity, err error) {
	err = s.pool.QueryRow(ctx, `select writes, last_ref from order_stats where customer_id = $1`, customerID).
		Scan(&a.Writes, &a.LastRef)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Activity{}, fmt.Errorf("read activity: %w", err)
	}
	return a, nil
}
