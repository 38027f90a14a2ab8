package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/internal/postgres/quote"
)

// Commits come into the log first and become visible a moment later: in between
// their session may be put aside by a busy machine, or wait for a synchronous
// standby. Whoever compares the log's changes or a slot's snapshot, which have
// them already, with what a query sees, waits until they are over. Their session
// has a lock on their number until then, and lets go of it afterwards.

// visibleTime bounds how long it is waited for the transactions of a stream.
const visibleTime = 10 * time.Second

// visible blocks until every snapshot that is taken from now on shows
// transactions that a stream has brought, for as long as it may.
func (d *Database) visible(ctx context.Context, transactions []uint32, may time.Duration) error {
	numbers := make([]string, len(transactions))
	for i, id := range transactions {
		numbers[i] = fmt.Sprint(id)
	}
	return d.over(ctx, time.Now().Add(may), d.pool, `SELECT coalesce(array_agg(transactionid::text), '{}') FROM pg_locks
		WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted AND transactionid::text = ANY ($1::text[])`, numbers)
}

// snapshotVisible is visible for all that an imported snapshot of a slot shows.
// Numbers of locks have 32 bits; none is further than half of that from now.
const snapshotVisible = `
	SELECT coalesce(array_agg(transactionid::text), '{}')
	FROM (SELECT pg_current_snapshot() AS snapshot, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS top) s, pg_locks,
	     LATERAL (SELECT transactionid::text::bigint - top % 4294967296 AS away) a,
	     LATERAL (SELECT top + away + CASE WHEN away > 2147483648 THEN -4294967296 WHEN away < -2147483648 THEN 4294967296 ELSE 0 END AS id) i
	WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted AND id > 2 AND pg_visible_in_snapshot(id::text::xid8, snapshot)`

// shown blocks until every snapshot that is taken from now on shows at least what
// a slot's exported one does, or ctx ends.
func (d *Database) shown(ctx context.Context, snapshot string) error {
	conn, err := d.connect(ctx, nil)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it has only read
	if _, err := conn.PgConn().Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT `+quote.Literal(snapshot)).ReadAll(); err != nil {
		return fmt.Errorf("import a slot's snapshot in %s database: %w", d.side, err)
	}
	return d.over(ctx, time.Time{}, conn, snapshotVisible)
}

// over blocks until a query names no transactions any more. It gives up at a time
// that is not zero.
func (d *Database) over(ctx context.Context, give time.Time, q queries, sql string, args ...any) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		var left []string
		rows, err := q.Query(ctx, sql, args...)
		if err == nil {
			_, err = pgx.ForEachRow(rows, []any{&left}, func() error { return nil })
		}
		if err != nil {
			return fmt.Errorf("look for transactions that are committing in %s database: %w", d.side, err)
		}
		if len(left) == 0 {
			return nil
		}
		if !give.IsZero() && time.Now().After(give) {
			return fmt.Errorf("transactions %s are in the log of the %s database and nobody sees them there: they may wait for a synchronous standby", strings.Join(left, ", "), d.side)
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pause):
		return nil
	}
}
