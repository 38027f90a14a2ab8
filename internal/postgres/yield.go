package postgres

import (
	"context"
	"sync"
	"time"

	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// lockEvery is how often it is asked whether somebody waits for a lock behind a
// chunk, and how long somebody may have waited.
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
// a lock on the table that it has, or on the other one of its selection, if there is
// one: whoever comes after that one waits as well, and so the whole application.
// It is not merely cancelled, because a session that waits for its reader to take
// more hears of no cancellation.
func (d *Database) watchLock(ctx context.Context, session, table uint32, with *migrate.Selection) *lockWatch {
	other := "" // no table
	if with != nil {
		other = quote.Relation(with.Relation)
	}
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
			// Not ended with the looking: the answer that somebody was given way to may still
			// be under way when the session that was ended for it says so.
			ask, done := context.WithTimeout(context.WithoutCancel(ctx), lockAnswer)
			// An error is asked again in a second; a source that is gone shows in the reading.
			_ = d.pool.QueryRow(ask, `
				SELECT format('pid %s (%s), which waits to change the table', l.pid, coalesce(nullif(a.application_name, ''), a.usename))
				FROM pg_locks l JOIN pg_stat_activity a USING (pid)
				WHERE l.locktype = 'relation' AND l.relation IN ($2::oid, to_regclass(nullif($4, ''))::oid) AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
				  AND NOT l.granted AND l.waitstart < clock_timestamp() - make_interval(secs => $3) AND $1 = ANY(pg_blocking_pids(l.pid)) AND pg_terminate_backend($1)
				LIMIT 1`, int32(session), table, lockEvery.Seconds(), other).Scan(&w.to) //nolint:gosec // a process id
			done()
		}
	})
	return w
}

// end stops looking, and returns to whom the session was made to give way.
func (w *lockWatch) end() string {
	w.stop()
	w.done.Wait()
	return w.to
}
