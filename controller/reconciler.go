package controller

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"strangler/capability"
)

// Reconciler looks after one capability.
type Reconciler struct {
	options Options
	name    string
	log     *slog.Logger
	wake    chan struct{} // one slot: look now
	reading *sync.Mutex   // the controller's
	ending  chan struct{} // closed when the loop ends: commands undo what they can, and go

	// acting is held by whoever changes the capability: the loop for one step, a
	// switch for its whole length. Status never waits for it.
	acting sync.Mutex
	// retiring is held by the one retirement, which watches without acting.
	retiring sync.Mutex

	mu     sync.Mutex // guards all below
	doc    capability.Document
	state  capability.Effective
	heard  capability.Effective // as it was last read from the store
	data   *work
	gates  *[2]capability.Gate
	tidied chores // what was put in order
	failed string // last error of the loop, so that it is logged once
	mended string // last mending and its outcome, so that it is recorded once
	gone   bool   // no document describes it
	// watching is while a retirement looks for readers: the mover must not be one.
	watching bool
	ended    bool // the loop has; nothing may be started any more
}

func newReconciler(o Options, reading *sync.Mutex, doc capability.Document, state capability.Effective) *Reconciler {
	return &Reconciler{options: o, name: doc.Name, log: o.Log.With("capability", doc.Name), wake: make(chan struct{}, 1), reading: reading, ending: make(chan struct{}), doc: doc.Clone(), state: state}
}

// run is the loop's shell: it looks when woken and at every tick, and stops the
// mover in the end.
func (r *Reconciler) run(ctx context.Context) {
	tick := time.NewTicker(r.options.Tick)
	defer tick.Stop()
	for {
		r.acting.Lock()
		err := r.reconcile(ctx)
		r.acting.Unlock()
		r.note(ctx, err)
		select {
		case <-ctx.Done():
			r.end()
			return
		case <-r.wake:
		case <-tick.C:
		}
	}
}

// note logs an error of the loop when it is new, and its end.
func (r *Reconciler) note(ctx context.Context, err error) {
	text := ""
	if err != nil && ctx.Err() == nil {
		text = err.Error()
	}
	r.mu.Lock()
	was := r.failed
	r.failed = text
	r.mu.Unlock()
	switch {
	case text == was:
	case text != "":
		r.log.Error("reconcile", "error", text)
	default:
		r.log.Info("reconcile works again")
	}
}

// reconcile is one look: observe, decide, act. The caller holds acting.
func (r *Reconciler) reconcile(ctx context.Context) error {
	r.adopt()
	if err := r.steerData(ctx); err != nil {
		return err
	}
	o, err := r.observe(ctx)
	if err != nil {
		return err
	}
	switch d := Decide(o); {
	case d.Verdict != nil:
		return r.mend(ctx, *o.Gates, *d.Verdict)
	case d.Publish != nil:
		return r.publish(ctx, *d.Publish, "controller")
	case d.Switch != "":
		return r.switchForDocument(ctx, o, d.Switch)
	}
	return r.tidy(ctx, o)
}

// observe reads the gates and collects what is known.
func (r *Reconciler) observe(ctx context.Context) (Observation, error) {
	doc, state, work := r.snapshot()
	o := Observation{Document: doc, Effective: state, Retired: state.Retired}
	if doc.Data == nil && state.Epoch > 0 && state.Retired.IsZero() {
		o.Refuse = "the data section is gone from the document, although a move has begun; put it back, or take the move back with it there: strangler data reset " + doc.Name
	}
	if work == nil {
		return o, nil
	}
	o.Data = work.status()
	switch {
	case doc.Data == nil:
	case work.mapping != mapping(doc.Data):
		o.Refuse = "tables or border changed under a live move; take the change back, or begin again with: strangler data reset " + doc.Name
	case work.database != doc.Data.Database:
		o.Refuse = "the address of the extracted database has changed, and this controller is connected by the one before. If it is the same database (another host name, password or setting), restart the controller: nothing is lost. If it is another one, take the change back, or begin again with: strangler data reset " + doc.Name
	}
	legacy, extracted, err := work.data.Gates.Read(ctx)
	marked := doc.Data != nil && doc.Data.State == capability.DataRetired
	switch {
	case err == nil:
		o.Gates = &[2]capability.Gate{legacy, extracted}
		if marked {
			o.Refuse = "the document says that it is retired, and it is not; write data.state: running, or finish it with: strangler retire " + doc.Name
		}
	case errors.Is(err, capability.ErrNoGate) && marked && state.Retired.IsZero():
		o.Retired = time.Now().UTC()
	case errors.Is(err, capability.ErrNoGate): // not made yet
	default:
		r.keepGates(nil)
		return o, err
	}
	r.keepGates(o.Gates)
	return o, nil
}

func (r *Reconciler) keepGates(gates *[2]capability.Gate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gates = gates
}

