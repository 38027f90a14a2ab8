package model

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"strangler/capability"
	"strangler/controller"
)

// A fault is what goes wrong with one call.
type fault uint8

const (
	fine    fault = iota
	fails         // nothing happens, and the caller hears an error
	unheard       // it happens, and the caller hears an error
	blind         // of a publishing: the same, and what is stored cannot be read either
)

var errAway = errors.New("it is away")

// theatre is everything around one controller of the product. What its calls answer
// is decided by the model, which has to know each of them: cast is all that the model
// could be in after what was played. Faults are by the number of the call.
type theatre struct {
	*testing.T
	model  *Model
	faults map[int]fault
	outage int // the call after which nothing answers, until just before a lease is over

	mu      sync.Mutex
	cast    map[key]state // guarded by mu
	playing bool          // faults count; guarded by mu
	hearing bool          // documents and states are read again; guarded by mu
	calls   int           // guarded by mu
	until   time.Time     // nothing answers; guarded by mu
	stored  capability.Effective
	doc     capability.Document
	blinded bool   // the next reading of the stored state fails; guarded by mu
	unlike  bool   // rows differ; guarded by mu
	played  string // for messages; guarded by mu
}

func newTheatre(t *testing.T, faults map[int]fault, outage int) *theatre {
	s := start()
	m := New(Bounds{Controllers: 1, Proxies: 1, Begin: 6, Wire: 1, Errors: true}, 0)
	h := &theatre{T: t, model: m, faults: faults, outage: outage, cast: map[key]state{s.pack(): s},
		doc:    capability.Document{Name: "orders", Revision: "this", Data: &capability.Data{State: capability.DataRunning}, Traffic: capability.Traffic{Owner: capability.Legacy}},
		stored: capability.Effective{Capability: "orders", Revision: 1, Epoch: 1, Owner: capability.Legacy, Phase: capability.Steady, HasData: true, Shared: true}}
	return h
}

// next takes the number of a call and says what goes wrong with it.
func (h *theatre) next(ctx context.Context, what string) fault {
	if !h.playing {
		return fine
	}
	h.calls++
	f := h.faults[h.calls]
	if h.calls == h.outage {
		h.until = time.Now().Add(capability.DefaultTimes().Lease - 20*time.Millisecond)
	} else if time.Now().Before(h.until) || ctx.Err() != nil {
		f = fails
	}
	h.played += fmt.Sprintf("%d. %s %v\n", h.calls, what, [...]string{"", "fails", "goes unheard", "goes unheard, and the store does not answer"}[f])
	return f
}

// now is a state of the model: databases and store are the same in all of them.
func (h *theatre) now() state {
	for _, s := range h.cast {
		return s
	}
	return start()
}

// play moves the model on by what wanted knows: a call that the product has made. What
// a controller does without a call may come before it. Still says that it may also
// change nothing.
func (h *theatre) play(what string, still bool, wanted func(l label, before, after *state) bool) {
	before := h.silent()
	after := map[key]state{}
	for k, s := range before {
		if still {
			after[k] = s
		}
		h.model.successors(&s, func(l label, next state, _ bool) {
			if wanted(l, &s, &next) {
				h.model.settle(&next)
				after[next.pack()] = next
			}
		})
	}
	if len(after) == 0 {
		for _, s := range before {
			h.Errorf("the model does not know that it can be %s, at %d: %s\n%s", what, s.ctl[0].at, s.ctl[0].cached, h.played)
		}
		return
	}
	h.cast = after
}

// silent is everything that the model can be in without a call.
func (h *theatre) silent() map[key]state {
	all := map[key]state{}
	var queue []state
	add := func(s state) {
		if k := s.pack(); all[k] == (state{}) {
			all[k] = s
			queue = append(queue, s)
		}
	}
	for _, s := range h.cast {
		add(s)
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		h.model.successors(&s, func(l label, next state, _ bool) {
			putOff := l.verb == sends && l.b == isLost && s.ctl[0].at == tidying // after a failure, for longer and longer
			if l.verb == beginsSwitch || l.verb == hears || putOff {
				h.model.settle(&next)
				add(next)
			}
		})
	}
	return all
}

func (h *theatre) connect(context.Context, capability.Document, uint64) (*controller.Data, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range 2 {
		h.play("connected", false, func(l label, _, _ *state) bool { return l.verb == connects })
	}
	return &controller.Data{Mover: h, Handover: h, Border: h, Gates: h, Guards: h, Close: func() {}}, nil
}

