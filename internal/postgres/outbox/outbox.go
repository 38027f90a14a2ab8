// Package outbox captures a capability's changes by triggers, for databases whose
// write-ahead log cannot be read. It is the second implementation of
// migrate.Capture.
//
// Triggers write each change into tables of events, in the transaction that makes
// it. The mover divides the events by ticks: a tick is a snapshot with a position,
// and a batch is what one tick shows and the one before does not. A batch is one
// transaction of the stream, ordered by the numbers that its events have drawn. So
// a transaction that goes on for long holds nothing up (it lands in a later
// batch), and one that has drawn lower numbers and commits later is not missed.
//
// The package is part of the postgres adapter, which hands it connections.
package outbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"strangler/capability"
	"strangler/migrate"
)

// Schema makes what all outboxes of a database share, behind the schema strangler.
// It can be run again at any time.
//
//go:embed outbox.sql
var Schema string

// Applying is the setting by which a session that passes for a replica says of which
// capability it brings changes from the other side: they are not sent back.
const Applying = "strangler.applying"

const (
	lockTimeout  = "100ms" // what a writer may wait for while a trigger is made or dropped
	lockPatience = 10 * time.Second
)

// Host is the database that an outbox is in. Its sessions read committed, and
// write values as the product does everywhere.
type Host struct {
	Side     capability.Side
	Pool     *pgxpool.Pool
	Connect  func(ctx context.Context, settings map[string]string) (*pgx.Conn, error)
	Install  func(ctx context.Context) error
	Identity func(ctx context.Context) (capability.Identity, error)
}

// Outbox is one capability's capture in one database. It is safe for concurrent
// use.
type Outbox struct {
	host Host
	name string // of the capability
}

var _ migrate.Capture = (*Outbox)(nil)

// Retained is the size of the tables of events.
func (o *Outbox) Retained(ctx context.Context) (migrate.Retention, error) {
	r := migrate.Retention{Headroom: -1}
	tables := []string{events(0, o.name), events(1, o.name), events(2, o.name)}
	err := o.host.Pool.QueryRow(ctx, `SELECT coalesce(sum(pg_total_relation_size(to_regclass(t))), 0)::bigint FROM unnest($1::text[]) t`, tables).Scan(&r.Bytes)
	if err != nil {
		return r, fmt.Errorf("look at the outbox of %s in %s database: %w", o.name, o.host.Side, err)
	}
	return r, nil
}

// New returns the outbox of a capability, which may not exist yet.
func New(host Host, name string) *Outbox { return &Outbox{host: host, name: name} }

// CreateStream makes tables of events, puts triggers on the tables, and returns a
// snapshot that shows everything that the triggers have not seen. It needs the
// ownership of the tables, makes writers of a table wait for 100 ms at most at a
// time, and returns capability.ErrBusy when it has not got its locks in ten seconds.
func (o *Outbox) CreateStream(ctx context.Context, relations []migrate.Relation, export bool) (migrate.Snapshot, error) {
	snapshot, err := o.create(ctx, relations, export)
	if err != nil {
		return migrate.Snapshot{}, fmt.Errorf("capture %s in %s database by triggers: %w", o.name, o.host.Side, err)
	}
	return snapshot, nil
}

func (o *Outbox) create(ctx context.Context, relations []migrate.Relation, export bool) (migrate.Snapshot, error) {
	if err := o.host.Install(ctx); err != nil {
		return migrate.Snapshot{}, err
	}
	exists, err := o.StreamExists(ctx)
	if err != nil {
		return migrate.Snapshot{}, err
	}
	if exists {
		return migrate.Snapshot{}, errors.New("it exists already")
	}
	tables := make([]string, len(relations))
	for i, r := range relations {
		tables[i] = pgx.Identifier{r.Schema, r.Name}.Sanitize()
	}
	if _, err := o.host.Pool.Exec(ctx, `SELECT strangler.make_outbox($1, $2::text[]::regclass[]::oid[])`, o.name, tables); err != nil {
		return migrate.Snapshot{}, err
	}
	for _, table := range tables {
		if err := o.patiently(ctx, `SELECT strangler.add_capture($1, $2::text::regclass)`, o.name, table); err != nil {
			return migrate.Snapshot{}, fmt.Errorf("%s: %w", table, err)
		}
	}
	// Whoever wrote to a table before it had its trigger has ended: they could not
	// stand beside the lock. So this snapshot shows them all.
	if export {
		return o.export(ctx)
	}
	at, err := o.makeTick(ctx)
	return migrate.Snapshot{Position: at.position, Close: func() error { return nil }}, err
}

// StreamExists says whether the capability has an outbox in this database.
func (o *Outbox) StreamExists(ctx context.Context) (exists bool, err error) {
	err = o.host.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM strangler.outbox WHERE capability = $1)`, o.name).Scan(&exists)
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the outbox of %s in %s database: %w", o.name, o.host.Side, err)
	}
	return exists, nil
}

// DropStream removes triggers and events. Each trigger keeps readers and writers
// of its table out for a moment, 100 ms at most at a time.
func (o *Outbox) DropStream(ctx context.Context) error {
	if err := o.drop(ctx); err != nil && !missing(err) {
		return fmt.Errorf("drop the outbox of %s in %s database: %w", o.name, o.host.Side, err)
	}
	return nil
}

func (o *Outbox) drop(ctx context.Context) error {
	rows, err := o.host.Pool.Query(ctx, `
		SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) FROM pg_trigger
		WHERE tgfoid = to_regproc(format('strangler.%I', 'capture_' || $1::text)) AND tgparentid = 0`, o.name)
	if err != nil {
		return err
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, statement := range statements {
		if err := o.patiently(ctx, statement); err != nil {
			return err
		}
	}
	return o.patiently(ctx, `SELECT strangler.drop_outbox($1)`, o.name)
}

// patiently runs a statement that locks tables, a short while each time and with
// growing pauses between, so that writers never queue behind it for long.
func (o *Outbox) patiently(ctx context.Context, statement string, args ...any) error {
	give := time.Now().Add(lockPatience)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := o.briefly(ctx, statement, args...)
		if !busy(err) {
			return err
		}
		if time.Now().After(give) {
			return errors.Join(capability.ErrBusy, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// briefly runs a statement that locks tables, and gives up when it does not get
// its locks at once, nearly.
func (o *Outbox) briefly(ctx context.Context, statement string, args ...any) error {
	return pgx.BeginFunc(ctx, o.host.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+lockTimeout+"'"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, statement, args...)
		return err
	})
}

// busy says that somebody held a lock.
func busy(err error) bool {
	code := sqlstate(err)
	return code == "55P03" || code == "40P01"
}

// Identity is that of the database.
func (o *Outbox) Identity(ctx context.Context) (capability.Identity, error) {
	return o.host.Identity(ctx)
}

func sqlstate(err error) string {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return ""
}

// missing says that nothing was ever installed.
func missing(err error) bool {
	code := sqlstate(err)
	return code == "3F000" || code == "42P01" || code == "42883"
}
