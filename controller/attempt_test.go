package controller

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

func silent(capability.Progress) {}

// What the plan says is what is bound to it: nothing to do, or to take back, is
// without code.
func TestEveryStepIsBound(t *testing.T) {
	t.Parallel()
	steps := new(attempt).bind()
	for _, row := range capability.SwitchPlan {
		if s := steps[row.Name]; s.do == nil || (s.undo != nil) != (row.Undo != "") {
			t.Errorf("%s: the plan takes it back by %q, and there is code to do it %v, to take it back %v", row.Name, row.Undo, s.do != nil, s.undo != nil)
		}
	}
	if len(steps) != len(capability.SwitchPlan) {
		t.Errorf("%d steps are bound, the plan has %d", len(steps), len(capability.SwitchPlan))
	}
}

// A switch that stops behind its commit point is finished by the controller. The
// document must not ask for the old owner by then.
func TestDocumentStaysBehindTheCommitPoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.reconciler(t)
		if err := w.look(t, r); err != nil {
			t.Fatal(err)
		}
		w.onOpen = errAway
		if _, err := r.Switch(t.Context(), capability.Extracted, SwitchOptions{}, "test", silent); !errors.Is(err, errAway) {
			t.Fatal(err)
		}
		w.onOpen = nil
		for range 8 {
			if err := w.look(t, r); err != nil {
				t.Fatal(err)
			}
		}
		if w.state.Owner != capability.Extracted || w.doc.Traffic.Owner != capability.Extracted || w.gates[1].State != capability.Open {
			t.Errorf("state %+v, document %s, gates %+v", w.state, w.doc.Traffic.Owner, w.gates)
		}
	})
}

// A sealing whose answer was lost may still be under way while the gate reads as
// closing: undoing has to rule it out first.
func TestLateSealingCannotFollowAnUndo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.reconciler(t)
		if err := w.look(t, r); err != nil {
			t.Fatal(err)
		}
		w.onSeal = func() error { return context.DeadlineExceeded }
		a := &attempt{r: r, data: r.working().data, from: capability.Legacy, to: capability.Extracted, report: silent}
		if err := a.close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := a.seal(t.Context()); err == nil || errors.Is(err, errUnknown) {
			t.Fatalf("%v: the gate tells that it was not sealed", err)
		}
		w.onSeal = nil
		if err := w.Seal(t.Context(), capability.Legacy, a.closing); !errors.Is(err, capability.ErrGate) {
			t.Errorf("the late sealing: %v; gates %+v", err, w.gates)
		}
	})
}

// The foreign keys come back although the undoing could not bring them, and not
// at every look.
func TestBorderIsRestoredAfterAFailedUndo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.reconciler(t)
		if err := w.look(t, r); err != nil || w.restored != 1 {
			t.Fatal(err, w.restored)
		}
		a := &attempt{r: r, data: r.working().data, from: capability.Legacy, to: capability.Extracted, report: silent}
		if err := a.dropBorder(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.onRestore = capability.ErrBusy
		for range 20 {
			if err := w.look(t, r); !errors.Is(err, capability.ErrBusy) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if w.restored < 2 || w.restored > 4 {
			t.Errorf("tried %d times in two seconds", w.restored-1)
		}
		w.onRestore = nil
		time.Sleep(time.Minute)
		if err := w.look(t, r); err != nil {
			t.Error(err)
		}
	})
}

// The mover is not the command's that happened to look first, and nobody starts
// one when the loop has ended.
func TestMoverOutlivesTheCommandThatStartedIt(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r := w.reconciler(t)
	ctx, cancel := context.WithCancel(t.Context())
	if err := r.lookNow(ctx); err != nil {
		t.Fatal(err)
	}
	running, work := w.running(), r.working()
	cancel()
	if running.Err() != nil {
		t.Error("the mover ended with the command")
	}
	r.end()
	if running.Err() == nil {
		t.Error("the mover goes on without its controller")
	}
	if work.start(t.Context()); work.stop != nil {
		t.Error("a mover was started on connections that are closed")
	}
	if err := r.lookNow(t.Context()); !errors.Is(err, errEnded) || r.working() != nil {
		t.Error(err)
	}
}

// A data section that goes missing under a move changes nothing but the message.
func TestDataSectionGoneUnderAMove(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.gates = *pair(capability.Sealed, 3, capability.Open, 4)
	w.state.Owner, w.state.Epoch, w.state.Weight = capability.Extracted, 4, capability.Whole
	w.doc.Traffic.Owner, w.doc.Traffic.Weight = capability.Extracted, capability.Whole
	r := w.reconciler(t)
	if err := w.look(t, r); err != nil {
		t.Fatal(err)
	}
	w.doc.Data, w.doc.Revision, w.doc.Traffic.Owner = nil, "without", capability.Legacy
	r.document(w.doc)
	var revision uint64
	for i := range 8 {
		if err := w.look(t, r); err != nil {
			t.Fatal(err)
		}
		if i == 4 {
			revision = w.state.Revision
		}
	}
	if s := w.state; s.Owner != capability.Extracted || !s.HasData || s.Refused == "" || s.Revision != revision {
		t.Errorf("%+v, revision %d before", s, revision)
	}
}

// away is a database that does not answer.
type away struct{}

func (away) Refused(ctx context.Context, _ capability.Side) (capability.Refusals, error) {
	<-ctx.Done()
	return capability.Refusals{}, context.Cause(ctx)
}

// gone is a database that answers once.
type gone struct{ asked int }

