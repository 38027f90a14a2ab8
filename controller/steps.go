package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"strangler/capability"
)

// words fills the sides into a sentence of the plan.
func (a *attempt) words(s string) string {
	return strings.NewReplacer("{from}", string(a.from), "{to}", string(a.to)).Replace(s)
}

// Bounds of what a preflight waits for. A burst of writes is given time to be
// applied and compared, because whatever is left of it makes the gap longer.
const (
	settleFor  = 10 * time.Second
	countIn    = 2 * time.Second // how long a switch waits for a number that it can do without
	settledLag = 200 * time.Millisecond
	settledTo  = 500 // keys to compare
)

// preflight asks everything that could make the switch fail later, and reports
// all of it at once.
func (a *attempt) preflight(ctx context.Context) error {
	if work := a.r.working(); work != nil {
		work.begun(ctx)
	}
	// First, because it may take long, and what is left to compare grows meanwhile.
	foreseen, err := a.data.Handover.Foresee(ctx, a.from, a.doc.Data)
	if err != nil {
		return err
	}
	o, unverified, err := a.settle(ctx)
	if err != nil {
		return err
	}
	r := Ready(o, unverified, time.Now())
	reasons := r.Reasons
	if r.Verify && !a.dry {
		reasons = append(reasons, "the data is not verified; run: strangler data verify "+a.doc.Name)
	}
	reasons = append(reasons, foreseen...)
	if r.To != a.to {
		reasons = append(reasons, fmt.Sprintf("%s owns already", a.to))
	}
	for _, side := range capability.Sides {
		obstacles, err := a.data.Guards.Obstacles(ctx, side)
		if err != nil {
			return err
		}
		reasons = append(reasons, obstacles...)
	}
	if was := o.Effective.Attempt; !a.rehearse && !a.accept && was.Saw(a.to) > 0 {
		refused, _ := a.refusals(ctx) // only who they are
		reasons = append(reasons, fmt.Sprintf("in the rehearsal the gate refused %d writes that did not come through a proxy, or after their answer: they would be lost to whoever sent them; send them through the proxy and rehearse again, or accept it with --accept-refused%s", was.Refused, named("; the last that were refused: ", refused)))
	}
	if err := a.r.options.Healthy(ctx, a.doc, a.to); err != nil {
		reasons = append(reasons, fmt.Sprintf("the %s side takes no requests: %v", a.to, err))
	}
	proxies, err := a.r.askProxies(ctx, 0, false, time.Second)
	if err != nil {
		return err
	}
	for _, p := range proxies.missing {
		reasons = append(reasons, "the proxy "+p+" does not answer; stop it, or wait until its registration has run out")
	}
	if len(reasons) > 0 {
		return errors.New(strings.Join(reasons, "; "))
	}
	return nil
}

