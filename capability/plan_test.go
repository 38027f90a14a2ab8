package capability

import (
	"testing"
	"time"
)

// TestPlanHasOneCommitPoint, and nothing behind it is taken back.
func TestPlanHasOneCommitPoint(t *testing.T) {
	t.Parallel()
	names, committed := map[StepName]bool{}, 0
	for _, s := range SwitchPlan {
		if names[s.Name] || s.Do == "" {
			t.Errorf("step %+v", s)
		}
		names[s.Name] = true
		if committed > 0 && s.Undo != "" {
			t.Errorf("%s is behind the commit point and has an undo", s.Name)
		}
		if s.Commit {
			committed++
		}
	}
	if committed != 1 {
		t.Errorf("%d commit points", committed)
	}
}

func TestTimesNest(t *testing.T) {
	t.Parallel()
	if p := DefaultTimes().Problem(); p != nil {
		t.Error(p)
	}
	for _, wrong := range []Times{{}, {3 * time.Second, 3 * time.Second, 8 * time.Second}, {time.Second, 9 * time.Second, 8 * time.Second}, {-1, 1, 2}} {
		if wrong.Problem() == nil {
			t.Errorf("%+v passes", wrong)
		}
	}
}

// TestCloneIsDeep: what one holder changes is not another's.
func TestCloneIsDeep(t *testing.T) {
	t.Parallel()
	d := Document{Routes: []Route{{Methods: []string{"GET"}}}, Extracted: Upstream{Endpoints: []string{"a"}},
		Data: &Data{Tables: []Table{{Table: "t", Columns: map[string]string{"a": "b"}}}, Border: []Border{{Constraint: "c"}}}}
	c := d.Clone()
	c.Routes[0].Methods[0], c.Extracted.Endpoints[0], c.Data.Tables[0].Columns["a"], c.Data.Border[0].Constraint = "x", "x", "x", "x"
	c.Data.Gap = 7
	if d.Routes[0].Methods[0] != "GET" || d.Extracted.Endpoints[0] != "a" || d.Data.Tables[0].Columns["a"] != "b" || d.Data.Border[0].Constraint != "c" || d.Data.Gap != 0 {
		t.Errorf("the original changed: %+v %+v", d, d.Data)
	}
}

func TestProblemReadsLikeACompilerMessage(t *testing.T) {
	t.Parallel()
	p := Problem{File: "routes/orders.yaml", Line: 12, Path: "traffic.weight", Value: "101%", Message: "is more than everybody", Mend: "write 100% or less"}
	if want := `routes/orders.yaml:12: traffic.weight = "101%": is more than everybody; write 100% or less`; p.String() != want || p.Error() != want {
		t.Errorf("%s", p)
	}
}
