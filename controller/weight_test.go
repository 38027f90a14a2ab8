package controller

import (
	"context"
	"errors"
	"strings"
	"testing"

	"strangler/capability"
)

// A share is not given to a side that nobody answers for; one that has failed is
// left all the same.
func TestAWeightIsNotRaisedToASideThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r := w.reconciler(t)
	if err := w.look(t, r); err != nil {
		t.Fatal(err)
	}
	w.running()
	set := func(weight capability.Weight) error {
		return r.SetTraffic(t.Context(), capability.Edit{Weight: &weight}, "ann")
	}
	if err := set(1000); err != nil {
		t.Fatal(err)
	}
	dead := errors.New("connection refused")
	r.options.Healthy = func(_ context.Context, _ capability.Document, side capability.Side) error {
		if side == capability.Extracted {
			return dead
		}
		return nil
	}
	err := set(5000)
	if !errors.Is(err, dead) || !strings.Contains(err.Error(), "the extracted side of orders takes no requests") {
		t.Errorf("raised with nobody there: %v", err)
	}
	if w.doc.Traffic.Weight != 1000 || w.state.Weight != 1000 {
		t.Errorf("the document asks for %s, and %s is in effect", w.doc.Traffic.Weight, w.state.Weight)
	}
	last := w.ledger[len(w.ledger)-1]
	if last.Actor != "ann" || last.Action != "traffic" || last.To != "weight 50%" || !strings.Contains(last.Outcome, "connection refused") {
		t.Errorf("the ledger says %+v", last)
	}
	for _, weight := range []capability.Weight{1000, 500, 0} {
		if err := set(weight); err != nil || w.state.Weight != weight {
			t.Errorf("to %s: %v, and %s is in effect", weight, err, w.state.Weight)
		}
	}
}