// settle waits until little is left to apply and to compare, for as long as
// waiting may help, and returns what is known then.
func (a *attempt) settle(ctx context.Context) (Observation, int, error) {
	deadline := time.Now().Add(settleFor)
	for {
		o, err := a.r.observe(ctx)
		if err != nil {
			return o, 0, err
		}
		unverified := a.data.Handover.UnverifiedKeys(a.from)
		// Where nobody knows what has changed all of it is compared, and no waiting makes
		// that less.
		calm := unverified <= settledTo || unverified == math.MaxInt
		for _, s := range o.Data.Streams {
			calm = calm && (s.From != a.from || s.Lag <= settledLag)
		}
		if calm || o.Data.Phase != capability.PhaseFollowing || time.Now().After(deadline) || ctx.Err() != nil {
			return o, unverified, nil
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (a *attempt) dropBorder(ctx context.Context) error {
	if a.to == capability.Legacy {
		return nil // comes back when legacy owns
	}
	a.r.untidy() // whatever becomes of it, and of its undoing, legacy gets its keys back
	return a.data.Border.DropBorder(ctx)
}

func (a *attempt) restoreBorder(ctx context.Context) error {
	if a.to == capability.Legacy {
		return nil
	}
	return a.data.Border.RestoreBorder(ctx)
}

func (a *attempt) yield(ctx context.Context) error { return a.data.Guards.Yield(ctx, a.from) }

// hold publishes the transition and waits until every proxy holds and has no
// write in flight.
func (a *attempt) hold(ctx context.Context) error {
	a.before, a.counts = a.refusals(ctx) // while nobody waits: the gate refuses nobody until it closes
	next := a.r.effective()
	next.Revision++
	next.Phase = capability.Switching
	next.Attempt = &capability.Attempt{To: a.to, Document: a.doc.Revision, Started: time.Now().UTC(), Outcome: capability.Running, Refused: next.Attempt.Saw(a.to)}
	a.held = time.Now()
	if err := a.r.publish(ctx, next, "controller"); err != nil {
		return err
	}
	proxies, err := a.r.askProxies(ctx, next.Revision, true, time.Second)
	if err != nil {
		return err
	}
	var late []string
	for _, p := range proxies.missing {
		late = append(late, p+" does not answer")
	}
	for _, s := range proxies.serving {
		if s.Revision < next.Revision || !s.Holding || s.Writes > 0 {
			late = append(late, fmt.Sprintf("%s: revision %d of %d, holding %v, %d writes in flight %v", s.Proxy, s.Revision, next.Revision, s.Holding, s.Writes, s.Routes))
		}
	}
	if len(late) > 0 {
		return errors.New("not every proxy holds: " + strings.Join(late, "; "))
	}
	return nil
}

// release publishes the old owner again; the attempt's outcome is added by its
// caller, who knows the reason.
func (a *attempt) release(ctx context.Context) error {
	next := a.r.effective()
	if next.Phase != capability.Switching {
		return nil // the transition was never stored
	}
	legacy, extracted, err := a.data.Gates.Read(ctx)
	if err != nil {
		return err
	}
	if err := capability.Owns(a.from, legacy, extracted); err != nil {
		return err
	}
	next = follow(next, a.from, &[2]capability.Gate{legacy, extracted})
	next.Revision++
	if err := a.r.publish(ctx, next, "controller"); err != nil {
		return err
	}
	a.gap = time.Since(a.held)
	return nil
}

func (a *attempt) close(ctx context.Context) error {
	legacy, extracted, err := a.data.Gates.Read(ctx)
	if err != nil {
		return err
	}
	c, err := capability.Ask(a.from, capability.EventClose, legacy, extracted)
	if err != nil {
		return err
	}
	a.closing, a.nonce = c.To, rand.Text()
	return a.data.Gates.Close(ctx, c.On, c.From, c.To, a.r.options.Times.Lease, a.nonce)
}

// refusals is what the old owner's gate has refused, and whether that could be told: a
// database that is away does not keep a switch, nor the lock under which it runs.
func (a *attempt) refusals(ctx context.Context) (refused capability.Refusals, told bool) {
	if a.data.Refusals == nil {
		return refused, false
	}
	ctx, cancel := context.WithTimeout(ctx, countIn)
	defer cancel()
	refused, err := a.data.Refusals.Refused(ctx, a.from)
	if err != nil {
		a.r.log.Warn("count what the gate refuses", "error", err)
	}
	return refused, err == nil
}

// named are the writers that were refused, behind a lead; empty where none is known.
func named(lead string, refused capability.Refusals) string {
	if len(refused.Writers) == 0 {
		return ""
	}
	return lead + refused.String()
}

// reopen opens the gate that this attempt closed, unless its lease has run out
// and a writer was faster.
func (a *attempt) reopen(ctx context.Context) error {
	legacy, extracted, err := a.data.Gates.Read(ctx)
	if err != nil {
		return err
	}
	return a.openAgain(ctx, legacy, extracted)
}

func (a *attempt) openAgain(ctx context.Context, legacy, extracted capability.Gate) error {
	c, asked, err := capability.Reopen(a.from, a.closing, legacy, extracted)
	if err != nil || !asked {
		return err
	}
	return a.data.Gates.Open(ctx, c.On, c.From, c.To)
}

func (a *attempt) drain(ctx context.Context) error {
	err := a.data.Handover.WaitMarker(ctx, a.from, a.nonce)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%s has not applied everything that %s had committed: %w; look for load and locks there, with: strangler data status %s", a.to, a.from, context.Cause(ctx), a.doc.Name)
	}
	return err
}

func (a *attempt) verify(ctx context.Context) error {
	mismatches, err := a.data.Handover.VerifyChanged(ctx, a.from)
	if err != nil {
		return err
	}
	if len(mismatches) > 0 {
		m := mismatches[0]
		return fmt.Errorf("%d rows differ, the first: %s %s: %s; run: strangler data verify %s", len(mismatches), m.Table, m.Key, m.Detail, a.doc.Name)
	}
	return nil
}

func (a *attempt) sequences(ctx context.Context) error {
	return a.data.Handover.CarrySequences(ctx, a.from, a.doc.Data)
}

// seal is the commit point. An answer that was lost is looked up in the gates;
// as long as they cannot be read nobody knows. A gate that is closing still says
// nothing: the sealing may be under way. It is ruled out by opening the gate, which
// takes the epoch that the sealing names.
func (a *attempt) seal(ctx context.Context) error {
	err := a.data.Gates.Seal(ctx, a.from, a.closing)
	if err == nil || errors.Is(err, capability.ErrGate) {
		return err
	}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.r.options.Times.Lease)
	defer cancel()
	for {
		legacy, extracted, read := a.data.Gates.Read(asking)
		if read == nil {
			own, _ := capability.Sort(a.from, legacy, extracted)
			switch capability.AfterSealing(own, a.closing) {
			case capability.SealingDone:
				return nil
			case capability.SealingFailed:
				return err
			case capability.SealingOpen:
				if a.openAgain(asking, legacy, extracted) == nil {
					return err
				}
			}
		}
		if asking.Err() != nil {
			return errors.Join(errUnknown, err)
		}
		pause(asking, 50*time.Millisecond)
	}
}

// open opens the new owner's gate. It tries until it is done: writes are held
// meanwhile, and nobody owns.
func (a *attempt) open(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := a.openOnce(bounded)
		if err == nil || bounded.Err() != nil {
			return err
		}
		pause(bounded, 50*time.Millisecond)
	}
}