// Read reads both gates; of a reading that fails the model may have seen the first.
func (h *theatre) Read(ctx context.Context) (l, e capability.Gate, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next(ctx, "read the gates") != fine {
		h.play("unable to read the gates", true, func(l label, _, _ *state) bool { return l.verb == reads && l.b == 1 })
		return l, e, errAway
	}
	now := h.now()
	h.play("reading legacy's gate", false, func(l label, _, _ *state) bool { return l.verb == looks || l.verb == reads && l.b == 0 })
	h.play("reading extracted's gate", false, func(l label, _, _ *state) bool { return l.verb == sees && l.a == 0 || l.verb == reads && l.b == 0 })
	l, e = h.model.product.pair(now.gate(legacy), now.gate(extracted))
	return l, e, nil
}

// send is a statement that the product sends: the model must be about to send it.
func (h *theatre) send(ctx context.Context, want statement) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	what := fmt.Sprintf("sending %+v", want)
	about := func(s *state) bool {
		is := s.ctl[0].want
		if want.kind == seal || want.kind == disable {
			is.to = want.to
		}
		return is == want
	}
	switch h.next(ctx, statementWords(want)) {
	case fails:
		h.play(what, false, func(l label, before, _ *state) bool { return l.verb == sends && l.b == isLost && about(before) })
		return errAway
	case unheard, blind:
		h.play(what, false, func(l label, before, _ *state) bool { return l.verb == sends && l.b == goesLater && about(before) })
		taken := false // it comes at once, and perhaps to a gate that is another by now
		h.play("delivered", false, func(l label, _, _ *state) bool { taken = taken || l.verb == arrivesLate; return l.verb == arrivesLate })
		return errAway
	case fine:
	}
	before := h.now()
	answer := h.model.execute(&before, want, true)
	how := map[outcome]uint8{done: goesWell, refused: isLate, busy: waitsTooLong}[answer]
	h.play(what, false, func(l label, before, _ *state) bool { return l.verb == sends && l.b == how && about(before) })
	if answer != done {
		return capability.ErrGate
	}
	return nil
}

func (h *theatre) Close(ctx context.Context, on capability.Side, from, to uint64, _ time.Duration, _ string) error {
	return h.send(ctx, statement{kind: shut, on: sideOf(on), from: uint8(from), to: uint8(to)})
}

func (h *theatre) Seal(ctx context.Context, on capability.Side, closing uint64) error {
	return h.send(ctx, statement{kind: seal, on: sideOf(on), from: uint8(closing), to: uint8(closing) + 1})
}

func (h *theatre) Open(ctx context.Context, on capability.Side, from, to uint64) error {
	return h.send(ctx, statement{kind: openIt, on: sideOf(on), from: uint8(from), to: uint8(to)})
}

func (h *theatre) SealOpen(ctx context.Context, on capability.Side, from, to uint64) error {
	return h.send(ctx, statement{kind: sealOpen, on: sideOf(on), from: uint8(from), to: uint8(to)})
}

func (h *theatre) Disable(ctx context.Context, on capability.Side, epoch uint64, _ time.Duration) error {
	h.mu.Lock()
	tidy := !h.now().db[sideOf(on)].guarded // which the model knows without asking
	h.mu.Unlock()
	if tidy {
		return nil
	}
	return h.send(ctx, statement{kind: disable, on: sideOf(on), from: uint8(epoch)})
}

// Publish is compare-and-set in the store. What differs in nothing that is modelled,
// as how an attempt ended, the model does not hear of.
func (h *theatre) Publish(ctx context.Context, next capability.Effective) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if inModel(next) == inModel(h.stored) && next.Revision == h.stored.Revision+1 {
		h.stored = next
		return nil
	}
	how := map[fault]uint8{fine: goesWell, fails: isLost, unheard: isUnheard, blind: isUnknown}
	f := h.next(ctx, "publish "+inModel(next).String())
	if next.Revision != h.stored.Revision+1 {
		f, how[fine] = fine, isLate
	}
	h.play("publishing", false, func(l label, _, after *state) bool {
		stored := after.store
		stored.revision = 0
		return l.verb == publishes && l.b == how[f] && (f == fails || how[f] == isLate || stored == inModel(next))
	})
	if f != fails && how[f] != isLate {
		h.stored = next
	}
	h.blinded = f == blind || f == fails
	if f != fine || how[f] == isLate {
		return errAway
	}
	return nil
}

