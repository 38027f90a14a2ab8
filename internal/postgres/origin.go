package postgres

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/internal/postgres/apply"
	"strangler/internal/postgres/outbox"
	"strangler/migrate"
)

// slotName is the name of both the publication and the slot from which a
// capability's changes are read. Slots take no hyphen.
func slotName(name string, from capability.Side) string {
	return "strangler_" + strings.ReplaceAll(name, "-", "_") + "_" + string(from)
}

// moverSettings are those of a session that writes what the other side has
// already decided: no foreign key is enforced again, no ordinary trigger fires
// again, and a deferrable constraint may be broken for a moment, as it was on the
// source (PostgreSQL checks all of these by triggers). Guards fire nevertheless. A plan made while a table was small must not
// read the whole of it once it is large: rows are always found by their key.
var moverSettings = map[string]string{"session_replication_role": "replica", "application_name": "strangler mover",
	"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off"}

// moverSession connects as the mover of one capability: past its guards, under
// the origin of the given side and number. One session at a time may use an origin, which
// keeps two movers from writing at once; the second one gets SQLSTATE 55006. The
// caller closes the connection.
func (d *Database) moverSession(ctx context.Context, name string, from capability.Side, n int) (*pgx.Conn, error) {
	settings := maps.Clone(moverSettings)
	settings[outbox.Applying] = name
	conn, err := d.connect(ctx, settings)
	if err != nil {
		return nil, err
	}
	if err := apply.PassGuards(ctx, conn, name); err != nil {
		return nil, d.abandon(ctx, conn, err)
	}
	origin := migrate.ApplyOriginName(name, from, n)
	// Two sessions may find the origin missing at once; the second one then waits
	// for the first and gets a duplicate key, and is tried again by its caller.
	_, err = conn.Exec(ctx, `SELECT pg_replication_origin_create($1) WHERE pg_replication_origin_oid($1) IS NULL`, origin)
	if err == nil {
		_, err = conn.Exec(ctx, `SELECT pg_replication_origin_session_setup($1)`, origin)
	}
	if err != nil {
		return nil, d.abandon(ctx, conn, fmt.Errorf("take replication origin %s: %w", origin, err))
	}
	return conn, nil
}

// abandon closes a connection that is of no use because of err.
func (d *Database) abandon(ctx context.Context, conn *pgx.Conn, err error) error {
	_ = conn.Close(ctx) // the error that matters is the other one
	return fmt.Errorf("open mover's session in %s database: %w", d.side, err)
}

// DropOrigin removes the origins under which changes from a side were written. A
// session that is about to leave is waited for, ten seconds at most. It is no
// error when there is none.
func (d *Database) DropOrigin(ctx context.Context, name string, from capability.Side) error {
	err := d.onceFree(ctx, `SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname = ANY($1)`, applyOrigins(name, from))
	if err != nil {
		return fmt.Errorf("drop replication origins of %s in %s database: %w", migrate.OriginName(name, from), d.side, err)
	}
	return nil
}

// applyOrigins are the origins of all sessions that a stream may apply with.
func applyOrigins(name string, from capability.Side) []string {
	origins := make([]string, migrate.Sessions)
	for n := range origins {
		origins[n] = migrate.ApplyOriginName(name, from, n)
	}
	return origins
}
