package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
)

const (
	lookEvery = 100 * time.Millisecond // while there is something new each time
	lookMost  = 400 * time.Millisecond // when nothing has been new for a while
	// askTime is how long the source may take for all that is asked between two
	// batches: after that it is gone, whatever the network still believes.
	askTime = 20 * time.Second
)

// feedSettings are those of the session that reads events. There are no statistics
// on tables that are emptied all the time: what is wanted is always found by index.
var feedSettings = map[string]string{"application_name": "strangler outbox", "enable_seqscan": "off", "work_mem": "64MB"}

// feed reads an outbox, batch by batch. One goroutine receives; any may confirm.
type feed struct {
	box  *Outbox
	conn *pgx.Conn

	nudged    chan struct{} // of one: somebody wants to know
	confirmed atomic.Uint64 // position that is durable on the target

	at      tick      // everything before it was given out
	quiet   time.Time // by the source's clock, when there was nothing behind it
	pause   time.Duration
	tended  time.Time
	shapes  map[uint32]migrate.Shape // of tables and partitions, as last given out
	numbers map[uint32][]int16       // of their columns
	roots   map[uint32]uint32
	ready   []migrate.Received // to be given out
	batch   *batch             // being read; nil between two
}

// Follow opens the outbox behind a position. Where changes since may be missing,
// that is a migrate.HaltError.
func (o *Outbox) Follow(ctx context.Context, from capability.Position) (migrate.Feed, error) {
	conn, err := o.host.Connect(ctx, feedSettings)
	if err != nil {
		return nil, err
	}
	f := &feed{box: o, conn: conn, nudged: make(chan struct{}, 1), pause: lookEvery, shapes: map[uint32]migrate.Shape{}}
	f.confirmed.Store(uint64(from))
	if err := f.open(ctx, from); err != nil {
		return nil, errors.Join(fmt.Errorf("follow the outbox of %s in %s database: %w", o.name, o.host.Side, err), end(conn))
	}
	return f, nil
}

// open finds the tick that the target stands at.
func (f *feed) open(ctx context.Context, from capability.Position) error {
	exists, err := f.box.StreamExists(ctx)
	if err != nil {
		return err
	}
	if !exists {
		return f.halt("is gone")
	}
	err = f.conn.QueryRow(ctx, `SELECT `+tickColumns+` FROM strangler.tick WHERE capability = $1 AND position <= $2::text::pg_lsn ORDER BY position DESC LIMIT 1`,
		f.box.name, from.String()).Scan(f.at.fields()...)
	if errors.Is(err, pgx.ErrNoRows) {
		return f.halt(fmt.Sprintf("begins behind what the other side has applied (%s): it was made anew", from))
	}
	if err != nil {
		return err
	}
	f.quiet = f.at.made
	return f.tend(ctx)
}

func (f *feed) halt(why string) error {
	return &migrate.HaltError{
		Reason: fmt.Sprintf("the outbox of %s in the %s database %s", f.box.name, f.box.host.Side, why),
		Mend:   "changes may be missing; find and mend them with: strangler data repair " + f.box.name,
	}
}

// Timeout is none: nobody at the other end waits for a Confirm.
func (f *feed) Timeout() time.Duration { return 0 }

// Confirm notes what need not be kept, and wakes the receiver where an answer is
// wanted. It blocks on nothing.
func (f *feed) Confirm(durable capability.Position, reply bool) error {
	f.confirmed.Store(uint64(durable))
	if reply {
		select {
		case f.nudged <- struct{}{}:
		default: // the receiver has yet to see the last one
		}
	}
	return nil
}

// Close ends the session.
func (f *feed) Close() error { return end(f.conn) }

// Receive blocks until the next event.
func (f *feed) Receive(ctx context.Context) (migrate.Received, error) {
	for len(f.ready) == 0 {
		if err := f.more(ctx); err != nil {
			return migrate.Received{}, fmt.Errorf("receive from %s database: %w", f.box.host.Side, err)
		}
	}
	r := f.ready[0]
	f.ready = f.ready[1:]
	return r, nil
}

// more makes something ready, or waits for a while.
func (f *feed) more(ctx context.Context) error {
	f.ready = f.ready[:0]
	if f.batch != nil {
		return f.readOn()
	}
	nudged, err := f.wait(ctx)
	if err != nil {
		return err
	}
	next, now, found, err := f.ask(ctx)
	if err != nil {
		return err
	}
	if !found {
		f.quiet, f.pause = now, min(2*f.pause, lookMost)
		if nudged {
			f.give(migrate.Keepalive{End: f.at.position}, now, 0)
		}
		return nil
	}
	return f.begin(ctx, next, now)
}

// ask does what is due between two batches, and finds the next one.
func (f *feed) ask(ctx context.Context) (next tick, now time.Time, found bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("it has been silent for %s", askTime))
	defer cancel()
	if time.Since(f.tended) > tendEvery {
		if err = f.tend(ctx); err != nil {
			return next, now, false, err
		}
	}
	if next, now, found, err = f.next(ctx); err != nil || !found {
		return next, now, false, err
	}
	return next, now, true, f.describe(ctx, now)
}

// wait blocks until it is time to look again, or somebody wants to know.
func (f *feed) wait(ctx context.Context) (nudged bool, err error) {
	timer := time.NewTimer(f.pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-f.nudged:
		return true, nil
	case <-timer.C:
		return false, nil
	}
}

// next finds the tick behind the present one, or makes it where events wait for
// one. Now is the source's clock. An idle outbox is asked one question.
func (f *feed) next(ctx context.Context) (next tick, now time.Time, found bool, err error) {
	var last tick
	var news, same bool
	err = f.conn.QueryRow(ctx, `SELECT *, clock_timestamp(), EXISTS (SELECT FROM strangler.tick WHERE capability = $1 AND position = $2::text::pg_lsn) FROM (`+newsSQL(f.box.name)+`) l`,
		f.box.name, f.at.position.String()).Scan(append(last.fields(), &news, &now, &same)...)
	if errors.Is(err, pgx.ErrNoRows) {
		err = f.halt("is gone")
	}
	if err == nil && !same { // the tick that we stand at is kept until a later one is applied
		err = f.halt("is not the one that was read so far")
	}
	if err != nil || last.position <= f.at.position && !news {
		return next, now, false, err
	}
	if last.position <= f.at.position {
		if _, err := f.conn.Exec(ctx, `SELECT FROM strangler.make_tick($1)`, f.box.name); err != nil {
			return next, now, false, err
		}
	}
	// Others make ticks too, and stop the stream at them: none is left out.
	err = f.conn.QueryRow(ctx, `SELECT `+tickColumns+` FROM strangler.tick WHERE capability = $1 AND position > $2::text::pg_lsn ORDER BY position LIMIT 1`,
		f.box.name, f.at.position.String()).Scan(next.fields()...)
	f.pause = lookEvery
	if next.position < last.position {
		f.pause = 0
	}
	return next, now, true, err
}

func (f *feed) give(event migrate.Event, sent time.Time, bytes int) {
	f.ready = append(f.ready, migrate.Received{Event: event, Sent: sent, Bytes: bytes})
}
