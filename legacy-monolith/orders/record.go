package orders

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// The kinds of writes in order_log.
const (
	kindCart     = "cart"
	kindCheckout = "checkout"
	kindChange   = "change"
	kindCancel   = "cancel"
)

// record logs and counts one successful write, in the transaction of that write.
// It comes last: the customer's row in order_stats is where all writes of one
// customer meet, and it stays locked until the commit. A write to the cart has no
// order, 0.
func record(ctx context.Context, tx pgx.Tx, customerID, orderID int64, kind, ref string) error {
	_, err := tx.Exec(ctx, `with logged as (
			insert into order_log (customer_id, order_id, kind, ref, at)
			values ($1, nullif($2::bigint, 0), $3, $4, now()))
		insert into order_stats as s (customer_id, writes, last_ref) values ($1, 1, $4)
		on conflict (customer_id) do update set writes = s.writes + 1, last_ref = excluded.last_ref`,
		customerID, orderID, kind, ref)
	if err != nil {
		return fmt.Errorf("record %s: %w", kind, err)
	}
	return nil
}
