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

// TestDocsTellTheVerdicts: the table of docs/what-if.md is what Decide decides, for
// every pair of states, whichever side has the lower epoch, and for databases that
// are not those that the move began with.
func TestDocsTellTheVerdicts(t *testing.T) {
	t.Parallel()
	states := []GateState{Open, Closing, Sealed}
	told := map[[2]GateState]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (open|sealed|closing) \| (open|sealed|closing) \| .* \| (.*) \|$`).FindAllStringSubmatch(page(t, "what-if.md"), -1) {
		told[[2]GateState{GateState(row[1]), GateState(row[2])}] = row[3]
	}
	strange := regexp.MustCompile(`(?m)^\| any \| any \| .*identity.* \| (.*) \|$`).FindStringSubmatch(page(t, "what-if.md"))
	if len(told) != len(states)*len(states) || strange == nil {
		t.Fatalf("docs/what-if.md tells of %d pairs of states, and of strange databases %q", len(told), strange)
	}
	for _, l := range states {
		for _, e := range states {
			for _, epochs := range [][2]uint64{{7, 3}, {3, 7}} {
				legacy, extracted := gates(l, epochs[0], e, epochs[1])
				lower := Legacy
				if epochs[1] < epochs[0] {
					lower = Extracted
				}
				if want, is := told[[2]GateState{l, e}], inWords(Decide(legacy, extracted), lower); want != is {
					t.Errorf("%s@%d, %s@%d: docs/what-if.md says %q, and what happens is %q", l, epochs[0], e, epochs[1], want, is)
				}
				for name, change := range strangers {
					legacy, extracted := gates(l, epochs[0], e, epochs[1])
					change(&legacy, &extracted)
					if is := inWords(Decide(legacy, extracted), lower); strange[1] != is {
						t.Errorf("%s@%d, %s@%d, %s: docs/what-if.md says %q, and what happens is %q", l, epochs[0], e, epochs[1], name, strange[1], is)
					}
				}
			}
		}
	}
}

// inWords is a verdict as docs/what-if.md has it.
func inWords(v Verdict, lower Side) string {
	which := "the higher epoch"
	if v.On == lower {
		which = "the lower epoch"
	}
	switch v.Action {
	case ActionNone:
		return "nothing"
	case ActionUndo:
		return "opens " + string(v.On)
	case ActionFinish:
		return "opens the gate with " + strings.Replace(which, "lower", "**lower**", 1)
	case ActionSeal:
		return "seals " + which + ", opens nothing, `needs verify`"
	case ActionStop:
		return "nothing, `needs verify`"
	}
	return string(v.Action)
}
