package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"strangler/capability"
	"strangler/internal/postgres/quote"
)

// Bounds of what a gate may make the writers of a database wait for.
const (
	shutTimeout  = 100 * time.Millisecond // closing, locks included
	guardTimeout = 100 * time.Millisecond // adding or disabling guards, per attempt
	turnTimeout  = 2 * time.Second        // sealing or opening, which wait for whoever has the gate's row
)

// Gates are the two gates of one capability. Its methods change at most one
// gate each, in one round trip, and are safe to call again.
type Gates struct {
	capability string
	databases  map[capability.Side]*Database
}

// NewGates returns the gates of a capability in its two databases.
func NewGates(name string, legacy, extracted *Database) *Gates {
	return &Gates{capability: name, databases: map[capability.Side]*Database{capability.Legacy: legacy, capability.Extracted: extracted}}
}

// Read reads both gates, one after the other. A gate that was never made is an
// error that wraps pgx.ErrNoRows.
func (g *Gates) Read(ctx context.Context) (legacy, extracted capability.Gate, err error) {
	if legacy, err = g.read(ctx, capability.Legacy); err != nil {
		return legacy, extracted, err
	}
	extracted, err = g.read(ctx, capability.Extracted)
	return legacy, extracted, err
}

func (g *Gates) read(ctx context.Context, side capability.Side) (capability.Gate, error) {
	var gate capability.Gate
	err := g.databases[side].pool.QueryRow(ctx, `
		SELECT state, epoch, since, self_system, self_timeline, peer_system, peer_timeline, s.system_identifier::text, `+timelineSQL+`
		FROM strangler.gate, pg_control_system() s WHERE capability = $1`, g.capability,
	).Scan(&gate.State, &gate.Epoch, &gate.Since, &gate.Self.System, &gate.Self.Timeline, &gate.Peer.System, &gate.Peer.Timeline,
		&gate.Actual.System, &gate.Actual.Timeline)
	if undefined(err) || errors.Is(err, pgx.ErrNoRows) {
		err = capability.ErrNoGate
	}
	if err != nil {
		return gate, fmt.Errorf("read %s gate of %s: %w", side, g.capability, err)
	}
	return gate, nil
}

// Refused is what a side's gate has refused to others than movers since the move
// began: how many statements (a crash of the server may add up to 32 to it), and the
// eight writers that were refused last. Nothing where there is no gate. It does not
// wait for locks.
func (g *Gates) Refused(ctx context.Context, side capability.Side) (capability.Refusals, error) {
	var r capability.Refusals
	pool := g.databases[side].pool
	err := pool.QueryRow(ctx, `SELECT coalesce(pg_sequence_last_value(to_regclass(strangler.refusals($1))), 0)`, g.capability).Scan(&r.Count)
	if err == nil && r.Count > 0 {
		var rows pgx.Rows
		if rows, err = pool.Query(ctx, `SELECT application, role, refused, last FROM strangler.refused_writers($1)`, g.capability); err == nil {
			r.Writers, err = pgx.CollectRows(rows, pgx.RowToStructByPos[capability.Writer])
		}
	}
	if undefined(err) {
		return capability.Refusals{}, nil
	}
	if err != nil {
		return capability.Refusals{}, fmt.Errorf("count what the %s gate of %s has refused: %w", side, g.capability, err)
	}
	return r, nil
}

// Yield makes vacuums that run on a side's tables give way before anything is
// held: it takes a lock that conflicts with theirs and with no writer's, and
// gives it back. It blocks for up to deadlock_timeout and two seconds a table. A
// vacuum against wraparound does not give way: it is named in the error.
func (g *Gates) Yield(ctx context.Context, side capability.Side) error {
	d := g.databases[side]
	names, err := g.guarded(ctx, side)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `SELECT set_config('lock_timeout', (setting::int + 2000)::text, true) FROM pg_settings WHERE name = 'deadlock_timeout'`)
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `LOCK TABLE ONLY `+name+` IN SHARE UPDATE EXCLUSIVE MODE`)
			return err
		})
		if err != nil {
			return fmt.Errorf("wait for maintenance of %s on the %s side: %w%s", name, side, err, g.blockers(ctx, side, name))
		}
	}
	return nil
}

// runs tells how to see the last statement of a session a, which has its values in it and
// is shown by nothing else.
const runs = `format('SELECT query FROM pg_stat_activity WHERE pid = %s', a.pid)`

