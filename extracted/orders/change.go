package orders

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// changeNote sets the note of a customer's order and raises its revision.
func changeNote(ctx context.Context, tx pgx.Tx, customer, id int64, note, ref string) (Order, error) {
	if err := errors.Join(checkText("note", note, maxNote), checkText("ref", ref, maxRef)); err != nil {
		return Order{}, err
	}
	tag, err := tx.Exec(ctx, `UPDATE orders SET note = $3, ref = $4, revision = revision + 1, updated_at = now()
		WHERE id = $1 AND customer_id = $2`, id, customer, note, ref)
	if err != nil {
		return Order{}, fmt.Errorf("change order: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return Order{}, errNoOrder
	}
	if err := record(ctx, tx, customer, id, logChange, ref); err != nil {
		return Order{}, err
	}
	return ownOrder(ctx, tx, customer, id)
}
