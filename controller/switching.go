package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"strangler/capability"
)

// tries is how often one command attempts a switch whose tables were locked by
// somebody else at the moment of closing.
const tries = 3

// SwitchOptions say how a switch is to be done.
type SwitchOptions struct {
	// Gap is how long writes may wait before the switch takes everything back. 0: as
	// configured, which is also the most.
	Gap time.Duration
	// Rehearse does everything before the commit point and takes it back: it shows the
	// gap, and changes no owner.
	Rehearse bool
	// AcceptRefused switches although the last rehearsal saw writes refused.
	AcceptRefused bool
}

// Switch makes a side the owner and returns when it is, or when everything is as
// before. It edits the document first, so that after a crash the document says
// what was wanted; the weight goes with the owner (100 % extracted, 0 %
// legacy). A side that owns already is a success. It blocks for seconds.
func (r *Reconciler) Switch(ctx context.Context, to capability.Side, options SwitchOptions, actor string, report func(capability.Progress)) (SwitchResult, error) {
	ctx, release := r.living(ctx)
	defer release()
	r.acting.Lock()
	defer r.acting.Unlock()
	defer r.look()
	doc, state, work := r.snapshot()
	switch {
	case to == capability.Legacy && !state.Retired.IsZero():
		return SwitchResult{}, r.over(state)
	case doc.Data == nil && state.Retired.IsZero():
		return SwitchResult{}, r.noData()
	case state.Owner == to && state.Phase == capability.Steady:
		return SwitchResult{To: to, Already: true}, nil
	case state.Phase != capability.Steady:
		return SwitchResult{}, fmt.Errorf("a switch of %s is running; see: strangler status %s", r.name, r.name)
	case work == nil:
		return SwitchResult{}, fmt.Errorf("the data of %s is not on both sides; run: strangler data start %s", r.name, r.name)
	case options.Gap < 0 || options.Gap > r.options.Times.Gap:
		return SwitchResult{}, fmt.Errorf("writes cannot be let wait for %s: the gap is from 0 to %s, which is switch.gap of the configuration", options.Gap, r.options.Times.Gap)
	case options.Rehearse:
		return r.attempt(ctx, doc, to, options, actor, report)
	}
	weight := capability.Weight(0)
	if to == capability.Extracted {
		weight = capability.Whole
	}
	was := doc.Traffic
	if err := r.edit(ctx, capability.Edit{Owner: &to, Weight: &weight}, &doc); err != nil {
		return SwitchResult{}, err
	}
	doc.Traffic.Owner, doc.Traffic.Weight = to, weight
	result, err := r.attempt(ctx, doc, to, options, actor, report)
	if err != nil && r.effective().Owner == was.Owner && !errors.As(err, new(*onwardError)) {
		back := r.edit(context.WithoutCancel(ctx), capability.Edit{Owner: &was.Owner, Weight: &was.Weight}, &doc)
		return result, errors.Join(err, back)
	}
	return result, err
}

// noData is the refusal to switch what only traffic is moved of.
func (r *Reconciler) noData() error {
	return fmt.Errorf("%s has no data section, so its owner follows the document at once; edit traffic.owner", r.name)
}

// SwitchResult is what a switch has to tell.
type SwitchResult struct {
	To      capability.Side `json:"to"`
	Already bool            `json:"already,omitempty"` // nothing had to be done
	// Rehearsed says that everything was taken back, as was asked for.
	Rehearsed bool          `json:"rehearsed,omitempty"`
	Gap       time.Duration `json:"gap_ns"` // from the hold to the release
	Epoch     uint64        `json:"epoch"`
	// Refused is what the old owner's gate has refused meanwhile, and to whom.
	Refused capability.Refusals `json:"refused,omitzero"`
	Missing []string            `json:"missing_proxies,omitempty"` // did not acknowledge the new owner
}