func (g *gone) Refused(ctx context.Context, side capability.Side) (capability.Refusals, error) {
	if g.asked++; g.asked > 1 {
		return away{}.Refused(ctx, side)
	}
	return capability.Refusals{Count: 5}, nil
}

// TestASwitchDoesNotWaitForACount: the old owner's database may be gone behind the commit
// point. What it has refused cannot be told then, and is not less than nothing.
func TestASwitchDoesNotWaitForACount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.reconciler(t)
		if err := w.look(t, r); err != nil {
			t.Fatal(err)
		}
		r.working().data.Refusals = &gone{}
		began := time.Now()
		result, err := r.Switch(t.Context(), capability.Extracted, SwitchOptions{}, "somebody", func(capability.Progress) {})
		if err != nil || result.Refused.Count != 0 || time.Since(began) > 3*time.Second {
			t.Errorf("%+v after %s: %v", result, time.Since(began), err)
		}
	})
}

// A status is asked for when something is away: it does not wait for that.
func TestAStatusWaitsForNoDatabase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.reconciler(t)
		if err := w.look(t, r); err != nil {
			t.Fatal(err)
		}
		r.working().data.Refusals = away{}
		asked := time.Now()
		if s := r.Status(t.Context(), nil); s.Effective.Owner != capability.Legacy || s.Data.Refused[capability.Legacy].Count != 0 {
			t.Errorf("%+v", s)
		}
		if took := time.Since(asked); took > refusedIn {
			t.Errorf("a status took %s", took)
		}
	})
}

// The clocks of proxies may be wrong, or the controller's: who has not renewed its
// registration for long is gone only if it does not answer either.
func TestClocksMakeNoProxyGone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		more   capability.Registration
		silent string
		want   []string // answer, are missed
	}{
		"lapsed, and answers":          {capability.Registration{ID: "q", Lapsed: true}, "", []string{"2", "0"}},
		"lapsed, and silent":           {capability.Registration{ID: "q", Lapsed: true}, "q", []string{"1", "0"}},
		"renewed, and silent":          {capability.Registration{ID: "q"}, "q", []string{"1", "1"}},
		"nobody answers that is there": {capability.Registration{ID: "q", Lapsed: true}, "p", []string{"1", "1"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.more, w.silent = []capability.Registration{test.more}, test.silent
			began := time.Now()
			all, err := w.reconciler(t).askProxies(t.Context(), 1, true, time.Second)
			if err != nil || fmt.Sprint(len(all.serving)) != test.want[0] || fmt.Sprint(len(all.missing)) != test.want[1] {
				t.Errorf("%s: %d answer, %v do not: %v", name, len(all.serving), all.missing, err)
			}
			if took := time.Since(began); test.more.Lapsed && test.silent == "q" && took > lapsedAnswer {
				t.Errorf("%s: a switch waits %s for one that is gone", name, took)
			}
		})
	}
}

// What would be wrong behind a switch refuses it before a write is held, and shows
// in a dry run.
func TestASwitchIsRefusedForWhatIsForeseen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.foreseen = []string{"3 rows of items break foreign key ordered", "and more"}
		r := w.reconciler(t)
		if err := w.look(t, r); err != nil {
			t.Fatal(err)
		}
		lines, err := r.DryRun(t.Context(), capability.Extracted, SwitchOptions{})
		if err != nil || !slices.ContainsFunc(lines, func(p capability.Progress) bool {
			return p.State == "failed" && p.Message == "3 rows of items break foreign key ordered; and more"
		}) {
			t.Errorf("a dry run: %+v, %v", lines, err)
		}
		before := w.gates
		_, err = r.Switch(t.Context(), capability.Extracted, SwitchOptions{}, "test", silent)
		if err == nil || !strings.Contains(err.Error(), "ordered; and more") {
			t.Errorf("switched: %v", err)
		}
		if w.gates != before || w.state.Waited != 0 || w.state.Owner != capability.Legacy {
			t.Errorf("gates %+v, state %+v", w.gates, w.state)
		}
	})
}

// TestASwitchWaitsForAMoverThatHasJustStarted: a controller that was started a moment ago
// does not tell whoever types cutover that the data are not there.
func TestASwitchWaitsForAMoverThatHasJustStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.reconciler(t)
		if err := w.look(t, r); err != nil {
			t.Fatal(err)
		}
		w.preparing = 5
		if _, err := r.Switch(t.Context(), capability.Extracted, SwitchOptions{}, "somebody", func(capability.Progress) {}); err != nil {
			t.Errorf("with a mover that prepares: %v", err)
		}
		w.preparing = 5
		lines, err := r.DryRun(t.Context(), capability.Legacy, SwitchOptions{})
		if err != nil || slices.ContainsFunc(lines, func(p capability.Progress) bool { return p.State == "failed" }) {
			t.Errorf("%+v, %v", lines, err)
		}
	})
}

// A stream that has just begun catches up within a moment: a preflight waits for that,
// also where all rows are to be compared first.
func TestAPreflightWaitsForAStreamThatCatchesUp(t *testing.T) {
	t.Parallel()
	for _, unverified := range []int{0, math.MaxInt} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			r := w.reconciler(t)
			if err := w.look(t, r); err != nil {
				t.Fatal(err)
			}
			w.behind, w.unverified = 5, unverified
			lines, err := r.DryRun(t.Context(), capability.Extracted, SwitchOptions{})
			if err != nil || slices.ContainsFunc(lines, func(p capability.Progress) bool { return p.State == "failed" }) {
				t.Errorf("with %d keys to compare: %+v, %v", unverified, lines, err)
			}
		})
	}
}
