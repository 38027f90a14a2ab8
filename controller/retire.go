package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"strangler/capability"
)

// Retirement ends a move for good.
type Retirement interface {
	// Retiring says whether a retirement has begun and is not finished.
	Retiring(ctx context.Context) (bool, error)
	// Uses lists what still needs the legacy tables, as far as the catalogs tell.
	Uses(ctx context.Context) ([]capability.Use, error)
	// Watch lists the legacy tables that are read within the period. The mover rests.
	Watch(ctx context.Context, period time.Duration, report func(capability.Progress)) ([]capability.Use, error)
	// Retire takes streams and gates away and archives the legacy tables; a dry run
	// only says so. The mover has stopped. It may be repeated.
	Retire(ctx context.Context, dry bool, report func(capability.Progress)) error
	// Forget removes the last records, that of the retirement too.
	Forget(ctx context.Context, dry bool, report func(capability.Progress)) error
}

// RetireOptions say how careful a retirement is.
type RetireOptions struct {
	DryRun  bool
	Observe time.Duration // for how long nobody may read the legacy tables
	Despite []capability.UseKind
}

// RetireResult is what a retirement has to tell.
type RetireResult struct {
	Retired time.Time        `json:"retired,omitzero"`
	Already bool             `json:"already,omitempty"` // it was
	Despite []capability.Use `json:"despite,omitempty"` // what was left out of account
}

// over refuses what a capability that is retired cannot do any more.
func (r *Reconciler) over(state capability.Effective) error {
	if state.Retired.IsZero() {
		return nil
	}
	return fmt.Errorf("%s is retired since %s: extracted owns it for good, and there is no way back", r.name, state.Retired.Format(time.DateTime))
}

// Retire ends the migration of a capability that extracted owns: no stream and no
// gate any more, the legacy tables in an archive, the document marked. Until
// the first step a client that goes away, or anything that speaks against it,
// leaves all as it was; from there on it goes to its end, and whatever interrupts
// it, the same command goes on. It blocks for as long as the observation, and a
// verification where one is due.
func (r *Reconciler) Retire(ctx context.Context, o RetireOptions, actor string, report func(capability.Progress)) (RetireResult, error) {
	if !r.retiring.TryLock() {
		return RetireResult{}, fmt.Errorf("a retirement of %s is running already", r.name)
	}
	defer r.retiring.Unlock()
	alive, release := r.living(context.WithoutCancel(ctx))
	defer release()
	ctx, leave := r.living(ctx)
	defer leave()
	doc, state, _ := r.snapshot()
	switch {
	case doc.Data == nil && state.Retired.IsZero():
		return RetireResult{}, r.nothingToMove()
	case !state.Retired.IsZero():
		return r.retiredBefore(alive, doc, state, o, report)
	}
	begun := false
	err := r.connected(ctx, doc, func(data *Data) (err error) {
		begun, err = data.Retirement.Retiring(ctx)
		return err
	})
	if err != nil {
		return RetireResult{}, err
	}
	var result RetireResult
	defer r.look()
	defer r.watch(false)
	if !begun {
		result.Despite, err = r.retirable(ctx, o, actor, report)
		if err != nil {
			return result, err
		}
	}
	if o.DryRun {
		return result, r.connected(ctx, doc, func(data *Data) error {
			return errors.Join(data.Retirement.Retire(ctx, true, report), r.marks(ctx, true, &result, report), data.Retirement.Forget(ctx, true, report))
		})
	}
	r.acting.Lock()
	defer r.acting.Unlock()
	err = r.retire(alive, &result, report)
	outcome := "done"
	if err != nil {
		outcome = err.Error()
	}
	return result, errors.Join(err, r.record(context.WithoutCancel(ctx), capability.Entry{Actor: actor, Action: "retire", Outcome: outcome,
		Evidence: map[string]any{"observed_ms": o.Observe.Milliseconds(), "despite": result.Despite}}))
}

