package model

import (
	"os"
	"strings"
	"testing"
)

// A need is a rule, and the promise that is broken without it.
type need struct {
	name    string
	without Rule
	bounds  Bounds
	breaks  string
}

var (
	alone   = Bounds{Controllers: 1, Writers: 1, Writes: 1, Begin: 1, Direct: true, Snapshots: true, Errors: true, Crashes: true, Wire: 1}
	rivals  = Bounds{Controllers: 2, Writers: 1, Writes: 1, Begin: 1, Direct: true}
	spares  = Bounds{Controllers: 1, Writers: 1, Writes: 1, Begin: 1, Direct: true, Failovers: true}
	proxies = Bounds{Controllers: 1, Proxies: 1, Writers: 1, Writes: 1, Begin: 1}
)

// needs are the six rules, in their order, and what else the protocol rests on.
var needs = []need{
	{"1 a change of a gate compares epochs", RuleEpochs | RuleFences, rivals, PromiseOwner},
	{"1 a change of a gate compares epochs, also where one controller is alone", RuleEpochs, alone, PromiseOwner},
	{"2 of two sealed gates the lower epoch is opened", RuleLowerEpoch | RuleFences, rivals, PromiseOwner},
	{"2 of two sealed gates the lower epoch is opened, also where sessions are fenced", RuleLowerEpoch, Bounds{Controllers: 2, Writers: 1, Writes: 1, Begin: 1, Direct: true, Errors: true, Crashes: true, Wire: 1}, PromiseOwner},
	{"3 a guard opens the gate before it lets a late writer through", RuleReopen, alone, PromiseWrites},
	{"4 a guard permits on a locked row", RuleLock, alone, PromiseWrites},
	{"5 nobody but the mover passes a guard", RuleMover, alone, PromiseWrites},
	{"6 a change of a gate is durable", RuleDurable, alone, PromiseOwner},
	{"6 nothing is opened beside another database", RuleIdentity, spares, PromiseWrites},

	{"a closing waits for those who write", RuleWait, alone, PromiseWrites},
	{"nothing is sealed before the marker was applied", RuleDrain, alone, PromiseWrites},
	{"the tokens or the fences keep a late mover out", RuleTokens | RuleFences, Bounds{Controllers: 2, Writers: 1, Writes: 2, Begin: 1, Direct: true}, PromiseWrites},
	{"a proxy holds when nothing of it is in flight", RuleIdle, proxies, PromiseHold},
	{"a controller hears what others have stored", RuleHear, alone, PromiseProgress},
}

// TestDocsTellTheRules: docs/model.md names each.
func TestDocsTellTheRules(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/model.md")
	if err != nil {
		t.Fatal(err)
	}
	told := strings.Join(strings.Fields(strings.ReplaceAll(string(page), "|", "")), " ")
	for _, n := range needs {
		if name, _, _ := strings.Cut(n.name, ", "); !strings.Contains(told, name) {
			t.Errorf("docs/model.md does not say: %s", name)
		}
		if !strings.Contains(told, n.breaks) {
			t.Errorf("docs/model.md does not promise: %s", n.breaks)
		}
	}
}

// TestEveryRuleIsNeeded: without it something goes wrong, and the story tells how.
func TestEveryRuleIsNeeded(t *testing.T) {
	t.Parallel()
	for _, n := range needs {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			r := New(n.bounds, n.without).Search(most)
			if r.Story == nil {
				t.Fatalf("without %s every promise is kept, in %d states", n.without, r.States)
			}
			text := r.Story.String()
			if r.Story.Promise != n.breaks || !strings.Contains(text, "Broken: "+n.breaks) || len(r.Story.Lines) == 0 {
				t.Errorf("without %s another promise is broken than %q:\n%s", n.without, n.breaks, text)
			}
			t.Logf("without %s, after %d states:\n%s", n.without, r.States, text)
		})
	}
}
