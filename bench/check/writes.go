package check

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// writes holds what was acknowledged against the owner's log.
func (f *Findings) writes(ctx context.Context, owner *pgxpool.Pool, written Written) error {
	times, err := logged(ctx, owner)
	if err != nil {
		return err
	}
	for _, w := range written.Acknowledged {
		if times[w.Ref] == 0 {
			f.note(&f.LostWrites, 1, "lost: %s of customer %d was acknowledged and is not in the log", w.Ref, w.Customer)
		}
	}
	for ref, n := range times {
		if n > 1 {
			f.note(&f.DuplicatedWrites, n-1, "duplicated: %s is in the log %d times", ref, n)
		}
	}
	return nil
}

// logged counts the log's rows by id.
func logged(ctx context.Context, owner *pgxpool.Pool) (map[string]int64, error) {
	rows, err := owner.Query(ctx, `select ref, count(*) from order_log where ref <> '' group by ref`)
	if err != nil {
		return nil, fmt.Errorf("read order_log: %w", err)
	}
	times := map[string]int64{}
	var ref string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&ref, &n}, func() error {
		times[ref] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read order_log: %w", err)
	}
	return times, nil
}

// counters holds every customer's counter against the increments that must have happened: one per acknowledged write,
// and one per write of unknown outcome that the log has after all.
func (f *Findings) counters(ctx context.Context, owner *pgxpool.Pool, written Written) error {
	times, err := logged(ctx, owner)
	if err != nil {
		return err
	}
	want := map[int64]int64{}
	for customer, before := range written.Before {
		want[customer] = before
	}
	for _, w := range written.Acknowledged {
		want[w.Customer]++
	}
	for _, w := range written.Unknown {
		if times[w.Ref] > 0 {
			want[w.Customer]++
		}
	}
	rows, err := owner.Query(ctx, `select customer_id, writes from order_stats`)
	if err != nil {
		return fmt.Errorf("read order_stats: %w", err)
	}
	var customer, writes int64
	have := map[int64]int64{}
	_, err = pgx.ForEachRow(rows, []any{&customer, &writes}, func() error {
		have[customer] = writes
		return nil
	})
	if err != nil {
		return fmt.Errorf("read order_stats: %w", err)
	}
	for customer, n := range want {
		if off := have[customer] - n; off != 0 {
			f.note(&f.DuplicatedWrites, max(off, -off), "duplicated: the counter of customer %d is %d instead of %d", customer, have[customer], n)
		}
	}
	return nil
}
