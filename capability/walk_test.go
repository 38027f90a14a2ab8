package capability

import (
	"slices"
	"testing"
)

// walked takes every step of the plan but fails at one, and returns what was done
// and what was taken back.
func walked(failing StepName, unknown bool) (taken, undone []StepName, end Walk) {
	var w Walk
	for {
		step, undo, ok := w.Next()
		switch {
		case !ok:
			return taken, undone, w
		case undo:
			undone = append(undone, step.Name)
			w = w.Done()
		case step.Name == failing:
			w = w.Failed(unknown)
		default:
			taken = append(taken, step.Name)
			w = w.Done()
		}
	}
}

// TestAWalkTakesBackWhatItHasDone, the step that failed among it, or goes on from
// the commit point.
func TestAWalkTakesBackWhatItHasDone(t *testing.T) {
	t.Parallel()
	var before []StepName // steps with an undo, the last first
	committed := false
	for i, step := range SwitchPlan {
		if step.Undo != "" {
			before = slices.Insert(before, 0, step.Name)
		}
		taken, undone, end := walked(step.Name, false)
		if len(taken) != i {
			t.Errorf("%s fails: %v were taken", step.Name, taken)
		}
		if committed {
			if len(undone) > 0 || !end.Left() {
				t.Errorf("%s fails behind the commit point: %v are taken back", step.Name, undone)
			}
		} else if !slices.Equal(undone, before) || end.Left() || end.Committed() {
			t.Errorf("%s fails: %v are taken back, not %v", step.Name, undone, before)
		}
		if _, undone, end := walked(step.Name, true); len(undone) > 0 || !end.Left() {
			t.Errorf("%s fails, and nobody knows how: %v are taken back", step.Name, undone)
		}
		committed = committed || step.Commit
	}
	if taken, undone, end := walked("", false); len(taken) != len(SwitchPlan) || len(undone) > 0 || end.Left() || !end.Committed() {
		t.Errorf("nothing fails: %v, %v, %+v", taken, undone, end)
	}
}

// TestAWalkIsStopped before a step that nobody wants to take, but not behind the
// commit point.
func TestAWalkIsStopped(t *testing.T) {
	t.Parallel()
	for n := range len(SwitchPlan) + 1 {
		var w Walk
		for range n {
			w = w.Done()
		}
		committed := w.Committed()
		w = w.Stopped()
		var undone []StepName
		for step, undo, ok := w.Next(); ok && undo; step, undo, ok = w.Next() {
			undone = append(undone, step.Name)
			w = w.Done()
		}
		var want []StepName
		for _, step := range SwitchPlan[:n] {
			if !committed && step.Undo != "" {
				want = slices.Insert(want, 0, step.Name)
			}
		}
		if !slices.Equal(undone, want) {
			t.Errorf("stopped behind %d steps: %v are taken back, not %v", n, undone, want)
		}
	}
}
