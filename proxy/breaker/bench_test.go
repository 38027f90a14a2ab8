package breaker

import (
	"testing"
	"time"

	"strangler/capability"
)

// The path of nearly every request: closed, admitted, answered.
func BenchmarkClosed(b *testing.B) {
	br := New(capability.Breaker{Slow: time.Second}, "", Options{})
	b.ReportAllocs()
	for b.Loop() {
		c, err := br.Admit(time.Second)
		if err != nil {
			b.Fatal(err)
		}
		c.Done(Success(), time.Millisecond)
	}
}

// All processors at one breaker: the worst that a single hot capability does.
func BenchmarkClosedParallel(b *testing.B) {
	br := New(capability.Breaker{Slow: time.Second}, "", Options{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c, err := br.Admit(time.Second)
			if err != nil {
				b.Fail()
			}
			c.Done(Success(), time.Millisecond)
		}
	})
}

// Each processor at a breaker of its own: capabilities share nothing.
func BenchmarkClosedApart(b *testing.B) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		br := New(capability.Breaker{Slow: time.Second}, "", Options{})
		for pb.Next() {
			c, err := br.Admit(time.Second)
			if err != nil {
				b.Fail()
			}
			c.Done(Success(), time.Millisecond)
		}
	})
}

func BenchmarkDisabled(b *testing.B) {
	br := New(capability.Breaker{}, capability.BreakerDisabled, Options{})
	b.ReportAllocs()
	for b.Loop() {
		c, _ := br.Admit(time.Second)
		c.Done(Failure("x"), time.Millisecond)
	}
}

func BenchmarkOpen(b *testing.B) {
	br := New(capability.Breaker{Requests: 1, OpenFor: time.Hour}, "", Options{})
	c, _ := br.Admit(time.Second)
	c.Done(Failure("x"), 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := br.Admit(time.Second); err == nil {
			b.Fatal("admitted")
		}
	}
}

func TestClosedPathDoesNotAllocate(t *testing.T) {
	br := New(capability.Breaker{Slow: time.Second}, "", Options{OnChange: func(Transition) {}})
	failed := Failure("answered 500")
	n := testing.AllocsPerRun(1000, func() {
		for range 3 {
			c, _ := br.Admit(time.Second)
			c.Done(Success(), time.Millisecond)
		}
		c, _ := br.Admit(time.Second)
		c.Done(failed, 2*time.Second)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	if s := br.Info().State; s != Closed {
		t.Errorf("the breaker is %s", s)
	}
}
