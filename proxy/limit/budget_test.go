package limit

import (
	"math"
	"testing"

	"strangler/capability"
)

func TestBudget(t *testing.T) {
	for _, tt := range []struct {
		settings capability.Budget
		inFlight int
		want     int
	}{
		{capability.Budget{}, 0, 3},
		{capability.Budget{}, 19, 3},
		{capability.Budget{}, 20, 4},
		{capability.Budget{}, 104, 20}, // 20.8
		{capability.Budget{Share: 1, Least: 1}, 19_999, 1},
		{capability.Budget{Share: 1, Least: 1}, 20_000, 2},
		{capability.Budget{Share: capability.Whole, Least: 1}, 7, 7},
		{capability.Budget{Share: 3 * capability.Whole, Least: 1}, 7, 7},
		{capability.Budget{Share: -5, Least: -5}, 100, 20},
		{capability.Budget{Least: 50}, 100, 50},
	} {
		b := NewBudget(tt.settings)
		for range tt.inFlight {
			b.Begin()
		}
		n := 0
		for b.TryRetry() {
			n++
		}
		if n != tt.want {
			t.Errorf("%+v with %d in flight allows %d, want %d", tt.settings, tt.inFlight, n, tt.want)
		}
		b.EndRetry()
		if !b.TryRetry() || b.TryRetry() {
			t.Errorf("%+v: what ends does not make room for one", tt.settings)
		}
	}
	if n := NewBudget(capability.Budget{Least: math.MaxInt}).Limit(); n != math.MaxInt32 {
		t.Errorf("the least is %d", n)
	}
}

func TestBudgetFollowsSettingsAndLoad(t *testing.T) {
	b := NewBudget(capability.Budget{Share: 5000, Least: 1})
	for range 10 {
		b.Begin()
	}
	for range 5 {
		if !b.TryRetry() {
			t.Fatal("refused within the budget")
		}
	}
	b.Use(capability.Budget{Share: 1000, Least: 1})
	b.EndRetry()
	if b.Retries() != 4 || b.TryRetry() {
		t.Errorf("%d retries of 1 that are left", b.Retries())
	}
	b.Use(capability.Budget{Share: 10_000, Least: 1})
	if !b.TryRetry() {
		t.Error("refused within the raised budget")
	}
	for range 10 {
		b.End()
	}
	if b.TryRetry() || b.Limit() != 1 {
		t.Errorf("nothing is in flight and the limit is %d", b.Limit())
	}
}