// blockers names the sessions that hold locks on a table that conflict with
// maintenance or closing, as a suffix for messages; empty when there are none by
// now.
func (g *Gates) blockers(ctx context.Context, side capability.Side, name string) string {
	rows, err := g.databases[side].pool.Query(ctx, `
		SELECT DISTINCT format('pid %s (%s, %s, %s, %s, %s s); what it runs: %s', a.pid, coalesce(a.usename, a.backend_type), coalesce(nullif(a.application_name, ''), 'no name'), l.mode,
			coalesce(a.state, 'active'), extract(epoch FROM clock_timestamp() - a.xact_start)::int, `+runs+`)
		FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.relation = $1::regclass AND l.granted AND a.pid <> pg_backend_pid()
		  AND l.mode IN ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`, name)
	if err != nil {
		return ""
	}
	who, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(who) == 0 {
		return ""
	}
	return ": held by " + strings.Join(who, "; ")
}

// Close closes an open gate for the length of the lease and writes a marker with
// the nonce into the change stream behind the last write. It takes 100 ms at
// most; when the tables are locked for longer it returns capability.ErrBusy, when the gate
// is not at the epoch from, capability.ErrGate.
func (g *Gates) Close(ctx context.Context, side capability.Side, from, to uint64, lease time.Duration, nonce string) error {
	return g.shut(ctx, side, from, to, capability.Closing, lease, nonce)
}

// SealOpen seals a gate that is open when the databases disagree with the
// protocol, as after a restore: nothing else may be done before a verification.
func (g *Gates) SealOpen(ctx context.Context, side capability.Side, from, to uint64) error {
	return g.shut(ctx, side, from, to, capability.Sealed, 0, "")
}

func (g *Gates) shut(ctx context.Context, side capability.Side, from, to uint64, becomes capability.GateState, lease time.Duration, nonce string) error {
	var shut bool
	err := g.bounded(ctx, side, "statement_timeout", shutTimeout, func(conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, `SELECT strangler.shut_gate($1, $2, $3, $4, make_interval(secs => $5), $6)`,
			g.capability, int64(from), int64(to), string(becomes), lease.Seconds(), nonce).Scan(&shut)
	})
	switch {
	case locked(err):
		return fmt.Errorf("close %s gate of %s: %w%s", side, g.capability, capability.ErrBusy, g.allBlockers(ctx, side))
	case err != nil:
		return fmt.Errorf("close %s gate of %s: %w", side, g.capability, err)
	case !shut:
		return fmt.Errorf("close %s gate of %s at epoch %d: %w", side, g.capability, from, capability.ErrGate)
	}
	return nil
}

func (g *Gates) allBlockers(ctx context.Context, side capability.Side) string {
	names, err := g.guarded(ctx, side)
	if err != nil {
		return ""
	}
	for _, name := range names {
		if who := g.blockers(ctx, side, name); who != "" {
			return " (" + name + ")" + who
		}
	}
	return ""
}

// Seal is the commit point: it seals the gate that was closed with the epoch
// closing, if that closing's lease still stands, else capability.ErrGate. An error of the
// connection leaves it open whether the gate is sealed: read the gates.
func (g *Gates) Seal(ctx context.Context, side capability.Side, closing uint64) error {
	var epoch *int64
	err := g.bounded(ctx, side, "statement_timeout", turnTimeout, func(conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, `SELECT strangler.seal_gate($1, $2)`, g.capability, int64(closing)).Scan(&epoch)
	})
	if err != nil {
		return fmt.Errorf("seal %s gate of %s: %w", side, g.capability, err)
	}
	if epoch == nil {
		return fmt.Errorf("seal %s gate of %s closed at epoch %d: %w", side, g.capability, closing, capability.ErrGate)
	}
	return nil
}

// Open opens a gate that is closing or sealed at the epoch from. It refuses with
// capability.ErrGate when the gate has moved on, or when either database is no longer the
// one the move began with.
func (g *Gates) Open(ctx context.Context, side capability.Side, from, to uint64) error {
	peer, err := g.databases[side.Other()].Identity(ctx)
	if err != nil {
		return fmt.Errorf("open %s gate of %s: %w", side, g.capability, err)
	}
	var epoch *int64
	err = g.bounded(ctx, side, "statement_timeout", turnTimeout, func(conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, `SELECT strangler.open_gate($1, $2, $3, $4, $5)`,
			g.capability, int64(from), int64(to), peer.System, int64(peer.Timeline)).Scan(&epoch)
	})
	if err != nil {
		return fmt.Errorf("open %s gate of %s: %w", side, g.capability, err)
	}
	if epoch == nil {
		return fmt.Errorf("open %s gate of %s at epoch %d: %w", side, g.capability, from, capability.ErrGate)
	}
	return nil
}

// Adopt writes into both gates which clusters their databases are in now. What
// they have is not looked at: repair it before.
func (g *Gates) Adopt(ctx context.Context) error {
	ids := map[capability.Side]capability.Identity{}
	for _, side := range capability.Sides {
		id, err := g.databases[side].Identity(ctx)
		if err != nil {
			return err
		}
		ids[side] = id
	}
	for _, side := range capability.Sides {
		self, peer := ids[side], ids[side.Other()]
		_, err := g.databases[side].pool.Exec(ctx, `
			UPDATE strangler.gate SET self_system = $2, self_timeline = $3, peer_system = $4, peer_timeline = $5 WHERE capability = $1`,
			g.capability, self.System, int64(self.Timeline), peer.System, int64(peer.Timeline))
		if err != nil {
			return fmt.Errorf("adopt the databases in the %s gate of %s: %w", side, g.capability, err)
		}
	}
	return nil
}

