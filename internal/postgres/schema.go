package postgres

import (
	"context"
	_ "embed"
	"fmt"

	"strangler/internal/postgres/outbox"
)

// schemaSQL makes the schema strangler with every table that the product keeps
// in a database, but for those of captures by triggers; gateSQL makes the
// functions of the gate. Both can be run again at any time.
var (
	//go:embed schema.sql
	schemaSQL string
	//go:embed gate.sql
	gateSQL string
)

// Install creates the schema strangler in the database, or brings it up to date.
// It needs CREATE on the database; two callers at once wait for each other.
func (d *Database) Install(ctx context.Context) error {
	return d.install(ctx, schemaSQL+outbox.Schema+gateSQL+d.fence.raising())
}

func (d *Database) install(ctx context.Context, script string) error {
	if err := d.atOnce(ctx, script); err != nil {
		return d.fencedOr(fmt.Errorf("install schema in %s database: %w", d.side, err))
	}
	return nil
}

// atOnce sends a script as one message of the simple protocol, which is one
// transaction: all of it or nothing.
func (d *Database) atOnce(ctx context.Context, script string) error {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	_, err = conn.Conn().PgConn().Exec(ctx, script).ReadAll()
	return err
}
