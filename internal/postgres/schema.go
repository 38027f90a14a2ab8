package postgres

import (
	"context"
	_ "embed"
	"fmt"
)

// schemaSQL makes the schema strangler with everything the product keeps in a
// database. It can be run again at any time.
//
//go:embed schema.sql
var schemaSQL string

// Install creates the schema strangler in the database, or brings it up to date.
// It needs CREATE on the database; two callers at once wait for each other.
func (d *Database) Install(ctx context.Context) error {
	// One simple-protocol message is one transaction: all of it or nothing.
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("install schema in %s database: %w", d.side, err)
	}
	defer conn.Release()
	if _, err := conn.Conn().PgConn().Exec(ctx, schemaSQL).ReadAll(); err != nil {
		return fmt.Errorf("install schema in %s database: %w", d.side, err)
	}
	return nil
}
