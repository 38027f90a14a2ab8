package orders

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// The kinds of a row in order_log.
const (
	logCart     = "cart"
	logCheckout = "checkout"
	logChange   = "change"
	logCancel   = "cancel"
)

// record counts and logs one successful write in that write's own transaction. It comes last in every
// transaction, because the counter's row is the one that all writes of a customer meet in. order is 0 for
// a write to the cart.
func record(ctx context.Context, tx pgx.Tx, customer, order int64, kind, ref string) (err error) {
	var about *int64
	if order != 0 {
		about = &order
	}
	batch := &pgx.Batch{}
	batch.Queue(`INSERT INTO order_stats (customer_id, writes, last_ref) VALUES ($1, 1, $2)
		ON CONFLICT (customer_id) DO UPDATE SET writes = order_stats.writes + 1, last_ref = EXCLUDED.last_ref`, customer, ref)
	batch.Queue(`INSERT INTO order_log (customer_id, order_id, kind, ref, at) VALUES ($1, $2, $3, $4, now())`,
		customer, about, kind, ref)
	results := tx.SendBatch(ctx, batch)
	defer func() { err = errors.Join(err, results.Close()) }()
	for range batch.Len() {
		if _, err := results.Exec(); err != nil {
			return fmt.Errorf("record write: %w", err)
		}
	}
	return nil
}
