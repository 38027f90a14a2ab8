package orders

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"extracted/internal/database"
	"extracted/internal/httpx"
)

// atOnce is how many tasks the worker finishes side by side; one ailing neighbour then delays eight, not all.
const atOnce = 8

// worker finishes what live requests have left behind.
type worker struct {
	saga     *saga
	log      *slog.Logger
	every    time.Duration
	patience time.Duration // per task
	refused  bool          // the database's last answer was the gate's; only Run's goroutine touches it
}

// Run works until ctx ends, then waits for what is in its hands; a task cut short stays open.
func (w *worker) Run(ctx context.Context) error {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	forget := time.NewTicker(time.Minute)
	defer forget.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			_, err := w.runOnce(ctx)
			w.report(ctx, err)
		case <-forget.C:
			if err := forgetTasks(ctx, w.saga.pool); err != nil && ctx.Err() == nil {
				w.log.Warn("outbox not tidied", "error", err)
			}
		}
	}
}

// runOnce claims what is due and works on it, until nothing is due any more. It returns how many tasks it
// claimed. The error is that of the claim; a task that fails is logged and comes up again when its lease ends.
func (w *worker) runOnce(ctx context.Context) (claimed int, err error) {
	var running sync.WaitGroup
	defer running.Wait()
	free := make(chan struct{}, atOnce)
	for {
		select {
		case free <- struct{}{}: // claim only what can be started now, or the lease would run while the task waits
		case <-ctx.Done():
			return claimed, nil
		}
		var t *task
		err := database.InTx(ctx, w.saga.pool, func(tx pgx.Tx) (err error) {
			t, err = claimTask(ctx, tx, w.saga.lease)
			return err
		})
		if err != nil || t == nil {
			return claimed, err
		}
		claimed++
		running.Go(func() {
			defer func() { <-free }()
			w.work(ctx, *t)
		})
	}
}

// work finishes one task under the trail of the request that began it.
func (w *worker) work(ctx context.Context, t task) {
	ctx, cancel := context.WithTimeout(httpx.WithTrail(ctx, t.Trail), w.patience)
	defer cancel()
	order, err := w.saga.finish(ctx, t)
	var no *refusedError
	switch {
	case err == nil:
		w.log.Info("task finished late", "order", t.OrderID, "kind", t.Kind, "status", order.Status, "trail", t.Trail)
	case errors.As(err, &no):
		w.log.Info("task finished late", "order", t.OrderID, "kind", t.Kind, "status", refused, "why", no.why, "trail", t.Trail)
	case ctx.Err() == nil || !errors.Is(err, context.Canceled):
		w.log.Warn("task not finished yet", "order", t.OrderID, "kind", t.Kind, "error", err, "trail", t.Trail)
	}
}

// report logs the gate's refusals once per change: a sealed database may stay so for days.
func (w *worker) report(ctx context.Context, err error) {
	refusedNow := database.IsGateRefused(err)
	switch {
	case refusedNow && !w.refused:
		w.log.Warn("worker waits: the database takes no writes", "from", "working", "to", "waiting", "error", err)
	case !refusedNow && w.refused && err == nil:
		w.log.Info("worker goes on", "from", "waiting", "to", "working")
	case err != nil && !refusedNow && ctx.Err() == nil:
		w.log.Warn("outbox not read", "error", err)
	}
	if refusedNow || err == nil {
		w.refused = refusedNow
	}
}
