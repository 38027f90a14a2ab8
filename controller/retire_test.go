package controller

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

// ending is a retirement in memory.
type ending struct {
	uses, seen []capability.Use
	begun      bool
	steps      []string
	onRetire   error
	onWatch    func()
}

func (e *ending) Retiring(context.Context) (bool, error) { return e.begun, nil }

func (e *ending) Uses(context.Context) ([]capability.Use, error) { return e.uses, nil }

func (e *ending) Watch(context.Context, time.Duration, func(capability.Progress)) ([]capability.Use, error) {
	e.steps = append(e.steps, "watch")
	if e.onWatch != nil {
		e.onWatch()
	}
	return e.seen, nil
}

func (e *ending) Retire(_ context.Context, dry bool, _ func(capability.Progress)) error {
	if dry {
		return nil
	}
	e.steps, e.begun = append(e.steps, "retire"), true
	return e.onRetire
}

func (e *ending) Forget(_ context.Context, dry bool, _ func(capability.Progress)) error {
	if dry {
		return nil
	}
	e.steps, e.begun = append(e.steps, "forget"), false
	return nil
}

// owning is a world in which extracted owns, with every reader.
func owning(t *testing.T) (*world, *Reconciler) {
	t.Helper()
	w := newWorld()
	w.gates[0].State, w.gates[0].Epoch = capability.Sealed, 3
	w.gates[1].State, w.gates[1].Epoch = capability.Open, 4
	w.state.Owner, w.state.Weight, w.state.Epoch = capability.Extracted, capability.Whole, 4
	w.doc.Traffic.Owner, w.doc.Traffic.Weight = capability.Extracted, capability.Whole
	r := w.reconciler(t)
	if err := w.look(t, r); err != nil {
		t.Fatal(err)
	}
	return w, r
}

func ignore(capability.Progress) {}

func TestRetireStopsTheMoverAndMarks(t *testing.T) {
	w, r := owning(t)
	mover := w.running()
	w.ending.onWatch = func() {
		if mover.Err() == nil {
			t.Error("the mover reads while readers are watched")
		}
		if err := w.look(t, r); err != nil { // the loop goes on, and does not start it
			t.Error(err)
		}
		if _, err := r.Retire(t.Context(), RetireOptions{Observe: time.Second}, "test", ignore); err == nil || !strings.Contains(err.Error(), "running already") {
			t.Errorf("a second one: %v", err)
		}
		select {
		case <-w.movers:
			t.Error("the mover was started while readers are watched")
		default:
		}
	}
	result, err := r.Retire(t.Context(), RetireOptions{Observe: time.Second}, "test", ignore)
	if err != nil || result.Retired.IsZero() || result.Already {
		t.Fatalf("%+v, %v", result, err)
	}
	if !slices.Equal(w.ending.steps, []string{"watch", "retire", "forget"}) {
		t.Errorf("steps: %q", w.ending.steps)
	}
	if e := w.state; e.Owner != capability.Extracted || e.Weight != capability.Whole || e.Shared || !e.HasData || !e.Retired.Equal(result.Retired) || e.Epoch == 0 {
		t.Errorf("published: %+v", e)
	}
	if last := w.ledger[len(w.ledger)-1]; last.Action != "retire" || last.Outcome != "done" {
		t.Errorf("ledger: %+v", last)
	}
	if result, err := r.Retire(t.Context(), RetireOptions{Observe: time.Second}, "test", ignore); err != nil || !result.Already {
		t.Errorf("again: %+v, %v", result, err)
	}
	if _, err := r.Switch(t.Context(), capability.Legacy, SwitchOptions{}, "test", ignore); err == nil || !strings.Contains(err.Error(), "no way back") {
		t.Errorf("a rollback: %v", err)
	}
}