// Disable takes the guards of a gate that is open at the epoch out of the
// writers' way: of all tables in one moment where nobody writes, otherwise table by
// table, where writers of a table wait for it for as long as wait at most. With no wait
// it gives up then. It is housekeeping: ErrBusy and ErrGate mean only that it was not
// done now.
func (g *Gates) Disable(ctx context.Context, side capability.Side, epoch uint64, wait time.Duration) error {
	names, err := g.guarded(ctx, side)
	if err != nil || len(names) == 0 {
		return err
	}
	err = g.disableAll(ctx, side, epoch, names)
	switch {
	case err == nil:
		return nil
	case !locked(err):
		return fmt.Errorf("disable %s guards of %s: %w", side, g.capability, err)
	case wait == 0:
		return fmt.Errorf("disable %s guards of %s: %w", side, g.capability, capability.ErrBusy)
	}
	for _, name := range names {
		var done bool
		err := g.bounded(ctx, side, "lock_timeout", wait, func(conn *pgxpool.Conn) error {
			return conn.QueryRow(ctx, `SELECT strangler.disable_guard($1, $2, $3::text::regclass)`, g.capability, int64(epoch), name).Scan(&done)
		})
		switch {
		case locked(err):
			return fmt.Errorf("disable %s guards of %s on %s: %w", side, g.capability, name, capability.ErrBusy)
		case err != nil:
			return fmt.Errorf("disable %s guards of %s on %s: %w", side, g.capability, name, err)
		case !done:
			return fmt.Errorf("disable %s guards of %s: %w", side, g.capability, capability.ErrGate)
		}
	}
	return nil
}

// disableAll does for all tables what disable_guard does for one, in one statement: a
// client that stops in the middle of more would stop every writer. It waits for the lock
// of no table, so that nobody queues behind it, and holds none while it waits for
// another.
func (g *Gates) disableAll(ctx context.Context, side capability.Side, epoch uint64, names []string) error {
	var lock, disable []string
	for _, name := range names {
		lock = append(lock, "ONLY "+name)
		disable = append(disable, "ALTER TABLE ONLY "+name+" DISABLE TRIGGER strangler_guard, DISABLE TRIGGER strangler_guard_truncate;")
	}
	body := fmt.Sprintf(`BEGIN
		PERFORM pg_catalog.set_config('lock_timeout', '%d', true);
		LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE NOWAIT;
		PERFORM FROM strangler.gate WHERE capability = %s AND state = 'open' AND epoch = %d FOR SHARE;
		IF NOT FOUND THEN
			RAISE no_data_found;
		END IF;
		%s
	END`, guardTimeout.Milliseconds(), strings.Join(lock, ", "), quote.Literal(g.capability), epoch, strings.Join(disable, "\n\t\t"))
	err := g.bounded(ctx, side, "statement_timeout", turnTimeout, func(conn *pgxpool.Conn) error {
		_, err := conn.Exec(ctx, `DO `+quote.Literal(body))
		return err
	})
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "P0002" {
		return capability.ErrGate
	}
	return err
}

// guarded lists the quoted names of the tables that a side's gate guards, in the
// order in which everybody locks them.
func (g *Gates) guarded(ctx context.Context, side capability.Side) ([]string, error) {
	rows, err := g.databases[side].pool.Query(ctx, `SELECT r::text FROM strangler.guarded($1) r`, g.capability)
	if err != nil {
		return nil, fmt.Errorf("list guarded tables of %s: %w", g.capability, err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list guarded tables of %s: %w", g.capability, err)
	}
	return names, nil
}

// bounded runs one statement in a session with a time limit and gives the
// session back without it.
func (g *Gates) bounded(ctx context.Context, side capability.Side, setting string, limit time.Duration, call func(*pgxpool.Conn) error) error {
	conn, err := g.databases[side].pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, fmt.Sprintf("SET %s = %d", setting, limit.Milliseconds())); err != nil {
		return err
	}
	called := call(conn)
	if _, err := conn.Exec(context.WithoutCancel(ctx), "SET "+setting+" = 0"); err != nil {
		// A session with a limit of its own must not serve others.
		return errors.Join(called, conn.Conn().Close(context.WithoutCancel(ctx)))
	}
	return called
}

// locked says whether a statement gave up waiting for somebody's lock.
func locked(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "57014" || pg.Code == "55P03" || pg.Code == "40P01")
}

// undefined says whether a schema, table or function is not there.
func undefined(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000" || pg.Code == "42883")
}
