package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// CreateStream makes what a capability's changes are read from: a publication of
// its tables, then a slot. From the snapshot's position on every change is kept
// until it is confirmed, so a stream that is not wanted any more must be dropped.
// With export the snapshot can be imported until it is closed; without, only its
// Position is of use, and Close does nothing. It blocks until every transaction
// that is writing in the cluster has ended, or ctx ends.
func (d *Database) CreateStream(ctx context.Context, name string, relations []migrate.Relation, export bool) (migrate.Snapshot, error) {
	exists, err := d.StreamExists(ctx, name)
	if err != nil {
		return migrate.Snapshot{}, err
	}
	if exists {
		return migrate.Snapshot{}, fmt.Errorf("create slot %s in %s database: it exists already", slotName(name, d.side), d.side)
	}
	if err := d.publish(ctx, name, relations); err != nil {
		return migrate.Snapshot{}, err
	}
	action := "NOEXPORT_SNAPSHOT"
	if export {
		action = "EXPORT_SNAPSHOT"
	}
	return d.createSlot(ctx, slotName(name, d.side), pglogrepl.CreateReplicationSlotOptions{Mode: pglogrepl.LogicalReplication, SnapshotAction: action})
}

// TemporarySnapshot opens a snapshot at a known position, for a comparison. A slot
// waits for every transaction that is writing, in any database of the cluster; when
// ctx ends, the error names them.
func (d *Database) TemporarySnapshot(ctx context.Context) (migrate.Snapshot, error) {
	snapshot, err := d.createSlot(ctx, "strangler_snapshot_"+strings.ToLower(rand.Text()),
		pglogrepl.CreateReplicationSlotOptions{Mode: pglogrepl.LogicalReplication, Temporary: true, SnapshotAction: "EXPORT_SNAPSHOT"})
	code := sqlstate.Of(err)
	// All slots, or all senders, are taken; or writers were waited for in vain.
	if code == "53400" || code == "53300" || err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", migrate.ErrNoSnapshot, err)
	}
	return snapshot, err
}

func (d *Database) createSlot(ctx context.Context, slot string, options pglogrepl.CreateReplicationSlotOptions) (migrate.Snapshot, error) {
	conn, err := d.replication(ctx)
	if err != nil {
		return migrate.Snapshot{}, err
	}
	created, err := pglogrepl.CreateReplicationSlot(ctx, conn, slot, "pgoutput", options)
	var at pglogrepl.LSN
	if err == nil {
		at, err = pglogrepl.ParseLSN(created.ConsistentPoint)
	}
	if err == nil && created.SnapshotName != "" {
		err = d.shown(ctx, created.SnapshotName)
	}
	if err != nil {
		_ = conn.Close(ctx) // the error that matters is the other one
		return migrate.Snapshot{}, fmt.Errorf("create slot %s in %s database: %w%s", slot, d.side, err, d.writersWaitedFor(ctx))
	}
	snapshot := migrate.Snapshot{Position: capability.Position(at), Name: created.SnapshotName, Close: func() error { return nil }}
	if created.SnapshotName == "" {
		if err := conn.Close(ctx); err != nil {
			return migrate.Snapshot{}, fmt.Errorf("create slot %s in %s database: %w", slot, d.side, err)
		}
		return snapshot, nil
	}
	snapshot.Close = func() error { return d.closeSnapshot(conn) }
	return snapshot, nil
}

func (d *Database) closeSnapshot(conn *pgconn.PgConn) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := conn.Close(ctx); err != nil {
		return fmt.Errorf("close snapshot in %s database: %w", d.side, err)
	}
	return nil
}

// writersWaitedFor names the transactions that a slot waits for, as a suffix for
// the message of a creation that ran out of time.
func (d *Database) writersWaitedFor(ctx context.Context) string {
	if ctx.Err() == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	rows, err := d.pool.Query(ctx, `
		SELECT format('pid %s (%s in database %s, %s s)', pid, usename, datname, extract(epoch FROM clock_timestamp() - xact_start)::int)
		FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
		UNION ALL
		SELECT format('prepared transaction %L in database %s', gid, database) FROM pg_prepared_xacts`)
	if err != nil {
		return ""
	}
	who, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(who) == 0 {
		return ""
	}
	return "; it waits for transactions that are writing: " + strings.Join(who, ", ")
}

// StreamExists says whether the capability has a slot in this database.
func (d *Database) StreamExists(ctx context.Context, name string) (bool, error) {
	var exists bool
	err := d.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)`, slotName(name, d.side)).Scan(&exists)
	if err != nil {
		return false, fmt.Errorf("look for slot %s in %s database: %w", slotName(name, d.side), d.side, err)
	}
	return exists, nil
}

// DropStream removes slot and publication: the database keeps no more log for
// the capability, and what was not applied is lost. A reader that is about to
// leave is waited for, ten seconds at most. It is no error when there is nothing.
func (d *Database) DropStream(ctx context.Context, name string) error {
	err := d.onceFree(ctx, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1`, slotName(name, d.side))
	if err != nil {
		return fmt.Errorf("drop slot %s in %s database: %w", slotName(name, d.side), d.side, err)
	}
	return d.unpublish(ctx, name)
}
