package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"strangler/capability"
)

// attempt is one walk through capability.SwitchPlan: it moves the owner of one
// capability from one side to the other, or takes everything back.
type attempt struct {
	r        *Reconciler
	data     *Data
	doc      capability.Document
	from, to capability.Side
	dry      bool          // nothing will be done; a verification that would come first is not missed
	rehearse bool          // everything before the commit point is done, and taken back
	within   time.Duration // longest gap
	accept   bool          // what a rehearsal has seen refused
	report   func(capability.Progress)

	nonce   string
	closing uint64 // epoch that the closing takes; set by the step close
	opened  uint64 // epoch of the new owner's gate; set by the step open
	missing []string
	held    time.Time // when the first write waited
	gap     time.Duration
	before  capability.Refusals // refused by the old owner's gate before it was closed
	counts  bool                // before is known
	refused capability.Refusals // since
}

// errUnknown marks an error after which nobody can say whether the commit point
// has passed. Nothing may be undone; the gates tell, when they can be read.
var errUnknown = errors.New("whether the commit point has passed is not known")

// onwardError is a failure at or behind the commit point: nothing is taken back,
// the document's owner neither, or the controller would go on to the new owner
// and then switch back by itself.
type onwardError struct {
	step capability.StepName
	err  error
}

func (e *onwardError) Error() string {
	return fmt.Sprintf("%s: %v; the controller finishes this by itself as soon as the databases answer", e.step, e.err)
}

func (e *onwardError) Unwrap() error { return e.err }

// step is the code behind one row of the plan.
type step struct{ do, undo func(context.Context) error }

func (a *attempt) bind() map[capability.StepName]step {
	steps := map[capability.StepName]step{
		capability.StepPreflight: {do: a.preflight},
		capability.StepAnnounce:  {do: a.announce, undo: a.recant},
		capability.StepBorder:    {do: a.dropBorder, undo: a.restoreBorder},
		capability.StepYield:     {do: a.yield},
		capability.StepHold:      {do: a.hold, undo: a.release},
		capability.StepClose:     {do: a.close, undo: a.reopen},
		capability.StepDrain:     {do: a.drain},
		capability.StepVerify:    {do: a.verify},
		capability.StepSequences: {do: a.sequences},
		capability.StepSeal:      {do: a.seal},
		capability.StepOpen:      {do: a.open},
		capability.StepPublish:   {do: a.publish},
		capability.StepTidy:      {do: a.tidy},
	}
	if a.rehearse {
		// The keys that cross the border hold as long as the owner stays; to drop them and to
		// validate them again would cost more than it shows.
		steps[capability.StepBorder] = step{do: nothing, undo: nothing}
	}
	return steps
}

func nothing(context.Context) error { return nil }

// run walks the plan. Until the commit point any failure, the end of the context
// and a gap longer than allowed undo everything that was done; from there on it
// only goes forward, deaf to the caller's impatience.
func (a *attempt) run(ctx context.Context) error {
	steps := a.bind()
	gapped := ctx
	var walk capability.Walk
	var failed error // why the steps are taken back, and which could not be
	for {
		row, undo, ok := walk.Next()
		if !ok {
			return failed
		}
		if undo {
			failed = errors.Join(failed, a.takeBack(context.WithoutCancel(ctx), row, steps[row.Name].undo))
			walk = walk.Done()
			continue
		}
		if row.Commit && a.rehearse {
			walk = walk.Stopped()
			continue
		}
		if row.Name == capability.StepHold {
			var cancel context.CancelFunc
			gapped, cancel = context.WithTimeoutCause(ctx, a.within, fmt.Errorf("writes would wait longer than %s", a.within))
			defer cancel()
		}
		in := gapped
		if walk.Committed() {
			in = context.WithoutCancel(ctx)
		}
		err := a.take(in, row, steps[row.Name].do)
		if err == nil {
			walk = walk.Done()
			continue
		}
		walk = walk.Failed(errors.Is(err, errUnknown))
		if walk.Left() {
			return &onwardError{row.Name, err}
		}
		failed = fmt.Errorf("%s: %w", row.Name, err)
	}
}

// take does one step and tells about it.
func (a *attempt) take(ctx context.Context, row capability.Step, do func(context.Context) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	words := a.words(row.Do)
	if a.rehearse && row.Name == capability.StepBorder {
		words = "foreign keys that cross the border stay: this is a rehearsal"
	}
	a.report(capability.Progress{Step: row.Name, State: "started", Message: words})
	began := time.Now()
	a.at(ctx, row.Name, "before")
	err := do(ctx)
	a.at(ctx, row.Name, "after")
	p := capability.Progress{Step: row.Name, State: "done", Message: words, Took: time.Since(began)}
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		p.State, p.Message = "failed", err.Error()
	}
	a.report(p)
	return err
}

// at tells of a moment between two steps.
func (a *attempt) at(ctx context.Context, step capability.StepName, when string) {
	if reach := a.r.options.Reach; reach != nil {
		reach(ctx, a.r.name, step, when)
	}
}

// takeBack undoes one step and tells about it. The step that failed is among those
// that are taken back: it may have happened all the same.
func (a *attempt) takeBack(ctx context.Context, row capability.Step, undo func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := undo(bounded)
	if a.rehearse && row.Name == capability.StepBorder {
		return err // there was nothing to do
	}
	p := capability.Progress{Step: row.Name, State: "undone", Message: a.words(row.Undo)}
	if err != nil {
		p.State, p.Message = "failed", fmt.Sprintf("%s: %v", a.words(row.Undo), err)
		err = fmt.Errorf("undo %s: %w", row.Name, err)
	}
	a.report(p)
	return err
}
