package check

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Baseline is what must stay the same: per product, the pieces on the shelf and in confirmed orders together. A checkout
// moves pieces from the one to the other and a cancellation back, so that the sum changes with neither, whoever owns the
// orders, and whatever was ordered before.
type Baseline map[int64]int64

// Baseline counts all pieces while one side owns the orders and nobody writes.
func (d *Databases) Baseline(ctx context.Context, owner Side) (Baseline, error) {
	pieces := Baseline{}
	// Stock stays with legacy, whoever owns the orders.
	if err := pieces.add(ctx, d.legacy, `select product_id, quantity from stock`); err != nil {
		return nil, fmt.Errorf("count stock: %w", err)
	}
	err := pieces.add(ctx, d.of(owner), fmt.Sprintf(`select l.product_id, sum(l.quantity)::bigint
		from %s l join orders o on o.id = l.order_id where o.status = 'confirmed' group by 1`, owner.lines()))
	if err != nil {
		return nil, fmt.Errorf("count ordered pieces: %w", err)
	}
	return pieces, nil
}

func (b Baseline) add(ctx context.Context, conn *pgxpool.Pool, query string) error {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return err
	}
	var product, quantity int64
	_, err = pgx.ForEachRow(rows, []any{&product, &quantity}, func() error {
		b[product] += quantity
		return nil
	})
	return err
}

func (f *Findings) stock(ctx context.Context, d *Databases, base Baseline, owner Side) error {
	now, err := d.Baseline(ctx, owner)
	if err != nil {
		return err
	}
	for product, pieces := range now {
		if _, known := base[product]; !known && pieces != 0 {
			f.note(&f.StockDrift, pieces, "stock drift: product %d has %d pieces and had none", product, pieces)
		}
	}
	for product, pieces := range base {
		if off := now[product] - pieces; off != 0 {
			f.note(&f.StockDrift, max(off, -off), "stock drift: product %d has %d pieces instead of %d", product, now[product], pieces)
		}
	}
	return nil
}
