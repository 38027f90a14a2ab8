package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"strangler/capability"
)

// announce asks the webhooks of the document before writes are held. One that says
// no, or nothing in its time, stops the switch.
func (a *attempt) announce(ctx context.Context) error {
	err := a.r.tell(ctx, a.doc.Webhooks, a.doc.Webhooks.Before, capability.Announcement{
		Event: capability.Before, Capability: a.doc.Name, Owner: a.from, To: a.to, Rehearsal: a.rehearse, Epoch: a.r.effective().Epoch})
	if err != nil {
		return fmt.Errorf("the switch was not agreed to: %w", err)
	}
	return nil
}

// recant tells that nothing has become of what was announced. Who cannot be told
// hears of it by the reconciler if the gate was closed meanwhile, and else by the next
// switch: no write depends on it.
func (a *attempt) recant(ctx context.Context) error {
	if len(a.doc.Webhooks.Before) == 0 {
		return nil
	}
	err := a.r.tell(ctx, a.doc.Webhooks, a.doc.Webhooks.After, capability.Announcement{
		Event: capability.After, Capability: a.doc.Name, Owner: a.from, Rehearsal: a.rehearse, Epoch: a.r.effective().Epoch})
	if err != nil {
		a.r.log.Warn("tell that a switch was taken back", "error", err)
	}
	return nil
}

// untold says whether somebody is to be told who owns: an owner has changed, or writes
// have waited, since the last time.
func untold(doc capability.Document, s capability.Effective) bool {
	return len(doc.Webhooks.After) > 0 && s.Phase == capability.Steady && s.Attempt != nil && s.Told != s.Epoch
}

// tellOwner tells who owns, and stores that it was told. It is tried again where it
// fails: a cache that does not hear of a new owner may write what is old.
func (r *Reconciler) tellOwner(ctx context.Context, doc capability.Document) error {
	state := r.effective()
	if !untold(doc, state) {
		return nil
	}
	err := r.tell(ctx, doc.Webhooks, doc.Webhooks.After, capability.Announcement{Event: capability.After, Capability: doc.Name, Owner: state.Owner, Epoch: state.Epoch})
	if err != nil {
		return fmt.Errorf("tell who owns: %w", err)
	}
	next := r.effective()
	if next.Epoch != state.Epoch {
		return nil // the next look tells the next
	}
	next.Told = state.Epoch
	next.Revision++
	return r.publish(ctx, next, "controller")
}

// tell tells all of them at once.
func (r *Reconciler) tell(ctx context.Context, hooks capability.Webhooks, urls []string, what capability.Announcement) error {
	if len(urls) == 0 {
		return nil
	}
	if r.options.Webhooks == nil {
		return errors.New("webhooks are not sent by this process")
	}
	what.At = time.Now().UTC()
	errs := make([]error, len(urls))
	var telling sync.WaitGroup
	for i, url := range urls {
		telling.Go(func() {
			bounded, cancel := context.WithTimeoutCause(ctx, hooks.Timeout, fmt.Errorf("no answer within %s", hooks.Timeout))
			defer cancel()
			errs[i] = r.options.Webhooks.Send(bounded, url, what)
			if late := context.Cause(bounded); errs[i] != nil && late != nil && !errors.Is(errs[i], late) {
				errs[i] = fmt.Errorf("%w (%w)", errs[i], late)
			}
		})
	}
	telling.Wait()
	return errors.Join(errs...)
}