// mend carries out the one action that two gates allow.
func (r *Reconciler) mend(ctx context.Context, gates [2]capability.Gate, v capability.Verdict) error {
	change, asked, err := v.Mend(gates[0], gates[1])
	if err == nil && asked {
		err = r.change(ctx, r.working().data.Gates, change, gates)
	}
	outcome := "done"
	if err != nil {
		outcome = err.Error()
	}
	again := string(v.Action) + string(v.On) + outcome
	r.mu.Lock()
	known := r.mended == again
	r.mended = again
	r.mu.Unlock()
	if known && err != nil {
		return err
	}
	r.log.Warn("mend gates", "action", string(v.Action), "side", string(v.On), "why", v.Why, "outcome", outcome)
	return errors.Join(err, r.record(ctx, capability.Entry{Actor: "controller", Action: "mend gates: " + string(v.Action), To: string(v.On), Outcome: outcome,
		Evidence: map[string]any{"why": v.Why, "legacy": gates[0], "extracted": gates[1]}}))
}

// change makes one change of a gate. One that is sealed after a restore may be
// closing: it is sealed as such, and its own lease may have run out, which the next
// look sees.
func (r *Reconciler) change(ctx context.Context, gates Gates, c capability.Change, read [2]capability.Gate) error {
	own, _ := capability.Sort(c.On, read[0], read[1])
	switch {
	case c.Event == capability.EventOpen:
		return gates.Open(ctx, c.On, c.From, c.To)
	case own.State == capability.Closing:
		return gates.Seal(ctx, c.On, c.From)
	}
	return gates.SealOpen(ctx, c.On, c.From, c.To)
}

// publish stores the next effective state and remembers it. The caller holds
// acting.
func (r *Reconciler) publish(ctx context.Context, next capability.Effective, actor string) error {
	was, err := r.store(ctx, next)
	if err != nil {
		return err
	}
	return r.recordChange(ctx, was, next, actor)
}

// store is publish without the entry in the ledger, and returns what was before.
func (r *Reconciler) store(ctx context.Context, next capability.Effective) (was capability.Effective, err error) {
	was = r.effective()
	if err := r.options.States.Publish(ctx, next); err != nil {
		return was, errors.Join(err, r.reload(ctx))
	}
	r.mu.Lock()
	r.state = next
	r.mu.Unlock()
	r.log.Info("publish", "revision", next.Revision, "owner", string(next.Owner), "weight", next.Weight.String(), "phase", string(next.Phase), "refused", next.Refused)
	return was, nil
}

// recordChange enters what has been published into the ledger, where it changes what
// clients see.
func (r *Reconciler) recordChange(ctx context.Context, was, next capability.Effective, actor string) error {
	if was.Weight == next.Weight && was.Mirror == next.Mirror && was.Owner == next.Owner && was.Refused == next.Refused {
		return nil
	}
	outcome := "done"
	if next.Refused != "" {
		outcome = "refused: " + next.Refused
	}
	return r.record(ctx, capability.Entry{Actor: actor, Action: "publish", From: describe(was), To: describe(next), Outcome: outcome,
		Evidence: map[string]any{"revision": next.Revision, "epoch": next.Epoch}})
}

// hear notes what is stored, and makes the loop look where that is somebody else's:
// a predecessor that does not know yet that it has lost the lead may have written
// it, and the proxies follow it.
func (r *Reconciler) hear(stored capability.Effective) {
	r.mu.Lock()
	r.heard = stored
	newer := stored.Revision > r.state.Revision
	r.mu.Unlock()
	if newer {
		r.look()
	}
}

// adopt takes over what was heard, if it is newer. Not while a switch is at work:
// what that publishes must fail when somebody else has published. The caller holds
// acting.
func (r *Reconciler) adopt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.heard.Revision > r.state.Revision {
		r.state = r.heard
	}
}

// reload takes over what is stored, after somebody else has written it.
func (r *Reconciler) reload(ctx context.Context) error {
	states, err := r.options.States.Effective(ctx)
	if err != nil {
		return err
	}
	if state, ok := states[r.name]; ok {
		r.mu.Lock()
		r.state = state
		r.mu.Unlock()
	}
	return nil
}

func (r *Reconciler) record(ctx context.Context, e capability.Entry) error {
	e.At, e.Capability = time.Now().UTC(), r.name
	return r.options.Ledger.Append(ctx, e)
}

func describe(s capability.Effective) string {
	words := "owner " + string(s.Owner) + ", weight " + s.Weight.String()
	if s.Mirror > 0 {
		words += ", mirror " + s.Mirror.String()
	}
	return words
}

// document takes over a new version of the capability's document.
func (r *Reconciler) document(doc capability.Document) {
	r.mu.Lock()
	changed := r.doc.Revision != doc.Revision
	r.doc = doc.Clone()
	r.mu.Unlock()
	if changed {
		r.look()
	}
}

// described says whether any document describes the capability.
func (r *Reconciler) described(is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = !is
}

// look makes the loop look now.
func (r *Reconciler) look() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Reconciler) snapshot() (capability.Document, capability.Effective, *work) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.doc, r.state, r.data
}

func (r *Reconciler) effective() capability.Effective {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

func (r *Reconciler) working() *work {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.data
}
