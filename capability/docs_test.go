package capability

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func page(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile("../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestDocsTellThePlan: the table that an operator reads has the steps of the
// plan, in its order, and the same commit point.
func TestDocsTellThePlan(t *testing.T) {
	t.Parallel()
	rows := regexp.MustCompile("(?m)^\\| (\\*\\*)?`([a-z]+)`(?:\\*\\*)? \\| (.*) \\| (.*) ?\\|$").FindAllStringSubmatch(page(t, "cutover.md"), -1)
	if len(rows) != len(SwitchPlan) {
		t.Fatalf("docs/cutover.md has %d steps, the plan %d", len(rows), len(SwitchPlan))
	}
	committed := false
	for i, row := range rows {
		step := SwitchPlan[i]
		if row[2] != string(step.Name) {
			t.Errorf("step %d is %s in docs/cutover.md and %s in the plan", i+1, row[2], step.Name)
		}
		if (row[1] != "") != step.Commit {
			t.Errorf("%s: bold in docs/cutover.md is the commit point", step.Name)
		}
		committed = committed || step.Commit
		if undone := strings.TrimSpace(row[4]); !committed && (undone != "") != (step.Undo != "") {
			t.Errorf("%s is taken back by %q in docs/cutover.md and by %q in the plan", step.Name, undone, step.Undo)
		}
	}
}

// TestDocsTellTheVerdicts: the table of docs/what-if.md is what Decide decides.
func TestDocsTellTheVerdicts(t *testing.T) {
	t.Parallel()
	does := map[Action]string{ActionNone: "nothing", ActionUndo: "opens ", ActionFinish: "opens the gate with the **lower** epoch", ActionSeal: "seals the lower epoch, opens nothing, `needs verify`"}
	rows := regexp.MustCompile(`(?m)^\| (open|sealed|closing) \| (open|sealed|closing) \| .* \| (.*) \|$`).FindAllStringSubmatch(page(t, "what-if.md"), -1)
	seen := map[[2]GateState]bool{}
	for _, row := range rows {
		states := [2]GateState{GateState(row[1]), GateState(row[2])}
		seen[states] = true
		v := Decide(gates2(states))
		want := does[v.Action]
		if v.Action == ActionUndo {
			want += string(v.On)
		}
		if row[3] != want {
			t.Errorf("%s, %s: docs/what-if.md says %q, and what happens is %q", row[1], row[2], row[3], want)
		}
	}
	for _, legacy := range []GateState{Open, Closing, Sealed} {
		for _, extracted := range []GateState{Open, Closing, Sealed} {
			if !seen[[2]GateState{legacy, extracted}] {
				t.Errorf("%s, %s is not in docs/what-if.md", legacy, extracted)
			}
		}
	}
}

func gates2(states [2]GateState) (Gate, Gate) { return gates(states[0], 7, states[1], 3) }
