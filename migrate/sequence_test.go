package migrate

import (
	"math"
	"strings"
	"testing"
)

func TestCarryASequence(t *testing.T) {
	t.Parallel()
	up := Sequence{Increment: 1, Min: 1, Max: math.MaxInt64, Last: 100, Called: true}
	fresh := Sequence{Increment: 1, Min: 1, Max: math.MaxInt64, Last: 1}
	down := Sequence{Increment: -1, Min: math.MinInt64, Max: -1, Last: -100, Called: true}
	round := Sequence{Increment: 1, Min: 100, Max: 999, Last: 405, Called: true, Cycle: true}
	around := Sequence{Increment: 1, Min: 100, Max: 999, Last: 100, Cycle: true}
	with := func(s Sequence, f func(*Sequence)) Sequence { f(&s); return s }
	tests := []struct {
		name           string
		source, target Sequence
		extreme        int64
		found          bool
		gap            int64
		want           int64
		fails          string
	}{
		{name: "behind what was handed out", source: up, target: fresh, extreme: 90, found: true, gap: 1000, want: 1100},
		{name: "behind what stands in the column", source: up, target: fresh, extreme: 500, found: true, gap: 1000, want: 1500},
		{name: "without a gap still one further", source: up, target: fresh, want: 101},
		{name: "never called and empty", source: fresh, target: fresh, gap: 10, want: 10},
		{name: "never called, rows loaded", source: fresh, target: fresh, extreme: 70, found: true, gap: 10, want: 80},
		{name: "never back", source: up, target: with(fresh, func(s *Sequence) { s.Last, s.Called = 9000, true }), gap: 1000, want: 9000},
		{name: "downwards", source: down, target: with(down, func(s *Sequence) { s.Last = -1; s.Called = false }), extreme: -120, found: true, gap: 1000, want: -1120},
		{name: "downwards never back", source: down, target: with(down, func(s *Sequence) { s.Last = -9000 }), gap: 10, want: -9000},
		{name: "in steps of the increment", source: with(up, func(s *Sequence) { s.Increment, s.Last = 10, 101 }), target: fresh, gap: 25, want: 131},
		{name: "beyond the maximum", source: up, target: with(fresh, func(s *Sequence) { s.Max = 500 }), gap: 1000, fails: "outside"},
		{name: "round, behind what was handed out and not what stands there", source: round, target: around, extreme: 999, found: true, gap: 20, want: 425},
		{name: "round, whatever the other one has been at", source: round, target: with(around, func(s *Sequence) { s.Last = 990 }), gap: 20, want: 425},
		{name: "round, over the end", source: with(round, func(s *Sequence) { s.Last = 990 }), target: around, gap: 20, want: 110},
		{name: "round, onto the end", source: with(round, func(s *Sequence) { s.Last = 979 }), target: around, gap: 20, want: 999},
		{name: "round, at the end", source: with(round, func(s *Sequence) { s.Last = 999 }), target: around, want: 100},
		{name: "round, a gap that is longer than the round", source: round, target: around, gap: 5000, want: 405 + 89},
		{name: "round, in steps", source: with(round, func(s *Sequence) { s.Increment, s.Last = 50, 950 }), target: around, gap: 60, want: 100},
		{name: "round, downwards", source: with(round, func(s *Sequence) { s.Increment, s.Last = -1, 105 }), target: with(around, func(s *Sequence) { s.Increment = -1 }), gap: 20, want: 985},
		{name: "round, never called", source: with(round, func(s *Sequence) { s.Last, s.Called = 100, false }), target: around, extreme: 300, found: true, gap: 20, want: 320},
		{name: "round, through all numbers", source: with(round, func(s *Sequence) { s.Min, s.Max, s.Last = math.MinInt64, math.MaxInt64, math.MaxInt64-1 }), target: with(around, func(s *Sequence) { s.Min = math.MinInt64 }), gap: 3, want: math.MinInt64 + 1},
		{name: "round, beyond what the other one gives", source: round, target: with(around, func(s *Sequence) { s.Max = 420 }), gap: 20, fails: "outside"},
		{name: "beyond all numbers", source: with(up, func(s *Sequence) { s.Last = math.MaxInt64 - 5 }), target: fresh, gap: 1000, fails: "leave the range"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := carry(test.source, test.target, test.extreme, test.found, test.gap)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Fatalf("got %d, %v", got, err)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("got %d, %v, want %d", got, err, test.want)
			}
		})
	}
}
