package check

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// stored is one table as one side stores it: its name, the two columns of its key (the second may be a constant), and
// all columns.
type stored struct{ table, first, second, columns string }

func (s stored) query() string {
	return fmt.Sprintf(`select %s::bigint, %s::bigint, row(%s)::text from %s order by 1, 2`, s.first, s.second, s.columns, s.table)
}

// moved are the tables that change their owner, as legacy and extracted store them.
var moved = []struct{ legacy, extracted stored }{
	same("carts", "customer_id", "0", "customer_id, updated_at"),
	same("cart_lines", "customer_id", "product_id", "customer_id, product_id, quantity"),
	same("orders", "id", "0", "id, customer_id, status, total_cents, note, ref, revision, created_at, updated_at"),
	{
		stored{"order_lines", "order_id", "line", "order_id, line, product_id, quantity, unit_price_cents"},
		stored{"items", "order_id", "line", "order_id, line, product_id, quantity, price_cents"},
	},
	same("order_stats", "customer_id", "0", "customer_id, writes, last_ref"),
	same("order_log", "id", "0", "id, customer_id, order_id, kind, ref, at"),
}

func same(table, first, second, columns string) struct{ legacy, extracted stored } {
	s := stored{table, first, second, columns}
	return struct{ legacy, extracted stored }{s, s}
}

// forks compares every row of every moved table.
func (f *Findings) forks(ctx context.Context, legacy, extracted *pgxpool.Pool) error {
	for _, t := range moved {
		name := t.legacy.table
		err := compare(ctx, legacy, t.legacy.query(), extracted, t.extracted.query(), func(left, right *row) {
			switch {
			case right == nil:
				f.note(&f.ForkedRows, 1, "forked: %s %s only in legacy", name, left)
			case left == nil:
				f.note(&f.ForkedRows, 1, "forked: %s %s only in extracted", name, right)
			default:
				f.note(&f.ForkedRows, 1, "forked: %s %s in legacy, %s in extracted", name, left, right)
			}
		})
		if err != nil {
			return fmt.Errorf("compare %s: %w", name, err)
		}
	}
	return nil
}
