package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"strangler/capability"
)

// Status returns all that is known of the capability. It asks the proxies, and
// blocks for as long as the slowest of them, half a second at most.
func (r *Reconciler) Status(ctx context.Context, problems []capability.Problem) capability.Status {
	r.mu.Lock()
	doc, state, work, gates, failed, gone := r.doc, r.state, r.data, r.gates, r.failed, r.gone
	r.mu.Unlock()
	s := capability.Status{Capability: r.name, Effective: state,
		Desired: capability.Desired{Owner: doc.Traffic.Owner, Weight: doc.Traffic.Weight, Mirror: doc.Traffic.Mirror},
		Data:    capability.DataStatus{Phase: capability.PhaseNone, Error: failed}}
	unverified := 0
	if doc.Data != nil {
		s.Desired.Data = doc.Data.State
	}
	if work != nil {
		s.Data = work.status()
		unverified = work.data.Handover.UnverifiedKeys(state.Owner)
		if s.Data.Error == "" {
			s.Data.Error = failed
		}
	}
	if !state.Retired.IsZero() {
		s.Data = capability.DataStatus{Phase: capability.PhaseRetired}
	}
	if gates != nil {
		s.Data.Gates = map[capability.Side]capability.Gate{capability.Legacy: gates[0], capability.Extracted: gates[1]}
	}
	if work != nil {
		s.Data.Refused = work.refused(ctx)
	}
	s.Switch = Ready(Observation{Document: doc, Effective: state, Data: s.Data, Gates: gates}, unverified, time.Now())
	if proxies, err := r.askProxies(ctx, 0, false, 0); err == nil {
		s.Proxies, s.Missing = proxies.serving, proxies.missing
	}
	if gone {
		s.Problems = append(s.Problems, capability.Problem{File: doc.File, Message: "is gone: nobody claims the routes of " + r.name + " any more, and the monolith answers them",
			Mend: "put it back, if that was not meant"})
	}
	for _, p := range problems {
		if p.File == "" || p.File == doc.File {
			s.Problems = append(s.Problems, p)
		}
	}
	return s
}

