package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"strangler/capability"
)

// Retention is what a source keeps so that a stream can go on.
type Retention struct {
	Bytes int64 // of log, or of events
	// Headroom is how much more the server keeps before it gives the stream up by
	// itself; -1: it never does.
	Headroom int64
}

// retainEvery is how often a source is asked what it keeps.
const retainEvery = 5 * time.Second

// retention watches what both sides keep for their streams.
type retention struct {
	mu  sync.Mutex
	now map[capability.Side]Retention // of the sides that are known; guarded by mu
}

func (r *retention) of(side capability.Side) (Retention, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, known := r.now[side]
	return now, known
}

// forget drops what is known of a stream that is gone.
func (r *retention) forget(side capability.Side) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.now, side)
}

// overgrownError ends a Run whose stream must be given up.
type overgrownError struct {
	side    capability.Side
	bytes   int64
	allowed int64
}

func (e *overgrownError) Error() string {
	return fmt.Sprintf("the %s database kept %s for the stream from it, more than mover.retain (%s)", e.side, size(e.bytes), size(e.allowed))
}

// watchRetention looks until ctx ends, and returns which stream has to be given up.
func (m *Mover) watchRetention(ctx context.Context) error {
	tick := time.NewTicker(cmp.Or(m.RetainEvery, retainEvery))
	defer tick.Stop()
	warned := map[capability.Side]bool{}
	for {
		for _, side := range capability.Sides {
			now, err := m.captures[side].Retained(ctx)
			if err != nil {
				continue // the stream, which asks the same database, says so itself
			}
			m.retention.mu.Lock()
			m.retention.now[side] = now
			m.retention.mu.Unlock()
			if m.Restraint.Retain <= 0 {
				continue
			}
			if now.Bytes > m.Restraint.Retain {
				return &overgrownError{side: side, bytes: now.Bytes, allowed: m.Restraint.Retain}
			}
			if high := now.Bytes > m.Restraint.Retain/2; high != warned[side] {
				warned[side] = high
				if high {
					m.log.Warn("a source keeps much for a stream", "from", side, "bytes", now.Bytes, "given_up_at", m.Restraint.Retain)
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// retained runs the move, and gives a stream up that its source keeps too much
// for: a monolith whose disk is full is worse than a repair.
func (m *Mover) retained(ctx context.Context, run func(context.Context) error) error {
	running, cancel := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		if err := m.watchRetention(running); err != nil {
			cancel(err)
		}
	})
	err := run(running)
	cancel(nil)
	watcher.Wait()
	over, ok := context.Cause(running).(*overgrownError) //nolint:errorlint // it is ours, as it is
	if !ok || ctx.Err() != nil {
		return err
	}
	if err := m.captures[over.side].DropStream(ctx); err != nil {
		return fmt.Errorf("%w; giving it up failed: %w", over, err)
	}
	m.retention.forget(over.side)
	mend := "when the target is well, and there is room: strangler data repair " + m.Document.Name
	move, found, err := m.Extracted.Move(ctx, m.Document.Name)
	if err == nil && found && copies(move.Phase) {
		// Nothing could follow what is copied, and a copy that begins by itself again
		// would fill the disk again.
		move.Phase = capability.PhaseFailed
		mend = givenUpMend(m.Document.Name)
		err = m.Extracted.SaveMove(ctx, m.Document.Name, move)
	}
	return errors.Join(&HaltError{Reason: over.Error() + "; it was given up", Mend: mend}, err)
}

// Rest looks after what is kept for a mover that is paused, until ctx ends. It
// returns a HaltError when it had to give a stream up. Not while Run runs.
func (m *Mover) Rest(ctx context.Context) error {
	if !m.running.TryLock() {
		return errors.New("the mover runs, and watches by itself")
	}
	defer m.running.Unlock()
	for {
		err := m.rest(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil || final(err) {
			return err
		}
		m.log.Debug("a paused mover cannot look after what is kept for it", "error", err)
		if err := wait(ctx, nil, time.Now().Add(retainEvery)); err != nil {
			return nil
		}
	}
}

// rest is Rest for as long as nothing goes wrong. Where nothing is kept it returns.
func (m *Mover) rest(ctx context.Context) error {
	move, found, err := m.Extracted.Move(ctx, m.Document.Name)
	if err != nil || !found || move.Phase == capability.PhaseFailed || move.Phase == capability.PhaseRetiring {
		return err
	}
	if err := m.choose(ctx, &move); err != nil {
		return err
	}
	return m.retained(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil })
}

// copies says whether a move in this phase has rows that are of use only with its
// stream. The record of any other is what a repair, or a retirement, goes by.
func copies(phase capability.MovePhase) bool {
	return phase == capability.PhasePreparing || phase == capability.PhaseBackfill || phase == capability.PhaseCompleting
}

// givenUpMend is for a copy whose stream was given up.
func givenUpMend(name string) string {
	return fmt.Sprintf("strangler data reset %s, and begin again with a larger mover.retain, or when fewer rows change", name)
}
