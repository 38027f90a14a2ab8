package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// changesEach is what one transaction of pgbench changes: an account, a teller, a branch, and one row of history.
const changesEach = 4

// unique are the names of further unique indexes, one on each of pgbench's tables: with them changes cannot be put together by
// table, because rows would be there at the same time that never were.
var unique = map[string]string{"pgbench_accounts": "bid, aid", "pgbench_branches": "bid", "pgbench_tellers": "bid, tid", "pgbench_history": "tid, id"}

// catchup is how fast changes are applied that were made while nobody followed. Everybody gets as many, of the same seed.
func (w *world) catchup(ordered bool) section {
	s := section{
		key: "catchup", title: fmt.Sprintf("Catching up with %d transactions of pgbench", w.transactions),
		unit: "changes", bytes: "WAL", wait: "until the first change",
		before: w.fillAccounts,
		contenders: []contender{
			{"native subscription", w.nativeCatchup},
			{"strangler", w.stranglerCatchup},
		},
	}
	if ordered {
		s.key, s.title = "ordered", s.title+", each table with a second unique index"
		s.before = func(ctx context.Context) error { return errors.Join(w.fillAccounts(ctx), w.index(ctx)) }
		s.after = w.unindex
	}
	return s
}

func (w *world) index(ctx context.Context) error {
	for _, name := range accounts {
		statement := fmt.Sprintf(`create unique index %s_ordered on %s (%s)`, name, name, unique[name])
		if err := errors.Join(execute(ctx, w.source, statement), execute(ctx, w.target, statement)); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) unindex(ctx context.Context) error {
	for _, name := range accounts {
		statement := fmt.Sprintf(`drop index %s_ordered`, name)
		if err := errors.Join(execute(ctx, w.source, statement), execute(ctx, w.target, statement)); err != nil {
			return err
		}
	}
	return nil
}

// followed are pgbench's tables and the marker.
func followed() []string { return append([]string{marker}, accounts...) }

func (w *world) nativeCatchup(ctx context.Context) (sample, error) {
	if err := w.tidy(ctx); err != nil {
		return sample{}, err
	}
	if err := w.publish(ctx, followed()); err != nil {
		return sample{}, err
	}
	if err := errors.Join(w.subscribe(ctx), w.silence(ctx)); err != nil {
		return sample{}, err
	}
	s, err := w.catchUp(ctx, nil, func(ctx context.Context) error {
		return administer(ctx, w.target, `alter subscription native enable`)
	})
	if err != nil {
		return s, err
	}
	return s, w.unsubscribe(ctx)
}

func (w *world) stranglerCatchup(ctx context.Context) (sample, error) {
	running, err := w.follow(ctx, followed(), "")
	if err != nil {
		return sample{}, err
	}
	if err := running.data(ctx, "pause"); err != nil {
		return sample{}, err
	}
	s, err := w.catchUp(ctx, running, func(ctx context.Context) error { return running.data(ctx, "resume") })
	if err != nil {
		return s, err
	}
	return s, w.leave(ctx, running)
}

// follow starts a strangler and has it follow the tables.
func (w *world) follow(ctx context.Context, tables []string, data string) (*strangler, error) {
	if err := w.tidy(ctx); err != nil {
		return nil, err
	}
	running, err := w.start(ctx, tables, data)
	if err != nil {
		return nil, err
	}
	return running, running.data(ctx, "start")
}

// catchUp makes changes, has somebody apply them, and measures from that word until the last one has arrived.
func (w *world) catchUp(ctx context.Context, s *strangler, resume func(context.Context) error) (sample, error) {
	from, err := w.position(ctx)
	if err != nil {
		return sample{}, err
	}
	first, err := w.marked(ctx)
	if err != nil {
		return sample{}, err
	}
	each := w.transactions / clients
	if _, err := w.pgbench(ctx, "-t", strconv.Itoa(each)); err != nil {
		return sample{}, err
	}
	last, err := w.marked(ctx)
	if err != nil {
		return sample{}, err
	}
	to, err := w.position(ctx)
	if err != nil {
		return sample{}, err
	}
	var resumed error
	var wait time.Duration
	done := make(chan struct{})
	found, err := w.measure(ctx, s, func(ctx context.Context) error {
		began := time.Now()
		go func() { // the command may return later than the changes arrive
			defer close(done)
			resumed = resume(ctx)
		}()
		err := w.arrived(ctx, first)
		wait = time.Since(began)
		return errors.Join(err, w.arrived(ctx, last))
	})
	if err != nil {
		return found, err
	}
	<-done
	found.Units, found.Bytes, found.Wait = int64(each*clients*changesEach), to-from, wait.Seconds()
	return found, errors.Join(resumed, w.sameAccounts(ctx))
}

// sameAccounts fails where the balances differ.
func (w *world) sameAccounts(ctx context.Context) error {
	for _, query := range []string{
		`select count(*) || ', ' || sum(abalance) from pgbench_accounts`, `select count(*) || ', ' || sum(tbalance) from pgbench_tellers`,
		`select count(*) || ', ' || sum(bbalance) from pgbench_branches`, `select count(*) || ', ' || coalesce(sum(delta), 0) from pgbench_history`,
	} {
		if err := w.same(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

// position is the end of the source's log, in bytes.
func (w *world) position(ctx context.Context) (int64, error) {
	return ask[int64](ctx, w.source, `select (pg_current_wal_insert_lsn() - '0/0')::bigint`)
}

// pgbench runs the TPC-B-like load at the source, with the same seed every time, and returns what pgbench printed.
func (w *world) pgbench(ctx context.Context, args ...string) (string, error) {
	args = append([]string{"-n", "-c", strconv.Itoa(clients), "-j", "2", "--random-seed=1"}, args...)
	out, err := w.client(ctx, "pgbench", append(args, app(w.source))...)
	if err == nil && strings.Contains(out, "aborted") {
		err = fmt.Errorf("pgbench: %s", out)
	}
	return out, err
}