// retiredBefore finishes what was not when the capability was published as
// retired, if anything.
func (r *Reconciler) retiredBefore(ctx context.Context, doc capability.Document, state capability.Effective, o RetireOptions, report func(capability.Progress)) (RetireResult, error) {
	result := RetireResult{Retired: state.Retired, Already: true}
	if doc.Data == nil || o.DryRun {
		return result, nil
	}
	r.acting.Lock()
	defer r.acting.Unlock()
	return result, r.connected(ctx, doc, func(data *Data) error {
		begun, err := data.Retirement.Retiring(ctx)
		if err != nil || !begun {
			return err
		}
		return errors.Join(data.Retirement.Retire(ctx, false, report), data.Retirement.Forget(ctx, false, report))
	})
}

// retirable asks everything that speaks against it, all at once, and returns
// what was left out of account. In the end the mover rests.
func (r *Reconciler) retirable(ctx context.Context, o RetireOptions, actor string, report func(capability.Progress)) ([]capability.Use, error) {
	doc, state, work := r.snapshot()
	switch {
	case state.Phase != capability.Steady:
		return nil, fmt.Errorf("a switch of %s is running; see: strangler status %s", r.name, r.name)
	case state.Owner != capability.Extracted:
		return nil, fmt.Errorf("legacy owns %s: only what extracted owns can be retired; first: strangler cutover %s", r.name, r.name)
	case state.Weight != capability.Whole:
		return nil, fmt.Errorf("only %s of the readers of %s are at extracted; first: strangler weight %s 100%%", state.Weight, r.name, r.name)
	case work == nil:
		return nil, fmt.Errorf("the data of %s is not on both sides; run: strangler data start %s", r.name, r.name)
	}
	if err := r.equal(ctx, doc, work, o, actor, report); err != nil {
		return nil, err
	}
	uses, err := work.data.Retirement.Uses(ctx)
	if err != nil {
		return nil, err
	}
	against, despite := against(uses, o.Despite)
	if err := refuseUses(r.name, against, o.Despite); err != nil || slices.Contains(o.Despite, capability.UseScans) {
		return despite, err
	}
	if o.DryRun {
		report(capability.Progress{State: "planned", Message: fmt.Sprintf("pause the streams, and watch for %s whether anybody reads the legacy tables", o.Observe)})
		return despite, nil
	}
	r.watch(true)
	seen, err := work.data.Retirement.Watch(ctx, o.Observe, report)
	if err != nil {
		return despite, err
	}
	return despite, refuseUses(r.name, seen, o.Despite)
}

// equal makes sure that both sides are, by comparing every row where nobody has.
func (r *Reconciler) equal(ctx context.Context, doc capability.Document, work *work, o RetireOptions, actor string, report func(capability.Progress)) error {
	a := &attempt{r: r, data: work.data, doc: doc, from: capability.Extracted, to: capability.Legacy}
	seen, unverified, err := a.settle(ctx)
	if err != nil {
		return err
	}
	ready := Ready(seen, unverified, time.Now())
	if len(ready.Reasons) == 0 && ready.Verify && o.DryRun {
		report(capability.Progress{State: "planned", Message: "compare every row first"})
		return nil
	}
	if len(ready.Reasons) == 0 && ready.Verify {
		if _, err := r.Verify(ctx, actor, report); err != nil {
			return err
		}
		if seen, unverified, err = a.settle(ctx); err != nil {
			return err
		}
		ready = Ready(seen, unverified, time.Now())
	}
	if len(ready.Reasons) > 0 {
		return errors.New(strings.Join(ready.Reasons, "; "))
	}
	return nil
}

// against sorts uses by whether they are to be left out of account.
func against(uses []capability.Use, despite []capability.UseKind) (list, rest []capability.Use) {
	for _, u := range uses {
		if slices.Contains(despite, u.Kind) {
			rest = append(rest, u)
		} else {
			list = append(list, u)
		}
	}
	return list, rest
}

