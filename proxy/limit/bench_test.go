package limit

import (
	"context"
	"testing"
	"time"

	"strangler/capability"
)

func BenchmarkEnterLeave(b *testing.B) {
	h := NewBulkhead(capability.Concurrency{})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := h.Enter(ctx); err != nil {
			b.Fatal(err)
		}
		h.Leave()
	}
}

func BenchmarkEnterLeaveParallel(b *testing.B) {
	h := NewBulkhead(capability.Concurrency{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		ctx := context.Background()
		for pb.Next() {
			if err := h.Enter(ctx); err != nil {
				b.Error(err)
			}
			h.Leave()
		}
	})
}

// One place and many who want it: every pass hands it on.
func BenchmarkHandOn(b *testing.B) {
	h := NewBulkhead(capability.Concurrency{Requests: 1, Queue: 1000, Wait: time.Minute})
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		ctx := context.Background()
		for pb.Next() {
			if err := h.Enter(ctx); err != nil {
				b.Error(err)
				return
			}
			h.Leave()
		}
	})
}

func BenchmarkBudget(b *testing.B) {
	budget := NewBudget(capability.Budget{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			budget.Begin()
			budget.End()
		}
	})
}

func BenchmarkRetry(b *testing.B) {
	budget := NewBudget(capability.Budget{Least: 100})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if budget.TryRetry() {
				budget.EndRetry()
			}
		}
	})
}

func TestFreePlaceDoesNotAllocate(t *testing.T) {
	h, budget := NewBulkhead(capability.Concurrency{}), NewBudget(capability.Budget{})
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		if err := h.Enter(ctx); err != nil {
			t.Error(err)
		}
		budget.Begin()
		if budget.TryRetry() {
			budget.EndRetry()
		}
		budget.End()
		h.Leave()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
