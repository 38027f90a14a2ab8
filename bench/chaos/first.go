package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// writerTime is how long the transaction of first takes, and lapse how long after the gate was closed it begins.
const (
	writerTime = time.Minute
	lapse      = 2500 * time.Millisecond
)

// first is the cell in which nobody is left who could finish or undo a switch whose gate is closed: one controller is
// dead, the other one stands still. When the lease is over the gate is opened by the first writer, which here is a
// transaction that then takes a minute. The controllers come back meanwhile.
func (w *world) first(ctx context.Context, c cell) (r result) {
	r = result{cell: c, Errors: map[string]int{}}
	began := time.Now()
	defer func() { r.Took = time.Since(began) }()
	lost := func(format string, args ...any) result {
		r.problem(format, args...)
		r.lost = true
		return r
	}
	if err := w.from(ctx, c); err != nil {
		return lost("before it began: %v", err)
	}
	reached, letGo := w.points.arm(c.Moment)
	defer letGo()
	said := make(chan error, 1)
	go func() { said <- w.types(ctx, verbTo(c.To), "orders") }()
	select {
	case <-reached:
	case err := <-said:
		return lost("the switch ended before it came there: %v", err)
	}
	disturbed := time.Now()
	leads, other, err := w.orphan(ctx)
	if err != nil {
		return lost("leave nobody who leads: %v", err)
	}
	letGo()
	if err := <-said; err != nil {
		r.Said = err.Error()
	}
	if err := waitFor(ctx, lapse); err != nil {
		return lost("%v", err)
	}
	o := operation{client: clients + 2, order: 3, value: w.load.next(), start: time.Now()}
	o.id = fmt.Sprintf("w%d", o.value)
	commit, err := w.begins(ctx, &o)
	if err != nil {
		return lost("the first writer: %v", err)
	}
	err = errors.Join(signalAll(other.PID(), syscall.SIGCONT), leads.start(ctx))
	if err == nil {
		err = waitFor(ctx, writerTime)
	}
	committed := commit()
	if err != nil {
		return lost("let controllers come back: %v", err)
	}
	if committed != nil {
		o.kind, o.said = "503", committed.Error() // whoever became active meanwhile has ended it: it has not happened
	} else {
		o.ok = true
	}
	o.end = time.Now()
	w.load.note(o)
	owner, _, err := w.settled(ctx)
	if err != nil {
		return lost("after the transaction nothing was well: %v", err)
	}
	r.Outcome = "finished"
	if owner != c.To {
		r.Outcome = "repeated"
		if _, err := w.repeat(ctx, c.To); err != nil {
			r.problem("once more: %v", err)
		}
	}
	w.judge(ctx, &r, disturbed)
	return r
}

// orphan kills the controller that leads and stops the other one.
func (w *world) orphan(ctx context.Context) (leads, other *program, err error) {
	if leads, _, err = w.leader(ctx); err != nil {
		return nil, nil, err
	}
	if other = w.controllers[0]; other == leads {
		other = w.controllers[1]
	}
	return leads, other, errors.Join(signalAll(other.PID(), syscall.SIGSTOP), leads.Kill())
}

// begins writes past the proxies, in a transaction that commit ends.
func (w *world) begins(ctx context.Context, o *operation) (commit func() error, err error) {
	conn, err := pgx.Connect(ctx, w.databases[legacy].URL(names[legacy]))
	if err != nil {
		return nil, err
	}
	tx, err := conn.Begin(ctx)
	if err == nil {
		err = tx.QueryRow(ctx, `SELECT value FROM orders WHERE id = $1 FOR UPDATE`, o.order).Scan(&o.answer.Value)
	}
	for _, write := range []string{fmt.Sprintf(`UPDATE orders SET value = %d WHERE id = %d`, o.value, o.order), fmt.Sprintf(`UPDATE counters SET n = n + 1 WHERE id = %d`, o.order),
		fmt.Sprintf(`INSERT INTO writes (id, order_id, previous, value) VALUES ('%s', %d, %d, %d)`, o.id, o.order, o.answer.Value, o.value)} {
		if err == nil {
			_, err = tx.Exec(ctx, write)
		}
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return func() error { return errors.Join(tx.Commit(ctx), conn.Close(ctx)) }, nil
}
