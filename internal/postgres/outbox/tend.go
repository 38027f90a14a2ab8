package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
)

const (
	tendEvery = time.Second
	turnBytes = 16 << 20 // of one table of events, before another one takes its place
	turnAge   = "1 minute"
)

// tend forgets events that are applied, and looks whether everything is still
// captured.
func (f *feed) tend(ctx context.Context) error {
	f.tended = time.Now()
	if err := f.checkTriggers(ctx); err != nil {
		return err
	}
	applied := capability.Position(f.confirmed.Load())
	_, err := f.conn.Exec(ctx, `SELECT strangler.tend_outbox($1, $2::text::pg_lsn, $3, $4::text::interval)`, f.box.name, applied.String(), int64(turnBytes), turnAge)
	if err != nil {
		return fmt.Errorf("forget applied events: %w", err)
	}
	return nil
}

// checkTriggers halts the stream where rows are not captured any more. Partitions
// that were attached have the trigger for their rows by then, and get the one for
// truncations here.
func (f *feed) checkTriggers(ctx context.Context) error {
	bare, lacking, err := f.uncaptured(ctx)
	if err == nil && bare != "" {
		// A statement finds a partition that is attached just then before it can see
		// the triggers that it has got: the next statement sees both.
		bare, lacking, err = f.uncaptured(ctx)
	}
	if err != nil {
		return fmt.Errorf("look at triggers: %w", err)
	}
	if bare != "" {
		return f.halt("does not get the changes of table " + bare + " any more: its trigger strangler_capture_" + f.box.name + " was dropped, disabled or changed")
	}
	for _, root := range lacking {
		if err := f.box.briefly(ctx, `SELECT strangler.add_capture($1, $2::text::regclass)`, f.box.name, root); err != nil && !busy(err) {
			return fmt.Errorf("capture truncations of %s: %w", root, err)
		}
	}
	return nil
}

// uncaptured returns a table whose rows are not captured, if there is one, and the
// roots of those whose truncations are not.
func (f *feed) uncaptured(ctx context.Context) (bare string, lacking []string, err error) {
	rows, err := f.conn.Query(ctx, `SELECT root::regclass::text, relation::regclass::text, rows, truncations FROM strangler.captured($1) WHERE NOT (rows AND truncations)`, f.box.name)
	if err != nil {
		return "", nil, err
	}
	var root, relation string
	var captured, truncations bool
	_, err = pgx.ForEachRow(rows, []any{&root, &relation, &captured, &truncations}, func() error {
		if !captured {
			bare = relation
		} else {
			lacking = append(lacking, root)
		}
		return nil
	})
	return bare, lacking, err
}
