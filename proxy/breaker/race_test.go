package breaker

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

// Many ask and report at once while the operator and reloads change everything.
// What is told is one chain, by one goroutine at a time.
func TestTellsInOrderUnderLoad(t *testing.T) {
	var b *Breaker
	var at atomic.Pointer[State]
	var telling atomic.Int32
	var told atomic.Int64
	from := Closed
	at.Store(&from)
	ready := make(chan struct{})
	b = New(capability.Breaker{Requests: 2, OpenFor: time.Microsecond, OpenMost: time.Microsecond, Trials: 2}, "", Options{OnChange: func(tr Transition) {
		<-ready
		if telling.Add(1) != 1 {
			t.Error("told by two at once")
		}
		if last := *at.Load(); last != tr.From || tr.From == tr.To {
			t.Errorf("told %s > %s after %s", tr.From, tr.To, last)
		}
		at.Store(&tr.To)
		told.Add(1)
		b.Info()
		telling.Add(-1)
	}})
	close(ready)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				if c, err := b.Admit(time.Microsecond); err == nil {
					outcome := Success()
					if (i+g)%3 == 0 {
						outcome = broken
					}
					c.Done(outcome, 0)
				}
				if i%100 == 0 {
					b.Use(capability.Breaker{Requests: 2 + i%3, OpenFor: time.Microsecond, OpenMost: time.Millisecond, Trials: 1 + i%3}, modes[(i/100+g)%len(modes)])
				}
			}
		})
	}
	wg.Wait()
	if i := b.Info(); i.State != *at.Load() {
		t.Errorf("it is %s and the last told is %s", i.State, *at.Load())
	}
	if told.Load() < 10 { // it may stay open or disabled for most of the time
		t.Errorf("only %d changes", told.Load())
	}
}

// By the real clock, which moves between two readings: what is said to be half-open
// lets a trial through, and a trial that expired unseen holds nobody up.
func TestAgreesByTheRealClock(t *testing.T) {
	s := capability.Breaker{Requests: 1, OpenFor: 20 * time.Microsecond, OpenMost: 20 * time.Microsecond, Trials: 1}
	b := &bench{t: t, Breaker: New(s, "", Options{})}
	for range 1000 {
		b.try(1, broken, 0)
		for b.Info().State == Open {
			continue // for 22 µs at most
		}
		silent := b.admit()
		silent.Done(Excluded(), 0)
		if _, err := b.Admit(time.Microsecond); err != nil {
			t.Fatal(err)
		}
		for start := time.Now(); time.Since(start) < 25*time.Microsecond; {
			continue
		}
		var open *OpenError
		c, err := b.Admit(time.Minute)
		for errors.As(err, &open) {
			if open.After > 2 {
				t.Fatalf("refused for %v", open.After)
			}
			c, err = b.Admit(time.Minute)
		}
		c.Done(Success(), 0)
		b.want(Closed)
	}
}

func TestTrialsAtOnceUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := settings
		s.Trials = 3
		b := New(s, "", Options{})
		for range 4 {
			c, _ := b.Admit(0)
			c.Done(broken, 0)
		}
		time.Sleep(b.Info().Remaining)
		var wg sync.WaitGroup
		var admitted atomic.Int32
		calls := make(chan Call, 100)
		for range 100 {
			wg.Go(func() {
				if c, err := b.Admit(time.Minute); err == nil {
					admitted.Add(1)
					calls <- c
				}
			})
		}
		wg.Wait()
		if n := admitted.Load(); n != 3 {
			t.Fatalf("%d trials, want 3", n)
		}
		for range 3 {
			c := <-calls
			for range 10 { // all of them report the same call
				wg.Go(func() { c.Done(Success(), 0) })
			}
			wg.Wait()
		}
		if i := b.Info(); i.State != Closed {
			t.Errorf("%+v", i)
		}
	})
}

func TestConcurrentReportsAllCount(t *testing.T) {
	b := New(capability.Breaker{Requests: 1 << 30, Window: time.Hour}, "", Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				c, _ := b.Admit(0)
				c.Done(broken, 0)
			}
		})
	}
	wg.Wait()
	if i := b.Info(); i.Requests != 8000 || i.Failures != 8000 {
		t.Errorf("%+v", i)
	}
}

// A callback that panics harms the request that it ran in, and not the breaker.
func TestPanicInOnChange(t *testing.T) {
	n := 0
	b := New(settings, "", Options{OnChange: func(Transition) {
		if n++; n == 1 {
			panic("the listener is broken")
		}
	}})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is hidden")
			}
		}()
		b.Use(settings, forced)
	}()
	b.Use(settings, enforce)
	if n != 2 || b.Info().State != Closed {
		t.Errorf("told %d times, it is %s", n, b.Info().State)
	}
}

// What a callback causes is told after it has returned, not within it.
func TestChangeWithinOnChange(t *testing.T) {
	var b *Breaker
	var told []State
	depth := 0
	b = New(settings, "", Options{OnChange: func(tr Transition) {
		depth++
		defer func() { depth-- }()
		if depth > 1 {
			t.Error("told within a telling")
		}
		if told = append(told, tr.To); tr.To == Open {
			b.Use(settings, enforce)
		}
	}})
	b.Use(settings, forced)
	if len(told) != 2 || told[1] != Closed {
		t.Errorf("told %v", told)
	}
}