// DryRun checks everything that a switch would check first, and returns the plan
// in words. It changes nothing.
func (r *Reconciler) DryRun(ctx context.Context, to capability.Side, options SwitchOptions) ([]capability.Progress, error) {
	doc, state, work := r.snapshot()
	if to == capability.Legacy && !state.Retired.IsZero() {
		return nil, r.over(state)
	}
	if doc.Data == nil && state.Retired.IsZero() {
		return nil, r.noData()
	}
	if state.Owner == to && !state.Retired.IsZero() {
		return []capability.Progress{{State: "planned", Message: fmt.Sprintf("nothing: %s owns %s already", to, r.name)}}, nil
	}
	if work == nil {
		return nil, fmt.Errorf("the data of %s is not on both sides; run: strangler data start %s", r.name, r.name)
	}
	if state.Owner == to && state.Phase == capability.Steady {
		return []capability.Progress{{State: "planned", Message: fmt.Sprintf("nothing: %s owns %s already", to, r.name)}}, nil
	}
	a := &attempt{r: r, data: work.data, doc: doc, from: state.Owner, to: to, dry: true, accept: options.AcceptRefused}
	lines := make([]capability.Progress, 0, len(capability.SwitchPlan)+1)
	if r.needsVerify(work.status(), work, state.Owner) {
		lines = append(lines, capability.Progress{Step: capability.StepVerify, State: "planned", Message: "compare every row first, because nobody has kept what was written since the last verification"})
	}
	for _, row := range capability.SwitchPlan {
		p := capability.Progress{Step: row.Name, State: "planned", Message: a.words(row.Do)}
		if row.Name == capability.StepPreflight {
			p.State = "done"
			if err := a.preflight(ctx); err != nil {
				p.State, p.Message = "failed", err.Error()
			} else if o, err := r.observe(ctx); err == nil {
				p.Message += ": " + Ready(o, a.data.Handover.UnverifiedKeys(a.from), time.Now()).Summary
			}
		}
		lines = append(lines, p)
	}
	return lines, nil
}

// edit changes the document and takes over its new revision, so that the loop
// does not take it for a person's change.
func (r *Reconciler) edit(ctx context.Context, edit capability.Edit, doc *capability.Document) error {
	r.reading.Lock()
	defer r.reading.Unlock()
	revision, err := r.options.Documents.Edit(ctx, r.name, edit)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doc.Revision = revision
	if edit.Owner != nil {
		r.doc.Traffic.Owner = *edit.Owner
	}
	if edit.Weight != nil {
		r.doc.Traffic.Weight = *edit.Weight
	}
	if edit.Mirror != nil {
		r.doc.Traffic.Mirror = *edit.Mirror
	}
	if edit.State != nil && r.doc.Data != nil {
		r.doc.Data.State = *edit.State
	}
	if mode, ok := edit.Breakers[capability.Legacy]; ok {
		r.doc.Breakers.Legacy = mode
	}
	if mode, ok := edit.Breakers[capability.Extracted]; ok {
		r.doc.Breakers.Extracted = mode
	}
	*doc = r.doc.Clone()
	return nil
}

// switchForDocument tries the owner that a changed document asks for, once. The
// caller holds acting.
func (r *Reconciler) switchForDocument(ctx context.Context, o Observation, to capability.Side) error {
	_, err := r.attempt(ctx, o.Document, to, SwitchOptions{}, "document", func(capability.Progress) {})
	if err != nil {
		r.log.Error("switch for the document", "to", string(to), "error", err)
	}
	return nil // it is in the state and in the ledger
}