func inModel(s capability.Effective) effective {
	e := effective{switching: s.Phase == capability.Switching, owner: sideOf(s.Owner), epoch: uint8(s.Epoch)}
	if s.Attempt != nil && s.Attempt.Outcome == capability.Running {
		e.running = 1 + uint8(sideOf(s.Attempt.To))
	}
	return e
}

// Effective is what is stored.
func (h *theatre) Effective(context.Context) (map[string]capability.Effective, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.blinded {
		h.blinded = false
		return nil, errAway
	}
	return map[string]capability.Effective{"orders": h.stored}, nil
}

// Serving is the one proxy. It hears of every state at once.
func (h *theatre) Serving(ctx context.Context, _ capability.Registration, _ string, revision uint64, idle bool, _ time.Duration) (capability.Serving, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !idle {
		return capability.Serving{Proxy: "P", Revision: h.stored.Revision}, nil
	}
	h.play("heard by the proxy", true, func(l label, _, _ *state) bool { return l.verb == hearsProxy })
	holds := h.next(ctx, "ask the proxy") == fine
	h.play("asking the proxy", false, func(l label, _, _ *state) bool { return l.verb == asks && (l.b == 0) == holds && l.b != 1 })
	return capability.Serving{Proxy: "P", Revision: revision, Holding: holds}, nil
}

func (h *theatre) Registered(context.Context) ([]capability.Registration, error) {
	return []capability.Registration{{ID: "P"}}, nil
}

// WaitMarker tells the model whether the marker is applied and no row differs.
func (h *theatre) WaitMarker(ctx context.Context, _ capability.Side, _ string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.next(ctx, "wait for the marker, and compare")
	h.play("draining", false, func(l label, _, _ *state) bool { return l.verb == drains && (l.a == 0) == (f == fine) })
	h.unlike = f == unheard || f == blind
	if f == fails {
		return errAway
	}
	return nil
}

func (h *theatre) VerifyChanged(context.Context, capability.Side) ([]capability.Mismatch, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unlike {
		return []capability.Mismatch{{Table: "orders"}}, nil
	}
	return nil, nil
}

// The documents are read once, and again when the states are to be heard of.
func (h *theatre) Load(context.Context) ([]capability.Document, []capability.Problem, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.hearing && h.playing {
		return nil, nil, errAway
	}
	return []capability.Document{h.doc}, nil, nil
}

func (h *theatre) Edit(_ context.Context, _ string, e capability.Edit) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Owner != nil {
		h.doc.Traffic.Owner = *e.Owner
	}
	if e.Weight != nil {
		h.doc.Traffic.Weight = *e.Weight
	}
	return h.doc.Revision, nil
}

func (h *theatre) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (h *theatre) Status() capability.DataStatus {
	return capability.DataStatus{Phase: capability.PhaseFollowing, Verify: &capability.VerifyStatus{FinishedAt: time.Unix(1, 0)},
		Streams: []capability.StreamStatus{{From: capability.Legacy, Live: true}, {From: capability.Extracted, Live: true}}}
}

// What follows says nothing that the model would have to hear.
func (h *theatre) Watch(context.Context) <-chan struct{}                        { return nil }
func (h *theatre) Append(context.Context, capability.Entry) error               { return nil }
func (h *theatre) Rest(ctx context.Context) error                               { <-ctx.Done(); return nil }
func (h *theatre) UnverifiedKeys(capability.Side) int                           { return 0 }
func (h *theatre) DropBorder(context.Context) error                             { return nil }
func (h *theatre) RestoreBorder(context.Context) error                          { return nil }
func (h *theatre) Yield(context.Context, capability.Side) error                 { return nil }
func (h *theatre) Reset(context.Context, bool, func(capability.Progress)) error { return nil }
func (h *theatre) Ledger(context.Context, string, int) ([]capability.Entry, error) {
	return nil, nil
}
func (h *theatre) Mark(context.Context, capability.Side) (capability.Mark, error) {
	return capability.Mark{}, nil
}
func (h *theatre) Verify(context.Context, capability.Side, func(capability.Progress)) (capability.VerifyStatus, error) {
	return capability.VerifyStatus{}, nil
}
func (h *theatre) CarrySequences(context.Context, capability.Side, *capability.Data) error {
	return nil
}
func (h *theatre) Foresee(context.Context, capability.Side, *capability.Data) ([]string, error) {
	return nil, nil
}
func (h *theatre) Obstacles(context.Context, capability.Side) ([]string, error) { return nil, nil }
