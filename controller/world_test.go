package controller

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"testing"
	"time"

	"strangler/capability"
)

// world is everything around one reconciler, in memory. The gates follow
// capability.Transitions; what the real ones do is tested with their adapter.
type world struct {
	doc      capability.Document
	state    capability.Effective
	gates    [2]capability.Gate
	ledger   []capability.Entry
	restored int
	movers   chan context.Context // of each mover that has begun to run; the first few

	onSeal     func() error // instead of sealing
	onOpen     error
	onRestore  error
	ending     ending
	more       []capability.Registration // of proxies, besides one
	behind     int                       // looks for which the stream lags
	preparing  int                       // looks for which the mover prepares, before
	unverified int
	foreseen   []string
	silent     string // a proxy that does not answer
}

func newWorld() *world {
	o := following()
	return &world{doc: o.Document, state: o.Effective, gates: *o.Gates, movers: make(chan context.Context, 8)}
}

func (w *world) reconciler(t *testing.T) *Reconciler {
	t.Helper()
	o := Options{Documents: w, States: w, Ledger: w, Proxies: w, Times: capability.DefaultTimes(), Log: slog.New(slog.DiscardHandler),
		Connect: func(context.Context, capability.Document, uint64) (*Data, error) {
			return &Data{Mover: w, Handover: w, Repairs: w, Border: w, Gates: w, Guards: w, Retirement: &w.ending, Close: func() {}}, nil
		},
		Healthy: func(context.Context, capability.Document, capability.Side) error { return nil }}
	w.doc.Data.State = capability.DataRunning
	r := newReconciler(o, new(sync.Mutex), w.doc, w.state)
	t.Cleanup(r.end)
	return r
}

func (w *world) look(t *testing.T, r *Reconciler) error {
	t.Helper()
	r.acting.Lock()
	defer r.acting.Unlock()
	return r.reconcile(t.Context())
}

func (w *world) Load(context.Context) ([]capability.Document, []capability.Problem, error) {
	return []capability.Document{w.doc}, nil, nil
}

func (w *world) Edit(_ context.Context, _ string, e capability.Edit) (string, error) {
	before := w.doc.Traffic
	if e.Owner != nil {
		w.doc.Traffic.Owner = *e.Owner
	}
	if e.Weight != nil {
		w.doc.Traffic.Weight = *e.Weight
	}
	if mode, ok := e.Breakers[capability.Extracted]; ok {
		w.doc.Breakers.Extracted = mode
	}
	if !reflect.DeepEqual(w.doc.Traffic, before) { // a revision is a hash of the content
		w.doc.Revision = string(w.doc.Traffic.Owner) + w.doc.Traffic.Weight.String()
	}
	return w.doc.Revision, nil
}
func (w *world) Watch(context.Context) <-chan struct{} { return nil }
func (w *world) Effective(context.Context) (map[string]capability.Effective, error) {
	return map[string]capability.Effective{"orders": w.state}, nil
}
func (w *world) Publish(_ context.Context, s capability.Effective) error { w.state = s; return nil }
func (w *world) Append(_ context.Context, e capability.Entry) error {
	w.ledger = append(w.ledger, e)
	return nil
}
func (w *world) Ledger(context.Context, string, int) ([]capability.Entry, error) {
	return w.ledger, nil
}
func (w *world) Registered(context.Context) ([]capability.Registration, error) {
	return append([]capability.Registration{{ID: "p"}}, w.more...), nil
}
func (w *world) Serving(ctx context.Context, r capability.Registration, _ string, revision uint64, idle bool, _ time.Duration) (capability.Serving, error) {
	if r.ID == w.silent {
		<-ctx.Done() // as a machine that is gone
		return capability.Serving{}, errAway
	}
	return capability.Serving{Proxy: "p", Revision: revision, Holding: idle}, nil
}

func (w *world) Run(ctx context.Context) error {
	select {
	case w.movers <- ctx:
	default:
	}
	<-ctx.Done()
	return nil
}

// running waits for the next mover to begin and returns its context.
func (w *world) running() context.Context { return <-w.movers }

func (w *world) Status() capability.DataStatus {
	s := following().Data
	if w.preparing > 0 {
		w.preparing--
		s.Phase, s.Streams, s.Verify = capability.PhasePreparing, nil, nil
		return s
	}
	if w.behind > 0 {
		w.behind--
		s.Streams[0].Lag = 2 * time.Second
	}
	return s
}
func (w *world) Mark(context.Context, capability.Side) (capability.Mark, error) {
	return capability.Mark{}, nil
}
func (w *world) Verify(context.Context, capability.Side, func(capability.Progress)) (capability.VerifyStatus, error) {
	return capability.VerifyStatus{}, nil
}
func (w *world) Repair(context.Context, capability.Side, func(capability.Progress)) (capability.VerifyStatus, error) {
	return capability.VerifyStatus{}, nil
}
func (w *world) Reset(context.Context, bool, func(capability.Progress)) error { return nil }
func (w *world) Rest(ctx context.Context) error                               { <-ctx.Done(); return nil }
func (w *world) Recover(context.Context) error                                { return nil }
func (w *world) WaitMarker(context.Context, capability.Side, string) error    { return nil }
func (w *world) UnverifiedKeys(capability.Side) int                           { return w.unverified }
func (w *world) CarrySequences(context.Context, capability.Side, *capability.Data) error {
	return nil
}

func (w *world) Foresee(context.Context, capability.Side, *capability.Data) ([]string, error) {
	return w.foreseen, nil
}
func (w *world) DropBorder(context.Context) error                                      { return nil }
func (w *world) Yield(context.Context, capability.Side) error                          { return nil }
func (w *world) Disable(context.Context, capability.Side, uint64, time.Duration) error { return nil }
func (w *world) Obstacles(context.Context, capability.Side) ([]string, error)          { return nil, nil }
func (w *world) VerifyChanged(context.Context, capability.Side) ([]capability.Mismatch, error) {
	return nil, nil
}
func (w *world) RestoreBorder(context.Context) error { w.restored++; return w.onRestore }

func (w *world) Read(context.Context) (legacy, extracted capability.Gate, err error) {
	return w.gates[0], w.gates[1], nil
}

// change is compare-and-set on one gate.
func (w *world) change(side capability.Side, from, to uint64, was, becomes capability.GateState) error {
	g := &w.gates[0]
	if side == capability.Extracted {
		g = &w.gates[1]
	}
	if g.Epoch != from || was != "" && g.State != was {
		return capability.ErrGate
	}
	g.State, g.Epoch = becomes, to
	return nil
}

func (w *world) Close(_ context.Context, side capability.Side, from, to uint64, _ time.Duration, _ string) error {
	return w.change(side, from, to, capability.Open, capability.Closing)
}

func (w *world) Seal(_ context.Context, side capability.Side, closing uint64) error {
	if w.onSeal != nil {
		return w.onSeal()
	}
	return w.change(side, closing, closing+1, capability.Closing, capability.Sealed)
}

func (w *world) Open(_ context.Context, side capability.Side, from, to uint64) error {
	if side == capability.Extracted && w.onOpen != nil {
		return w.onOpen
	}
	return w.change(side, from, to, "", capability.Open)
}

func (w *world) SealOpen(_ context.Context, side capability.Side, from, to uint64) error {
	return w.change(side, from, to, capability.Open, capability.Sealed)
}

var errAway = errors.New("the database is away")
