package postgres

import (
	"context"
	"fmt"

	"strangler/capability"
	"strangler/internal/postgres/outbox"
	"strangler/migrate"
)

// Capture returns a capability's capture of one kind in this database.
func (d *Database) Capture(kind capability.Capture, name string) migrate.Capture {
	if kind == capability.CaptureTrigger {
		return outbox.New(outbox.Host{Side: d.side, Pool: d.pool, Connect: d.connect, Install: d.Install, Identity: d.Identity}, name)
	}
	return logCapture{d, name}
}

// BestCapture takes the log where it can be read: it costs the writers nothing.
func (d *Database) BestCapture(ctx context.Context) (capability.Capture, string, error) {
	var level, role string
	var may bool
	err := d.pool.QueryRow(ctx, `SELECT (SELECT setting FROM pg_settings WHERE name = 'wal_level'), quote_ident(rolname), rolreplication OR rolsuper
		FROM pg_roles WHERE rolname = current_user`).Scan(&level, &role, &may)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("look how changes of %s database can be read: %w", d.side, err)
	case level != "logical":
		return capability.CaptureTrigger, "wal_level is " + level, nil
	case !may:
		return capability.CaptureTrigger, fmt.Sprintf("role %s may not open replication connections", role), nil
	}
	return capability.CaptureWAL, "wal_level is logical, and the role may replicate", nil
}

// logCapture is the capture of one capability by the write-ahead log.
type logCapture struct {
	*Database
	name string
}

// CreateStream makes publication and slot.
func (c logCapture) CreateStream(ctx context.Context, relations []migrate.Relation, export bool) (migrate.Snapshot, error) {
	if err := c.tellTruncations(ctx, c.name, relations); err != nil {
		return migrate.Snapshot{}, err
	}
	return c.Database.CreateStream(ctx, c.name, relations, export)
}

// StreamExists says whether there is a slot.
func (c logCapture) StreamExists(ctx context.Context) (bool, error) {
	return c.Database.StreamExists(ctx, c.name)
}

// DropStream removes slot, publication, and the triggers on partitions.
func (c logCapture) DropStream(ctx context.Context) error {
	if err := c.Database.DropStream(ctx, c.name); err != nil {
		return err
	}
	return c.forgetTruncations(ctx, c.name)
}

// Retained is the log behind the slot.
func (c logCapture) Retained(ctx context.Context) (migrate.Retention, error) {
	return c.retained(ctx, c.name)
}

// Position is that of the log.
func (c logCapture) Position(ctx context.Context) (capability.Position, error) {
	return c.WalPosition(ctx)
}

// Visible looks for them among those that are still committing.
func (c logCapture) Visible(ctx context.Context, transactions []uint32) error {
	return c.visible(ctx, transactions, visibleTime)
}

// Follow opens the slot.
func (c logCapture) Follow(ctx context.Context, from capability.Position) (migrate.Feed, error) {
	return c.Database.Follow(ctx, c.name, from)
}