func (a *attempt) openOnce(ctx context.Context) error {
	legacy, extracted, err := a.data.Gates.Read(ctx)
	if err != nil {
		return err
	}
	c, asked, err := capability.Finish(a.to, legacy, extracted)
	if err != nil {
		return err
	}
	if !asked {
		own, _ := capability.Sort(a.to, legacy, extracted)
		a.opened = own.Epoch
		return nil
	}
	if err := a.data.Gates.Open(ctx, c.On, c.From, c.To); err != nil {
		return err
	}
	a.opened = c.To
	return nil
}

// publish makes the new owner known; the proxies release what they hold.
func (a *attempt) publish(ctx context.Context) error {
	next := a.r.effective()
	next.Revision++
	next.Owner, next.Phase, next.Epoch, next.Since = a.to, capability.Steady, a.opened, time.Now().UTC()
	next.Weight, next.Refused, next.Waited = a.doc.Traffic.Weight, "", time.Since(a.held)
	if next.Attempt != nil {
		ended := *next.Attempt
		ended.Outcome = capability.Done
		next.Attempt = &ended
	}
	was, err := a.r.store(ctx, next)
	if err != nil {
		return err
	}
	a.gap = time.Since(a.held)
	a.unguard(ctx)
	// The ledger's turn comes after the guards: the proxies hear of their own of what is
	// published, and a store that writes an entry down meanwhile is slower to tell them.
	recorded := a.r.recordChange(ctx, was, next, "controller")
	proxies, err := a.r.askProxies(ctx, next.Revision, false, time.Second)
	a.missing = proxies.missing // the gates refuse what they would route wrongly
	return errors.Join(recorded, err)
}

// tidy does what can wait; the reconciler does it again where it fails.
func (a *attempt) tidy(ctx context.Context) error {
	a.calm(ctx)
	o, err := a.r.observe(ctx)
	if err == nil {
		err = a.r.tidy(ctx, o)
	}
	if err != nil {
		a.r.log.Warn("tidy up after the switch; it is tried again", "error", err)
	}
	return nil
}

// calm waits a moment until what was held is through: tidying makes writers wait, and
// those have waited.
func (a *attempt) calm(ctx context.Context) {
	const enough, look = 2 * time.Second, 20 * time.Millisecond
	for end := time.Now().Add(enough); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, look) {
		proxies, err := a.r.askProxies(ctx, 0, false, 0)
		if err != nil || !slices.ContainsFunc(proxies.serving, func(s capability.Serving) bool { return s.Held > 0 }) {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