// TestRetireRefused: nothing has begun then, and the mover runs again.
func TestRetireRefused(t *testing.T) {
	for name, change := range map[string]func(*world, *RetireOptions){
		"is read": func(w *world, _ *RetireOptions) {
			w.ending.seen = []capability.Use{{Kind: capability.UseScans, What: "is read"}}
		},
		"is used": func(w *world, _ *RetireOptions) {
			w.ending.uses = []capability.Use{{Kind: capability.UseDependents, What: "is used"}}
		},
		"--despite copies,scans": func(w *world, o *RetireOptions) {
			o.Despite = []capability.UseKind{capability.UseCopies}
			w.ending.uses = []capability.Use{{Kind: capability.UseCopies, What: "is fed"}}
			w.ending.seen = []capability.Use{{Kind: capability.UseScans, What: "is read"}}
		},
		"legacy owns": func(w *world, _ *RetireOptions) { w.state.Owner = capability.Legacy },
		"50%":         func(w *world, _ *RetireOptions) { w.state.Weight = 5000 },
	} {
		t.Run(name, func(t *testing.T) {
			w, r := owning(t)
			o := RetireOptions{Observe: time.Second}
			change(w, &o)
			r.mu.Lock()
			r.state = w.state
			r.mu.Unlock()
			if _, err := r.Retire(t.Context(), o, "test", ignore); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%v", err)
			}
			if slices.Contains(w.ending.steps, "retire") || !w.state.Retired.IsZero() {
				t.Errorf("it has begun: %q", w.ending.steps)
			}
			if err := w.look(t, r); err != nil {
				t.Error(err)
			}
			if mover := w.running(); mover.Err() != nil {
				if mover = w.running(); mover.Err() != nil { // that from before, and that from after
					t.Error("the mover does not run again")
				}
			}
		})
	}
}

// TestRetireGoesOn: what has begun asks nothing any more.
func TestRetireGoesOn(t *testing.T) {
	w, r := owning(t)
	broken := errors.New("broken")
	w.ending.onRetire = broken
	if _, err := r.Retire(t.Context(), RetireOptions{Observe: time.Second}, "test", ignore); !errors.Is(err, broken) {
		t.Fatalf("%v", err)
	}
	if last := w.ledger[len(w.ledger)-1]; last.Action != "retire" || !strings.Contains(last.Outcome, "broken") {
		t.Errorf("ledger: %+v", last)
	}
	w.ending.onRetire, w.ending.seen, w.ending.steps = nil, []capability.Use{{Kind: capability.UseScans, What: "is read"}}, nil
	if _, err := r.Retire(t.Context(), RetireOptions{Observe: time.Second}, "test", ignore); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.ending.steps, []string{"retire", "forget"}) {
		t.Errorf("steps: %q", w.ending.steps)
	}
}

func TestDecideRetired(t *testing.T) {
	o := following()
	o.Gates, o.Retired = nil, time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	o.Document.Traffic = capability.Traffic{Owner: capability.Extracted, Weight: capability.Whole}
	o.Document.Data.State = capability.DataRetired
	o.Effective = capability.Initial("orders", true) // nobody knows anything but the document
	d := Decide(o)
	if d.Publish == nil || d.Switch != "" || d.Publish.Owner != capability.Extracted || d.Publish.Weight != capability.Whole || d.Publish.Refused != "" {
		t.Fatalf("%+v", d.Publish)
	}
	o.Effective = *d.Publish
	if d := Decide(o); d.Publish != nil || d.Switch != "" {
		t.Errorf("decided again: %+v", d.Publish)
	}
	o.Document.Traffic.Owner = capability.Legacy
	if d := Decide(o); d.Switch != "" || d.Publish == nil || d.Publish.Owner != capability.Extracted || !strings.Contains(d.Publish.Refused, "for good") {
		t.Errorf("the document wants it back: %+v", d)
	}
	o.Document.Data, o.Document.Traffic.Owner = nil, capability.Extracted
	if d := Decide(o); d.Publish != nil {
		t.Errorf("without its data section: %+v", d.Publish)
	}
}

// TestRetiredByHand: a document that says so too early is not believed while
// there are gates, and the streams go on.
func TestRetiredByHand(t *testing.T) {
	w, r := owning(t)
	w.running()
	r.mu.Lock()
	r.doc.Data.State = capability.DataRetired
	r.mu.Unlock()
	r.stopData() // as after a restart
	for range 2 {
		if err := w.look(t, r); err != nil {
			t.Fatal(err)
		}
	}
	if mover := w.running(); mover.Err() != nil {
		t.Error("the streams do not go on")
	}
	if !w.state.Retired.IsZero() || !strings.Contains(w.state.Refused, "strangler retire orders") {
		t.Errorf("published: %+v", w.state)
	}
}