// attempt walks the plan, again where it could not get its locks, and records
// how it ended. The caller holds acting.
func (r *Reconciler) attempt(ctx context.Context, doc capability.Document, to capability.Side, options SwitchOptions, actor string, report func(capability.Progress)) (SwitchResult, error) {
	work := r.working()
	if work == nil {
		err := fmt.Errorf("the data of %s is not on both sides; run: strangler data start %s", r.name, r.name)
		return SwitchResult{}, errors.Join(err, r.remember(ctx, doc, capability.Attempt{To: to, Outcome: capability.Undone, Reason: err.Error()}, 0))
	}
	began := time.Now()
	if err := r.verifyFirst(ctx, work, to.Other(), report); err != nil {
		return SwitchResult{}, errors.Join(err, r.remember(context.WithoutCancel(ctx), doc, capability.Attempt{To: to, Outcome: capability.Undone, Reason: err.Error()}, 0))
	}
	var a *attempt
	var err error
	for n := 1; ; n++ {
		a = &attempt{r: r, data: work.data, doc: doc, from: to.Other(), to: to, rehearse: options.Rehearse, accept: options.AcceptRefused, within: cmp.Or(options.Gap, r.options.Times.Gap), report: report}
		err = a.run(ctx)
		if !errors.Is(err, capability.ErrBusy) || n == tries || ctx.Err() != nil {
			break
		}
		report(capability.Progress{State: "retry", Message: fmt.Sprintf("attempt %d of %d failed: %v; again in a second", n, tries, err)})
		pause(ctx, time.Second)
	}
	after := context.WithoutCancel(ctx)
	if a.counts {
		// As late as can be: a statement that found the gate shut is counted a moment
		// later than it was opened, where the machine is busy.
		if refused, told := a.refusals(after); told {
			a.refused = refused.Since(a.before)
		}
	}
	result := SwitchResult{To: to, Rehearsed: options.Rehearse, Gap: a.gap, Refused: a.refused, Epoch: a.opened, Missing: a.missing}
	outcome, action := "done", "switch"
	if options.Rehearse {
		action = "rehearsal"
	}
	if err != nil {
		outcome = err.Error()
	}
	recorded := r.record(after, capability.Entry{Actor: actor, Action: action, From: string(to.Other()), To: string(to), Outcome: outcome,
		Evidence: map[string]any{"gap_ms": a.gap.Milliseconds(), "took_ms": time.Since(began).Milliseconds(), "epoch": a.opened, "closing": a.closing, "nonce": a.nonce, "refused": a.refused}})
	switch {
	case err != nil:
		err = errors.Join(err, r.remember(after, doc, capability.Attempt{To: to, Outcome: capability.Undone, Reason: err.Error()}, 0))
	case options.Rehearse:
		err = r.remember(after, doc, capability.Attempt{To: to, Outcome: capability.Rehearsed, Refused: a.refused.Count, Reason: fmt.Sprintf("writes waited for %s, and %d were refused%s", a.gap.Round(time.Millisecond), a.refused.Count, named(": ", a.refused))}, a.gap)
	}
	return result, errors.Join(err, recorded)
}

// verifyFirst compares all rows before a switch where nobody has since this
// process began to follow: what was written before is known to no one else.
func (r *Reconciler) verifyFirst(ctx context.Context, work *work, from capability.Side, report func(capability.Progress)) error {
	s := work.begun(ctx)
	if s.Phase != capability.PhaseFollowing || !r.needsVerify(s, work, from) {
		return nil // or the preflight says what is wrong
	}
	report(capability.Progress{State: "verify", Message: "every row, because nobody has kept what was written since the last verification"})
	_, err := work.data.Mover.Verify(ctx, from, report)
	return err
}

func (r *Reconciler) needsVerify(s capability.DataStatus, work *work, from capability.Side) bool {
	doc, state, _ := r.snapshot()
	return Ready(Observation{Document: doc, Effective: state, Data: s}, work.data.Handover.UnverifiedKeys(from), time.Now()).Verify
}

// remember stores how an attempt ended without another owner and why, for the
// document that asked. waited is for how long writes have, or 0: they have not.
func (r *Reconciler) remember(ctx context.Context, doc capability.Document, ended capability.Attempt, waited time.Duration) error {
	next := r.effective()
	if next.Phase != capability.Steady || next.Owner == ended.To {
		return nil // in between: the gates will tell
	}
	ended.Document, ended.Started = doc.Revision, time.Now().UTC()
	if next.Attempt != nil {
		ended.Started = next.Attempt.Started
	}
	if ended.Outcome != capability.Rehearsed {
		ended.Refused = next.Attempt.Saw(ended.To)
	}
	if waited > 0 {
		next.Waited = waited
	}
	next.Revision++
	next.Attempt = &ended
	return r.publish(ctx, next, "controller")
}
