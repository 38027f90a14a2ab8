package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience is how long anything may take that is waited for. Nothing here takes an hour unless it is stuck.
const patience = time.Hour

// pollEvery is how often the target is asked whether something has arrived.
const pollEvery = 10 * time.Millisecond

// publish makes the publication that a native subscription needs. It takes no time worth measuring.
func (w *world) publish(ctx context.Context, tables []string) error {
	return administer(ctx, w.source, `create publication native for table `+strings.Join(tables, ", "))
}

// subscribe makes the subscription, and blocks until every row that is there has been copied and all tables follow.
func (w *world) subscribe(ctx context.Context) error {
	if err := administer(ctx, w.target, `create subscription native connection '`+w.source.URL(database)+`' publication native with (copy_data = true)`); err != nil {
		return err
	}
	return w.polled(ctx, `select bool_and(srsubstate = 'r') from pg_subscription_rel`)
}

// silence disables the subscription, and blocks until nobody reads its slot any more. The slot keeps the changes.
func (w *world) silence(ctx context.Context) error {
	if err := administer(ctx, w.target, `alter subscription native disable`); err != nil {
		return err
	}
	return until(ctx, pollEvery, func() (bool, error) {
		return ask[bool](ctx, w.source, `select not active from pg_replication_slots where slot_name = 'native'`)
	})
}

// unsubscribe drops both.
func (w *world) unsubscribe(ctx context.Context) error {
	if err := administer(ctx, w.target, `drop subscription native`); err != nil {
		return err
	}
	return administer(ctx, w.source, `drop publication native`)
}

// marked writes the next number into the marker at the source.
func (w *world) marked(ctx context.Context) (n int64, err error) {
	w.mark++
	return w.mark, execute(ctx, w.source, fmt.Sprintf(`update %s set n = %d`, marker, w.mark))
}

// arrived blocks until the marker has at least this number at the target: then everything that was committed before it at the
// source is there, because changes are applied in the order of their commits.
func (w *world) arrived(ctx context.Context, n int64) error {
	return w.polled(ctx, fmt.Sprintf(`select coalesce(max(n), 0) >= %d from %s`, n, marker))
}

// polled asks the target, in one session, until the answer is true.
func (w *world) polled(ctx context.Context, query string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("waited %s in vain for %s", patience, query))
	defer cancel()
	conn, err := pgx.Connect(ctx, w.target.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return until(ctx, pollEvery, func() (bool, error) {
		var got *bool
		if err := conn.QueryRow(ctx, query).Scan(&got); err != nil {
			return false, fmt.Errorf("%.80s: %w", query, err)
		}
		return got != nil && *got, nil
	})
}
