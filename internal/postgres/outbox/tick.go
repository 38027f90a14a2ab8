package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
)

// tick is a point of the stream: everything that the snapshot shows is before it.
type tick struct {
	position capability.Position
	snapshot string
	made     time.Time
}

const tickColumns = `(position - '0/0'::pg_lsn)::bigint, snapshot::text, made_at`

func (t *tick) fields() []any { return []any{&t.position, &t.snapshot, &t.made} }

// Position returns a position behind everything that was committed before the
// call. It makes a tick where something is new; otherwise it only looks.
func (o *Outbox) Position(ctx context.Context) (capability.Position, error) {
	last, news, err := o.look(ctx)
	if err == nil && news {
		last, err = o.makeTick(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("read position of %s in %s database: %w", o.name, o.host.Side, err)
	}
	return last.position, nil
}

// Heartbeat needs to write nothing but the tick of a position, which makes durable what
// is before it: what is idle holds nothing back here.
func (o *Outbox) Heartbeat(ctx context.Context) (capability.Position, error) { return o.Position(ctx) }

// look reads the last tick, and says whether there are events that it does not
// show.
func (o *Outbox) look(ctx context.Context) (last tick, news bool, err error) {
	err = o.host.Pool.QueryRow(ctx, newsSQL(o.name), o.name).Scan(append(last.fields(), &news)...)
	return last, news, err
}

// newsSQL asks for the last tick and whether something is new since; $1 is the
// capability. Each question is put so that only the index can answer it: there are
// no statistics on tables that are emptied all the time.
func newsSQL(name string) string {
	var unseen string
	for i := range 3 {
		if i > 0 {
			unseen += " OR "
		}
		unseen += fmt.Sprintf(`coalesce((SELECT xid FROM %[1]s ORDER BY xid DESC LIMIT 1) >= pg_snapshot_xmax(snapshot), false)
			OR EXISTS (SELECT FROM pg_snapshot_xip(snapshot) x WHERE (SELECT xid FROM %[1]s WHERE xid >= x ORDER BY xid LIMIT 1) = x)`, events(i, name))
	}
	return `SELECT ` + tickColumns + `, ` + unseen + ` FROM (SELECT * FROM strangler.tick WHERE capability = $1 ORDER BY position DESC LIMIT 1) t`
}

func events(i int, name string) string {
	return pgx.Identifier{"strangler", fmt.Sprintf("events%d_%s", i, name)}.Sanitize()
}

func (o *Outbox) makeTick(ctx context.Context) (t tick, err error) {
	err = o.host.Pool.QueryRow(ctx, `SELECT `+tickColumns+` FROM strangler.make_tick($1)`, o.name).Scan(t.fields()...)
	return t, err
}

// TemporarySnapshot opens a snapshot at a known position, for a comparison. It
// waits for nobody who is writing.
func (o *Outbox) TemporarySnapshot(ctx context.Context) (migrate.Snapshot, error) {
	snapshot, err := o.export(ctx)
	if err != nil {
		return migrate.Snapshot{}, fmt.Errorf("take a snapshot of %s database: %w", o.host.Side, err)
	}
	return snapshot, nil
}

// export makes a tick of a snapshot that others can import. The snapshot is taken
// while no other tick can be made, so that it shows what the one before does.
func (o *Outbox) export(ctx context.Context) (snapshot migrate.Snapshot, err error) {
	conn, err := o.host.Connect(ctx, nil)
	if err != nil {
		return snapshot, err
	}
	snapshot.Close = func() error { return end(conn) }
	err = pgx.BeginFunc(ctx, o.host.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('strangler tick ' || $1, 0))`, o.name); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`); err != nil {
			return err
		}
		var shows string
		if err := conn.QueryRow(ctx, `SELECT pg_current_snapshot()::text, pg_export_snapshot()`).Scan(&shows, &snapshot.Name); err != nil {
			return err
		}
		var t tick
		err := tx.QueryRow(ctx, `SELECT `+tickColumns+` FROM strangler.make_tick($1, $2::text::pg_snapshot)`, o.name, shows).Scan(t.fields()...)
		snapshot.Position = t.position
		return err
	})
	if err != nil {
		return migrate.Snapshot{}, errors.Join(err, end(conn))
	}
	return snapshot, nil
}

// Visible returns at once: a batch has what a snapshot shows, and no transactions of
// its own.
func (o *Outbox) Visible(context.Context, []uint32) error { return nil }

func end(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := conn.Close(ctx); err != nil {
		return fmt.Errorf("close a session of an outbox: %w", err)
	}
	return nil
}
