package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strangler/capability"
	"strangler/internal/postgres/quote"
	"strangler/internal/postgres/sqlstate"
)

// Fence keeps a controller that was paused, and wakes up when another one leads
// already, out of the databases. Each of them knows the highest token that has
// reached it. Whoever comes with a higher one raises it, and then ends the sessions
// that were opened under lower ones, which show them in their application_name: what
// those have not committed is gone, with their locks, slots and origins. A session
// under a lower token is refused when it connects. Both together leave no gap,
// because a session is seen before it can ask for the token.
//
// The idea is that of Chubby's sequencers (Burrows, OSDI 2006), with the sessions
// of PostgreSQL in place of a check at each request.
type Fence struct {
	// Domain names those who take the lead from one another.
	Domain string
	// Token grows with every leader. 0 is nobody's: nothing is checked.
	Token uint64
}

// FencedError says that the lead is another controller's.
type FencedError struct {
	Side  capability.Side
	Token uint64 // that came too late
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("the %s database takes nothing from this controller any more: another one leads since (this one's token was %d)", e.Side, e.Token)
}

// fenced is raised by strangler.raise_fence.
const fenced = "P0S03"

// endingTime bounds how long the sessions of a predecessor may take to be gone.
const endingTime = 10 * time.Second

// nameMost is how many bytes PostgreSQL keeps of an application_name.
const nameMost = 63

// mark is what stands behind the application_name of a fenced session.
func (f Fence) mark() string { return fmt.Sprintf(" #%s.%d", f.Domain, f.Token) }

// marked is an application_name that tells under which token its session was opened.
func (f Fence) marked(name string) string {
	if f.Token == 0 {
		return name
	}
	mark := f.mark()
	return strings.ToValidUTF8(name[:min(len(name), nameMost-len(mark))], "") + mark
}

// OpenFenced is Open for the controller that leads: it keeps its predecessors out,
// and is itself kept out, by a FencedError, as soon as a successor has come. It
// blocks for at most ten seconds more, until the predecessors' sessions have ended.
func OpenFenced(ctx context.Context, side capability.Side, dsn string, fence Fence) (*Database, error) {
	d, err := open(ctx, side, dsn, fence)
	if err != nil {
		return nil, err
	}
	if err := d.raise(ctx); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// raise writes the token where there is anything of the product, and ends whoever
// has a lower one.
func (d *Database) raise(ctx context.Context) error {
	_, err := d.pool.Exec(ctx, `SELECT strangler.raise_fence($1, $2)`, d.fence.Domain, int64(d.fence.Token)) //nolint:gosec // tokens count leaders
	if err != nil && !undefined(err) {
		return d.fencedOr(fmt.Errorf("fence %s database: %w", d.side, err))
	}
	if err := d.endPredecessors(ctx); err != nil {
		return fmt.Errorf("end the sessions of a controller that led before in %s database: %w", d.side, err)
	}
	return nil
}

func (d *Database) fencedOr(err error) error {
	if sqlstate.Of(err) == fenced {
		return &FencedError{Side: d.side, Token: d.fence.Token}
	}
	return err
}

// endPredecessors terminates the sessions under lower tokens, and returns when they
// are gone: one of them may be just committing.
func (d *Database) endPredecessors(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, endingTime, errors.New("they do not end"))
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		var left []string
		rows, err := d.pool.Query(ctx, `
			SELECT format('pid %s (%s)', pid, application_name), pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND usename = current_user AND substring(application_name FROM $1)::numeric < $2`,
			` #`+d.fence.Domain+`\.([0-9]+)$`, int64(d.fence.Token)) //nolint:gosec // as above
		if err == nil {
			left, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (who string, err error) { return who, row.Scan(&who, nil) })
		}
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", context.Cause(ctx), strings.Join(left, ", "))
		case <-again.C:
		}
	}
}

// admitted lets a new connection be used only while no successor has come. It goes
// for connections of the replication protocol too, and so without parameters.
func (f Fence) admitted(side capability.Side) func(context.Context, *pgconn.PgConn) error {
	check := fmt.Sprintf(`SELECT 1 FROM strangler.fence WHERE domain = %s AND token > %d`, quote.Literal(f.Domain), f.Token)
	return func(ctx context.Context, conn *pgconn.PgConn) error {
		results, err := conn.Exec(ctx, check).ReadAll()
		switch {
		case undefined(err):
			return nil // nothing of the product is here that could be spoiled
		case err != nil:
			return fmt.Errorf("read fence: %w", err)
		case len(results[0].Rows) > 0:
			return &FencedError{Side: side, Token: f.Token}
		}
		return nil
	}
}

// raising is the statement that goes with an installation.
func (f Fence) raising() string {
	if f.Token == 0 {
		return ""
	}
	return fmt.Sprintf(";\nSELECT strangler.raise_fence(%s, %d)", quote.Literal(f.Domain), f.Token)
}