// await waits until the effective state is as wanted and every live proxy serves
// it. The refusal of an older document is not taken for one of the new: the
// state must have been looked at since.
func (r *Reconciler) await(ctx context.Context, wanted func(capability.Effective) (bool, error)) error {
	// A full look of the loop since the edit: acting is free again after it.
	if err := r.lookNow(ctx); err != nil {
		return err
	}
	for {
		state := r.effective()
		ok, err := wanted(state)
		if err != nil {
			return err
		}
		if ok {
			proxies, err := r.askProxies(ctx, state.Revision, false, 2*time.Second)
			if err != nil {
				return err
			}
			for _, s := range proxies.serving {
				if s.Revision < state.Revision {
					return fmt.Errorf("it is stored, but the proxy %s still serves revision %d of %d", s.Proxy, s.Revision, state.Revision)
				}
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("it is in the document but not in effect yet: %w", context.Cause(ctx))
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// lookNow does one look in the caller's goroutine.
func (r *Reconciler) lookNow(ctx context.Context) error {
	r.acting.Lock()
	defer r.acting.Unlock()
	return r.reconcile(ctx)
}

// SetData writes the wanted state of the data into the document. It returns at
// once; WaitData waits.
func (r *Reconciler) SetData(ctx context.Context, state capability.DataState, actor string) error {
	r.acting.Lock()
	defer r.acting.Unlock()
	defer r.look()
	doc, effective, _ := r.snapshot()
	if err := r.over(effective); err != nil {
		return err
	}
	if doc.Data == nil {
		return r.nothingToMove()
	}
	was := doc.Data.State
	if state == capability.DataPaused && was == capability.DataStopped {
		return fmt.Errorf("the move of %s has not begun; there is nothing to pause", r.name)
	}
	if err := r.edit(ctx, capability.Edit{State: &state}, &doc); err != nil {
		return err
	}
	return r.record(ctx, capability.Entry{Actor: actor, Action: "data", From: string(was), To: string(state), Outcome: "done"})
}

// nothingToMove is the refusal of what is about data.
func (r *Reconciler) nothingToMove() error {
	return fmt.Errorf("%s has no data section in its document: only its traffic moves; add one to move its tables", r.name)
}

// behind says what is missing before both sides can be called equal but for the
// last moment: after a backfill, everything that was written meanwhile.
func behind(s capability.DataStatus) string {
	for _, stream := range s.Streams {
		if !stream.Live {
			return fmt.Sprintf("the stream from %s is not live yet %s", stream.From, stream.Error)
		}
		if stream.Lag > lagToSwitch {
			return fmt.Sprintf("the stream from %s lags by %s, %d changes applied", stream.From, stream.Lag.Round(100*time.Millisecond), stream.Changes)
		}
	}
	return ""
}

// WaitData reports the progress of the data until it is in the wanted phase, or
// has failed for good. Following means caught up, too.
func (r *Reconciler) WaitData(ctx context.Context, phase capability.MovePhase, report func(capability.Progress)) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if work := r.working(); work != nil {
			s := work.status()
			switch {
			case s.Phase == phase && phase == capability.PhaseFollowing:
				behind := behind(s)
				if behind == "" {
					return nil
				}
				report(capability.Progress{State: "catching up:", Message: behind})
			case s.Phase == phase:
				return nil
			case s.Phase == capability.PhaseFailed, s.Phase == capability.PhaseWaiting:
				return errors.New(s.Error)
			case s.Backfill != nil && s.Phase == capability.PhaseBackfill:
				b := s.Backfill
				report(capability.Progress{State: "backfill", Message: b.Table, Done: b.Rows, Total: b.Total, Took: b.Elapsed, Result: b})
			case s.Completion != nil:
				b := s.Completion
				report(capability.Progress{State: "building indexes", Message: b.Building, Done: int64(b.Built), Total: int64(b.Total), Result: b})
			case s.Phase == capability.PhaseCompleting:
				report(capability.Progress{State: "catching up:", Message: behind(s)})
			}
		} else {
			r.mu.Lock()
			failed := r.failed
			r.mu.Unlock()
			if failed != "" {
				return errors.New(failed)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Verify compares all rows of both sides, exactly, while both are in use.
func (r *Reconciler) Verify(ctx context.Context, actor string, report func(capability.Progress)) (capability.VerifyStatus, error) {
	ctx, release := r.living(ctx)
	defer release()
	doc, state, work := r.snapshot()
	if err := r.over(state); err != nil {
		return capability.VerifyStatus{}, err
	}
	if doc.Data == nil {
		return capability.VerifyStatus{}, r.nothingToMove()
	}
	if work == nil {
		return capability.VerifyStatus{}, fmt.Errorf("the data of %s is not on both sides; run: strangler data start %s", r.name, r.name)
	}
	result, err := work.data.Mover.Verify(ctx, state.Owner, report)
	return result, errors.Join(err, r.compared(ctx, "verify", actor, result, err))
}

// Conflict is the change at which the data's streams have ended, with values of the
// rows; false where none has.
func (r *Reconciler) Conflict(ctx context.Context) (capability.Conflict, bool, error) {
	work := r.working()
	if work == nil || work.data.Conflicts == nil {
		return capability.Conflict{}, false, nil
	}
	return work.data.Conflicts.Conflict(ctx)
}

// Differences are the rows that the last comparison has told of, with their values as
// they are now.
func (r *Reconciler) Differences(ctx context.Context) ([]capability.Difference, error) {
	work := r.working()
	if work == nil || work.data.Conflicts == nil {
		return nil, nil
	}
	return work.data.Conflicts.Differences(ctx)
}

// compared writes down what came of a comparison.
func (r *Reconciler) compared(ctx context.Context, action, actor string, result capability.VerifyStatus, err error) error {
	outcome := fmt.Sprintf("%d rows, %d mismatches", result.Rows, result.Count)
	switch {
	case err != nil && ctx.Err() != nil:
		outcome = "interrupted"
	case err != nil:
		outcome = err.Error()
	}
	return r.record(context.WithoutCancel(ctx), capability.Entry{Actor: actor, Action: action, Outcome: outcome,
		Evidence: map[string]any{"rows": result.Rows, "mismatches": result.Count, "repaired": result.Repaired, "method": result.Method,
			"position": result.Position.String(), "took_ms": result.Took.Milliseconds()}})
}

// Repair makes the side that does not own equal to the one that does, by
// comparing every row: where the streams run as well as where they cannot go on.
func (r *Reconciler) Repair(ctx context.Context, actor string, report func(capability.Progress)) (capability.VerifyStatus, error) {
	ctx, release := r.living(ctx)
	defer release()
	doc, state, work := r.snapshot()
	switch {
	case !state.Retired.IsZero():
		return capability.VerifyStatus{}, r.over(state)
	case doc.Data == nil:
		return capability.VerifyStatus{}, r.nothingToMove()
	case work == nil || doc.Data.State != capability.DataRunning:
		return capability.VerifyStatus{}, fmt.Errorf("the data of %s is not being followed; run: strangler data resume %s", r.name, r.name)
	}
	if phase := work.status().Phase; phase == capability.PhaseBackfill {
		return capability.VerifyStatus{}, fmt.Errorf("the backfill of %s is not finished; wait for it: strangler data status %s", r.name, r.name)
	}
	// A mover that is beginning will follow, or say why it cannot.
	if why := r.WaitData(ctx, capability.PhaseFollowing, report); why != nil {
		if ctx.Err() != nil {
			return capability.VerifyStatus{}, why
		}
		report(capability.Progress{State: "started", Message: "the streams cannot go on (" + why.Error() + "); comparing and mending, to follow anew"})
		result, err := r.recover(ctx, work, report)
		return result, errors.Join(err, r.compared(ctx, "repair", actor, result, err))
	}
	result, err := work.data.Repairs.Repair(ctx, state.Owner, report)
	return result, errors.Join(err, r.compared(ctx, "repair", actor, result, err))
}

// recover lets the mover begin again with a comparison, and proves what came of
// it by another.
func (r *Reconciler) recover(ctx context.Context, work *work, report func(capability.Progress)) (capability.VerifyStatus, error) {
	r.acting.Lock()
	work.halt(false)
	err := work.data.Repairs.Recover(ctx)
	work.start(ctx)
	r.acting.Unlock()
	if err != nil {
		return capability.VerifyStatus{}, err
	}
	if err := r.WaitData(ctx, capability.PhaseFollowing, report); err != nil {
		return capability.VerifyStatus{}, err
	}
	return work.data.Mover.Verify(ctx, r.effective().Owner, report)
}

// Mark answers a proxy's question of what a reader must wait for.
func (r *Reconciler) Mark(ctx context.Context) (capability.Mark, error) {
	_, state, work := r.snapshot()
	if work == nil {
		return capability.Mark{Epoch: state.Epoch}, nil
	}
	mark, err := work.data.Mover.Mark(ctx, state.Owner)
	mark.Epoch = state.Epoch
	if now := r.effective(); now.Epoch != state.Epoch {
		return capability.Mark{Epoch: state.Epoch}, nil // the owner changed meanwhile: ask again
	}
	return mark, err
}

// connected lends the capability's databases, connected for this where they are
// not.
func (r *Reconciler) connected(ctx context.Context, doc capability.Document, use func(*Data) error) error {
	if work := r.working(); work != nil {
		return use(work.data)
	}
	data, err := r.options.Connect(ctx, doc, r.options.Token)
	if err != nil {
		return err
	}
	defer data.Close()
	return use(data)
}

// Reset takes back all that the move has made, while legacy owns. It edits the
// document to stopped. A dry run reports the steps and takes none.
func (r *Reconciler) Reset(ctx context.Context, dry bool, actor string, report func(capability.Progress)) error {
	r.acting.Lock()
	defer r.acting.Unlock()
	defer r.look()
	doc, state, _ := r.snapshot()
	switch {
	case !state.Retired.IsZero():
		return r.over(state)
	case doc.Data == nil:
		return r.nothingToMove()
	case state.Owner != capability.Legacy || state.Phase != capability.Steady:
		return fmt.Errorf("%s owns %s: roll back first, with: strangler rollback %s", state.Owner, r.name, r.name)
	}
	if dry {
		return r.connected(ctx, doc, func(data *Data) error { return data.Mover.Reset(ctx, true, report) })
	}
	stopped, none := capability.DataStopped, capability.Weight(0)
	if err := r.edit(ctx, capability.Edit{State: &stopped, Weight: &none}, &doc); err != nil {
		return err
	}
	if err := r.lookWithoutData(ctx); err != nil {
		return err
	}
	data, err := r.options.Connect(ctx, doc, r.options.Token)
	if err != nil {
		return err
	}
	defer data.Close()
	if err := data.Mover.Reset(ctx, false, report); err != nil {
		return err
	}
	next := r.effective()
	next.Revision++
	next.Epoch, next.Attempt, next.Refused = 0, nil, ""
	if err := r.publish(ctx, next, actor); err != nil {
		return err
	}
	return r.record(ctx, capability.Entry{Actor: actor, Action: "data reset", Outcome: "done"})
}

// lookWithoutData brings all reads home and stops the mover.
func (r *Reconciler) lookWithoutData(ctx context.Context) error {
	if next := r.effective(); next.Weight != 0 || next.Shared {
		next.Revision++
		next.Weight, next.Shared = 0, false
		if err := r.publish(ctx, next, "controller"); err != nil {
			return err
		}
		if _, err := r.askProxies(ctx, next.Revision, false, time.Second); err != nil {
			return err
		}
	}
	r.stopData()
	return nil
}
