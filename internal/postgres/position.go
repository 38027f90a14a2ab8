package postgres

import (
	"context"
	"fmt"
	"time"

	"strangler/capability"
)

// Sizes of the write-ahead log that PostgreSQL fixes.
const (
	walPage       = 8192 // XLOG_BLCKSZ unless the server was built otherwise
	shortHeader   = 24   // of a page
	longHeader    = 40   // of a segment's first page
	heartbeatName = "strangler-heartbeat"
)

// flushEvery is how often WalPosition commits something of its own at most.
const flushEvery = 200 * time.Millisecond

// WalPosition returns a position behind everything that was committed in this
// database before the call, and one that a walsender reaches even when nothing
// is written after it: it makes the log durable where nobody else does.
func (d *Database) WalPosition(ctx context.Context) (capability.Position, error) {
	var insert, flushed capability.Position
	var segment uint64
	err := d.pool.QueryRow(ctx, `
		SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint,
		       pg_size_bytes(current_setting('wal_segment_size'))`).Scan(&insert, &flushed, &segment)
	if err != nil {
		return 0, fmt.Errorf("read log position of %s database: %w", d.side, err)
	}
	reach := recordEnd(insert, segment)
	if last := d.beat.Load(); reach > flushed && time.Now().UnixNano()-last > int64(flushEvery) && d.beat.CompareAndSwap(last, time.Now().UnixNano()) {
		// What was committed asynchronously, or what nobody has committed: neither
		// is sent before it is flushed, which the next commit does. Where there are
		// many, theirs will do; where there is none, this one.
		if _, err := d.Heartbeat(ctx); err != nil {
			return 0, err
		}
	}
	return reach, nil
}

// Heartbeat commits a message that no stream applies, so that slots in a quiet
// database move on, and returns a position that the log has reached.
func (d *Database) Heartbeat(ctx context.Context) (capability.Position, error) {
	var at capability.Position
	err := d.pool.QueryRow(ctx, `SELECT (pg_logical_emit_message(true, $1, '') - '0/0'::pg_lsn)::bigint`, heartbeatName).Scan(&at)
	if err != nil {
		return 0, fmt.Errorf("write heartbeat into %s database: %w", d.side, err)
	}
	return at, nil
}

// recordEnd takes the place where the next record will be written back to where
// the last one ended: at a page's start that is before the header, and a
// walsender that has sent everything stands there.
func recordEnd(insert capability.Position, segment uint64) capability.Position {
	switch {
	case uint64(insert)%segment == longHeader:
		return insert - longHeader
	case uint64(insert)%walPage == shortHeader:
		return insert - shortHeader
	}
	return insert
}
