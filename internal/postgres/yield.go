package postgres

import (
	"context"
	"sync"
	"time"
)

// lockEvery is how often it is asked whether somebody waits for a lock behind a
// reader, and how long somebody may have waited.
const lockEvery = time.Second

// lockAnswer is how long that question may take.
const lockAnswer = 10 * time.Second

// lockWatch looks after one session that reads.
type lockWatch struct {
	stop context.CancelFunc
	done sync.WaitGroup
	to   string // who was given way to; read when done
}

// watchLock ends the session when somebody has waited for more than a second for
// a lock on a relation that it has: whoever comes after that one waits as well, and so
// the whole application. It is not merely cancelled, because a session that waits for
// its reader to take more hears of no cancellation. Where ask is not nil it is called
// first, for who can end the reading better, and has until the next look for that.
func (d *Database) watchLock(ctx context.Context, session uint32, ask func(to string)) *lockWatch {
	ctx, stop := context.WithCancel(ctx)
	w := &lockWatch{stop: stop}
	w.done.Go(func() {
		tick := time.NewTicker(lockEvery)
		defer tick.Stop()
		for w.to == "" {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			to := d.waiting(ctx, session, ask == nil)
			if to != "" && ask != nil {
				ask(to)
				ask = nil
				continue
			}
			w.to = to
		}
	})
	return w
}

// waiting names somebody who waits for a session's lock, and ends that session where it
// is to.
func (d *Database) waiting(ctx context.Context, session uint32, end bool) (to string) {
	// Not ended with the looking: the answer that somebody was given way to may still
	// be under way when the session that was ended for it says so.
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), lockAnswer)
	defer done()
	// An error is asked again in a second; a source that is gone shows in the reading.
	_ = d.pool.QueryRow(ctx, `
		SELECT format('pid %s (%s), which waits to change the table', l.pid, coalesce(nullif(a.application_name, ''), a.usename))
		FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		  AND NOT l.granted AND l.waitstart < clock_timestamp() - make_interval(secs => $2) AND $1 = ANY(pg_blocking_pids(l.pid)) AND (NOT $3 OR pg_terminate_backend($1))
		LIMIT 1`, int32(session), lockEvery.Seconds(), end).Scan(&to) //nolint:gosec // a process id
	return to
}

// end stops looking, and returns to whom the session was made to give way.
func (w *lockWatch) end() string {
	w.stop()
	w.done.Wait()
	return w.to
}
