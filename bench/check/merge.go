package check

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// row is one row of a comparison: where it stands, and everything else about it.
type row struct {
	first, second int64
	text          string
}

func (r *row) String() string { return fmt.Sprintf("(%d, %d) %s", r.first, r.second, r.text) }

// before orders rows by key; the end comes after all rows.
func (r *row) before(other *row) bool {
	switch {
	case r == nil || other == nil:
		return r != nil
	case r.first != other.first:
		return r.first < other.first
	}
	return r.second < other.second
}

// compare streams two queries, each of two bigint and a text in the order of the first two, and reports every row that
// the other one has not, or has with another text: as (row, nil), (nil, row) or (row, row).
func compare(ctx context.Context, left *pgxpool.Pool, leftSQL string, right *pgxpool.Pool, rightSQL string, report func(left, right *row)) error {
	lefts, err := left.Query(ctx, leftSQL)
	if err != nil {
		return err
	}
	defer lefts.Close()
	rights, err := right.Query(ctx, rightSQL)
	if err != nil {
		return err
	}
	defer rights.Close()
	l, leftErr := next(lefts)
	r, rightErr := next(rights)
	for leftErr == nil && rightErr == nil && (l != nil || r != nil) {
		switch {
		case l.before(r):
			report(l, nil)
			l, leftErr = next(lefts)
		case r.before(l):
			report(nil, r)
			r, rightErr = next(rights)
		default:
			if l.text != r.text {
				report(l, r)
			}
			l, leftErr = next(lefts)
			r, rightErr = next(rights)
		}
	}
	return errors.Join(leftErr, rightErr)
}

// next returns nil at the end.
func next(rows pgx.Rows) (*row, error) {
	if !rows.Next() {
		return nil, rows.Err()
	}
	r := &row{}
	if err := rows.Scan(&r.first, &r.second, &r.text); err != nil {
		return nil, err
	}
	return r, nil
}
