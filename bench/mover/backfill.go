package main

import (
	"context"
	"errors"
	"fmt"
)

// backfill copies a table that is at rest into an empty one that has its primary key.
func (w *world) backfill(t table) section {
	return section{
		key: t.name, title: fmt.Sprintf("Backfill: %d rows of the %s table, into a table with its primary key", w.rows, t.name),
		unit: "rows", bytes: "table",
		before: func(ctx context.Context) error { return w.fill(ctx, t) },
		contenders: []contender{
			{"psql COPY | psql COPY", func(ctx context.Context) (sample, error) { return w.piped(ctx, t, w.psql) }},
			{"pg_dump | pg_restore", func(ctx context.Context) (sample, error) { return w.piped(ctx, t, w.dump) }},
			{"native subscription", func(ctx context.Context) (sample, error) { return w.nativeBackfill(ctx, t) }},
			{"strangler data start", func(ctx context.Context) (sample, error) { return w.stranglerBackfill(ctx, t) }},
		},
	}
}

func (w *world) psql(ctx context.Context, t table) (usage, error) {
	return pipe(
		w.program(ctx, "psql", "-X", "-q", "-d", app(w.source), "-c", "copy "+t.name+" to stdout"),
		w.program(ctx, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", app(w.target), "-c", "copy "+t.name+" from stdin"),
	)
}

// dump does not compress: between two servers that is the faster way.
func (w *world) dump(ctx context.Context, t table) (usage, error) {
	return pipe(
		w.program(ctx, "pg_dump", "-Fc", "-Z0", "--data-only", "-t", t.name, "-d", app(w.source)),
		w.program(ctx, "pg_restore", "--data-only", "--exit-on-error", "-d", app(w.target)),
	)
}

func (w *world) piped(ctx context.Context, t table, copies func(context.Context, table) (usage, error)) (sample, error) {
	if err := w.empty(ctx, t.name); err != nil {
		return sample{}, err
	}
	var used usage
	s, err := w.measure(ctx, nil, func(ctx context.Context) (err error) {
		used, err = copies(ctx, t)
		return err
	})
	if err != nil {
		return s, err
	}
	s.use(used)
	return w.copied(ctx, t, s)
}

func (w *world) nativeBackfill(ctx context.Context, t table) (sample, error) {
	if err := errors.Join(w.empty(ctx, t.name), w.publish(ctx, []string{t.name})); err != nil {
		return sample{}, err
	}
	s, err := w.measure(ctx, nil, w.subscribe)
	if err == nil {
		err = w.unsubscribe(ctx)
	}
	if err != nil {
		return s, err
	}
	return w.copied(ctx, t, s)
}

// stranglerBackfill is over when the command returns: then both streams run, too.
func (w *world) stranglerBackfill(ctx context.Context, t table) (sample, error) {
	if err := w.empty(ctx, t.name); err != nil {
		return sample{}, err
	}
	running, err := w.start(ctx, []string{t.name}, "")
	if err != nil {
		return sample{}, err
	}
	s, err := w.measure(ctx, running, func(ctx context.Context) error { return running.data(ctx, "start") })
	if err != nil {
		return s, err
	}
	if s, err = w.copied(ctx, t, s); err != nil { // before the reset empties it
		return s, err
	}
	return s, w.leave(ctx, running)
}

// copied counts what was copied.
func (w *world) copied(ctx context.Context, t table, s sample) (_ sample, err error) {
	if err := w.same(ctx, `select count(*)::text || ' rows to ' || max(id) from `+t.name); err != nil {
		return s, err
	}
	s.Units = int64(w.rows)
	s.Bytes, err = w.size(ctx, t.name)
	return s, err
}