// refuseUses is the refusal that names them, and how to go on all the same.
func refuseUses(name string, uses []capability.Use, despite []capability.UseKind) error {
	if len(uses) == 0 {
		return nil
	}
	var words, kinds []string
	for _, kind := range despite {
		kinds = append(kinds, string(kind))
	}
	for _, u := range uses {
		words = append(words, u.What)
		kinds = append(kinds, string(u.Kind))
	}
	slices.Sort(kinds)
	return fmt.Errorf("the legacy tables of %s are still needed: %s; end that first, or leave it out of account: strangler retire %s --despite %s",
		name, strings.Join(words, "; "), name, strings.Join(slices.Compact(kinds), ","))
}

// watch has the mover rest, so that it does not read what is watched, or lets the
// next look start it again.
func (r *Reconciler) watch(on bool) {
	if !on {
		r.mu.Lock()
		r.watching = false
		r.mu.Unlock()
		return
	}
	r.acting.Lock()
	defer r.acting.Unlock()
	r.mu.Lock()
	r.watching = true
	work := r.data
	r.mu.Unlock()
	if work != nil {
		work.rest(true)
	}
}

// retire takes the steps. The caller holds acting.
func (r *Reconciler) retire(ctx context.Context, result *RetireResult, report func(capability.Progress)) error {
	doc, state, _ := r.snapshot()
	if doc.Data == nil || state.Phase != capability.Steady || state.Owner != capability.Extracted {
		return fmt.Errorf("%s has changed meanwhile; see: strangler status %s", r.name, r.name)
	}
	r.stopData()
	data, err := r.options.Connect(ctx, doc, r.options.Token)
	if err != nil {
		return err
	}
	defer data.Close()
	if err := data.Retirement.Retire(ctx, false, report); err != nil {
		return err
	}
	if err := r.marks(ctx, false, result, report); err != nil {
		return err
	}
	return data.Retirement.Forget(ctx, false, report)
}

// marks writes into the document, and into what the proxies route by, that the
// capability is retired.
func (r *Reconciler) marks(ctx context.Context, dry bool, result *RetireResult, report func(capability.Progress)) error {
	const document, state = "write data.state: retired into the document", "publish that extracted owns for good"
	if dry {
		report(capability.Progress{State: "planned", Message: document})
		report(capability.Progress{State: "planned", Message: state})
		return nil
	}
	doc, _, _ := r.snapshot()
	report(capability.Progress{State: "started", Message: document})
	began := time.Now()
	over, owner, whole := capability.DataRetired, capability.Extracted, capability.Whole
	if err := r.edit(ctx, capability.Edit{State: &over, Owner: &owner, Weight: &whole}, &doc); err != nil {
		return err
	}
	report(capability.Progress{State: "done", Message: document, Took: time.Since(began)})
	report(capability.Progress{State: "started", Message: state})
	began = time.Now()
	result.Retired = time.Now().UTC()
	next := retired(Observation{Document: doc, Effective: r.effective(), Retired: result.Retired})
	next.Revision++
	if err := r.publish(ctx, next, "controller"); err != nil {
		return err
	}
	if _, err := r.askProxies(ctx, next.Revision, false, time.Second); err != nil {
		return err
	}
	report(capability.Progress{State: "done", Message: state, Took: time.Since(began)})
	return nil
}

// retired is the state of a capability that is: all of it is extracted's, and
// nothing stands in for it.
func retired(o Observation) capability.Effective {
	next := o.Effective
	next.Owner, next.Phase, next.HasData, next.Shared = capability.Extracted, capability.Steady, true, false
	next.Weight, next.Mirror, next.Retired, next.Refused = capability.Whole, 0, o.Retired, ""
	next.Epoch = max(next.Epoch, 1) // its document is needed for ever
	d := o.Document
	if d.Traffic.Owner != capability.Extracted || d.Traffic.Weight != capability.Whole || d.Data != nil && d.Data.State != capability.DataRetired {
		next.Refused = "it is retired since " + o.Retired.Format(time.DateTime) + ", and stays extracted's for good; the document should say owner: extracted, weight: 100% and data.state: retired"
	}
	return next
}
