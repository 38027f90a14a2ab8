package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"strangler/capability"
	"strangler/migrate"
)

// Prepare makes what is missing of both gates and their guards: legacy open at
// epoch 1 with its guards disabled, extracted sealed at epoch 0. The extracted
// side comes first, so that at no moment both are open. Gates that exist are
// left as they are; tables that joined the capability get guards. It needs the
// ownership of the tables, and makes writers of a table wait for 100 ms at most
// at a time; it retries for ten seconds before it returns capability.ErrBusy.
func (g *Gates) Prepare(ctx context.Context, legacy, extracted []migrate.Relation) error {
	identities := map[capability.Side]capability.Identity{}
	for _, side := range capability.Sides {
		if err := g.databases[side].Install(ctx); err != nil {
			return err
		}
		id, err := g.databases[side].Identity(ctx)
		if err != nil {
			return err
		}
		identities[side] = id
	}
	relations := map[capability.Side][]migrate.Relation{capability.Legacy: legacy, capability.Extracted: extracted}
	for _, side := range [2]capability.Side{capability.Extracted, capability.Legacy} {
		if err := g.create(ctx, side, identities[side], identities[side.Other()]); err != nil {
			return err
		}
		for _, relation := range relations[side] {
			if err := g.addGuards(ctx, side, relation); err != nil {
				return err
			}
		}
	}
	return nil
}

// create makes one gate in its first state, unless it exists.
func (g *Gates) create(ctx context.Context, side capability.Side, self, peer capability.Identity) error {
	state, epoch := capability.Open, 1
	if side == capability.Extracted {
		state, epoch = capability.Sealed, 0
	}
	_, err := g.databases[side].pool.Exec(ctx, `
		INSERT INTO strangler.gate (capability, side, state, epoch, mover, self_system, self_timeline, peer_system, peer_timeline)
		VALUES ($1, $2, $3, $4, session_user, $5, $6, $7, $8) ON CONFLICT (capability) DO NOTHING`,
		g.capability, string(side), string(state), epoch, self.System, int64(self.Timeline), peer.System, int64(peer.Timeline))
	if err != nil {
		return fmt.Errorf("make %s gate of %s: %w", side, g.capability, err)
	}
	return nil
}

func (g *Gates) addGuards(ctx context.Context, side capability.Side, relation migrate.Relation) error {
	name := pgx.Identifier{relation.Schema, relation.Name}.Sanitize()
	err := g.patiently(ctx, side, fmt.Sprintf("guard %s on the %s side", relation, side), func(conn *pgxpool.Conn) error {
		_, err := conn.Exec(ctx, `SELECT strangler.add_guards($1, $2::text::regclass)`, g.capability, name)
		return err
	})
	if errors.Is(err, capability.ErrBusy) {
		err = fmt.Errorf("%w%s", err, g.databases[side].holders(ctx, name))
	}
	return err
}

// holders names the transactions that have locked a table, or a partition of it,
// for writing, as a suffix for the message of whoever has waited for them in vain.
func (d *Database) holders(ctx context.Context, name string) string {
	rows, err := d.pool.Query(ctx, `
		SELECT DISTINCT CASE WHEN p.gid IS NOT NULL THEN format('prepared transaction %L of %s (COMMIT or ROLLBACK PREPARED it)', p.gid, p.owner)
			ELSE format('pid %s (%s, %s, %s s)', a.pid, a.usename, a.application_name, extract(epoch FROM clock_timestamp() - a.xact_start)::int) END
		FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.virtualtransaction = l.virtualtransaction
		LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
		WHERE l.granted AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND l.relation IN (SELECT $1::text::regclass UNION SELECT relid FROM pg_partition_tree($1::text::regclass)) AND (a.pid IS NOT NULL OR p.gid IS NOT NULL)`, name)
	if err != nil {
		return ""
	}
	who, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(who) == 0 {
		return ""
	}
	return " by " + strings.Join(who, ", ")
}

// Drop removes the guards and the gate of one side, for good. The caller has
// made sure that nothing depends on them: after it, the side takes writes.
func (g *Gates) Drop(ctx context.Context, side capability.Side) error {
	names, err := g.guarded(ctx, side)
	if undefined(errors.Unwrap(err)) {
		return nil // nothing was ever installed
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		err := g.patiently(ctx, side, fmt.Sprintf("drop guards of %s on the %s side", name, side), func(conn *pgxpool.Conn) error {
			_, err := conn.Conn().PgConn().Exec(ctx,
				`DROP TRIGGER IF EXISTS strangler_guard ON `+name+`; DROP TRIGGER IF EXISTS strangler_guard_truncate ON `+name).ReadAll()
			return err
		})
		if err != nil {
			return err
		}
	}
	if _, err := g.databases[side].pool.Exec(ctx, `DELETE FROM strangler.gate WHERE capability = $1`, g.capability); err != nil && !undefined(err) {
		return fmt.Errorf("drop %s gate of %s: %w", side, g.capability, err)
	}
	return nil
}

// patiently tries a statement that locks tables, a short while each time and
// with growing pauses between, so that writers never queue behind it for long.
func (g *Gates) patiently(ctx context.Context, side capability.Side, what string, call func(*pgxpool.Conn) error) error {
	give := time.Now().Add(10 * time.Second)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := g.bounded(ctx, side, "lock_timeout", guardTimeout, call)
		if err == nil {
			return nil
		}
		if !locked(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if time.Now().After(give) {
			return fmt.Errorf("%s: %w", what, capability.ErrBusy)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// Obstacles names what would make closing a side's gate fail or wait: prepared
// transactions, and transactions older than five seconds that hold a write lock
// on a guarded table. Each is a sentence with what to do about it.
func (g *Gates) Obstacles(ctx context.Context, side capability.Side) ([]string, error) {
	rows, err := g.databases[side].pool.Query(ctx, `
		SELECT format('prepared transaction %L of %s since %s: COMMIT or ROLLBACK PREPARED it', gid, owner, prepared::timestamp(0))
		FROM pg_prepared_xacts WHERE database = current_database()
		UNION ALL
		SELECT DISTINCT format('pid %s (%s, %s, %s) has held a lock on %s for %s s: wait, or SELECT pg_terminate_backend(%s); what it runs: %s',
			a.pid, a.usename, coalesce(nullif(a.application_name, ''), 'no name'), a.state, l.relation::regclass, extract(epoch FROM clock_timestamp() - a.xact_start)::int, a.pid, `+runs+`)
		FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.granted AND l.relation IN (SELECT strangler.guarded($1)) AND a.xact_start < clock_timestamp() - interval '5 s'
		  AND l.mode IN ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
		  AND a.backend_type = 'client backend'`, g.capability)
	if err != nil {
		return nil, fmt.Errorf("look for transactions in the way on the %s side: %w", side, err)
	}
	obstacles, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for transactions in the way on the %s side: %w", side, err)
	}
	return obstacles, nil
}
