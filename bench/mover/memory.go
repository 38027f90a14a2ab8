package main

import (
	"context"
	"fmt"
	"time"
)

// memory is one transaction of all the rows of a table, while somebody follows: what it takes to apply it, and how much of it is
// held in memory.
func (w *world) memory() section {
	return section{
		key: "memory", title: fmt.Sprintf("Memory: one transaction of %d narrow rows, from its commit on", w.rows),
		unit: "rows", bytes: "WAL",
		before: func(context.Context) error { return nil },
		contenders: []contender{
			{"native subscription", w.nativeLarge},
			{"strangler", w.stranglerLarge},
		},
	}
}

func (w *world) nativeLarge(ctx context.Context) (sample, error) {
	if err := w.empty(ctx, large.name, marker); err != nil {
		return sample{}, err
	}
	if err := w.publish(ctx, []string{large.name, marker}); err != nil {
		return sample{}, err
	}
	if err := w.subscribe(ctx); err != nil {
		return sample{}, err
	}
	s, err := w.transacted(ctx, nil)
	if err != nil {
		return s, err
	}
	if err := w.unsubscribe(ctx); err != nil {
		return s, err
	}
	return s, execute(ctx, w.source, `truncate `+large.name)
}

func (w *world) stranglerLarge(ctx context.Context) (sample, error) {
	if err := w.empty(ctx, large.name, marker); err != nil {
		return sample{}, err
	}
	running, err := w.follow(ctx, []string{large.name, marker}, "")
	if err != nil {
		return sample{}, err
	}
	s, err := w.transacted(ctx, running)
	if err != nil {
		return s, err
	}
	if err := w.leave(ctx, running); err != nil {
		return s, err
	}
	return s, execute(ctx, w.source, `truncate `+large.name)
}

// transacted makes the transaction. Memory is counted from its beginning, time from its commit.
func (w *world) transacted(ctx context.Context, s *strangler) (sample, error) {
	from, err := w.position(ctx)
	if err != nil {
		return sample{}, err
	}
	var writing time.Duration
	found, err := w.measure(ctx, s, func(ctx context.Context) error {
		began := time.Now()
		if err := execute(ctx, w.source, large.insert(w.rows)); err != nil {
			return err
		}
		writing = time.Since(began)
		last, err := w.marked(ctx)
		if err != nil {
			return err
		}
		return w.arrived(ctx, last)
	})
	if err != nil {
		return found, err
	}
	to, err := w.position(ctx)
	if err != nil {
		return found, err
	}
	found.Seconds -= writing.Seconds()
	found.Units, found.Bytes = int64(w.rows), to-from
	return found, w.same(ctx, `select count(*) || ' rows to ' || max(id) from `+large.name)
}
