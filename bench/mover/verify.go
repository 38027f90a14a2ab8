package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// verify compares every row of the narrow and the wide table. The hash in SQL says only whether something differs, and only
// while nobody writes; strangler says which rows, and compares under writes.
func (w *world) verify() section {
	var running *strangler
	return section{
		key: "verify", title: fmt.Sprintf("Exact verification of both sides at once, %d rows", 2*w.rows),
		unit: "rows", bytes: "tables",
		before: func(ctx context.Context) (err error) {
			if err := errors.Join(w.fill(ctx, narrow), w.fill(ctx, wide), w.empty(ctx, narrow.name, wide.name)); err != nil {
				return err
			}
			running, err = w.follow(ctx, []string{narrow.name, wide.name}, "")
			return err
		},
		after: func(ctx context.Context) error { return w.leave(ctx, running) },
		contenders: []contender{
			{"sum(hashtextextended)", w.hashed},
			{"strangler data verify", func(ctx context.Context) (sample, error) {
				s, err := w.measure(ctx, running, func(ctx context.Context) error { return running.data(ctx, "verify") })
				return w.compared(ctx, s, err)
			}},
		},
	}
}

func (w *world) hashed(ctx context.Context) (sample, error) {
	var sums [2]string
	s, err := w.measure(ctx, nil, func(ctx context.Context) error {
		var asking sync.WaitGroup
		var errs [2]error
		query := fmt.Sprintf(`select (select sum(hashtextextended(t::text, 0)) from %s t) || ' ' || (select sum(hashtextextended(t::text, 0)) from %s t)`, narrow.name, wide.name)
		asking.Go(func() { sums[0], errs[0] = ask[string](ctx, w.source, query) })
		asking.Go(func() { sums[1], errs[1] = ask[string](ctx, w.target, query) })
		asking.Wait()
		return errors.Join(errs[0], errs[1])
	})
	if err == nil && sums[0] != sums[1] {
		err = fmt.Errorf("the hashes differ: %s and %s", sums[0], sums[1])
	}
	return w.compared(ctx, s, err)
}

func (w *world) compared(ctx context.Context, s sample, err error) (sample, error) {
	if err != nil {
		return s, err
	}
	s.Units = int64(2 * w.rows)
	s.Bytes, err = w.size(ctx, narrow.name, wide.name)
	return s, err
}
