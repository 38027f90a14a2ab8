package limit

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strangler/capability"
)

// Everything at once: many who come, wait, give up and leave, and a limit that
// moves. No more are in than the highest limit allows, and afterwards nothing is
// taken, nobody waits, and every one of those who came was let in or counted.
func TestBulkheadUnderLoad(t *testing.T) {
	const most, goroutines, each = 8, 32, 2000
	b := NewBulkhead(capability.Concurrency{Requests: most, Queue: 20, Wait: time.Millisecond})
	var in, entered, full, waited, gone atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(4) == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(200))*time.Microsecond)
				}
				switch err := b.Enter(ctx); {
				case err == nil:
					if n := in.Add(1); n > most {
						t.Errorf("%d at once", n)
					}
					entered.Add(1)
					runtime.Gosched()
					in.Add(-1)
					b.Leave()
				case errors.Is(err, ErrFull):
					full.Add(1)
				case errors.Is(err, ErrWaited):
					waited.Add(1)
				case errors.Is(err, ctx.Err()):
					gone.Add(1)
				default:
					t.Error(err)
				}
				cancel()
			}
		})
	}
	stop := make(chan struct{})
	var moving sync.WaitGroup
	moving.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				b.Use(capability.Concurrency{Requests: 1 + rand.IntN(most), Queue: 1 + rand.IntN(20), Wait: time.Duration(1+rand.IntN(1000)) * time.Microsecond})
				runtime.Gosched()
			}
		}
	})
	wg.Wait()
	close(stop)
	moving.Wait()
	i := b.Info()
	want := Refused{Full: uint64(full.Load()), Waited: uint64(waited.Load()), Gone: uint64(gone.Load())}
	if i.InFlight != 0 || i.Queued != 0 || i.Refused != want || b.queue.first != nil || b.queue.last != nil {
		t.Errorf("afterwards %+v, want none and %+v", i, want)
	}
	if all := entered.Load() + full.Load() + waited.Load() + gone.Load(); all != goroutines*each || entered.Load() == 0 {
		t.Errorf("%d of %d accounted for, %d let in", all, goroutines*each, entered.Load())
	}
}

// With a queue long enough and a wait long enough nobody is lost.
func TestNobodyWaitsForEver(t *testing.T) {
	b := NewBulkhead(capability.Concurrency{Requests: 2, Queue: 1000, Wait: time.Hour})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			for range 100 {
				if err := b.Enter(t.Context()); err != nil {
					t.Error(err)
					return
				}
				runtime.Gosched()
				b.Leave()
			}
		})
	}
	wg.Wait() // or the test's own time is over
	if i := b.Info(); i.InFlight != 0 || i.Queued != 0 {
		t.Errorf("%+v", i)
	}
}

func TestBudgetUnderLoad(t *testing.T) {
	const inFlight, limit = 100, 20
	b := NewBudget(capability.Budget{})
	for range inFlight {
		b.Begin()
	}
	var running, allowed, refused atomic.Int64
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for range 1000 {
				if !b.TryRetry() {
					refused.Add(1)
					continue
				}
				if n := running.Add(1); n > limit {
					t.Errorf("%d retries at once", n)
				}
				allowed.Add(1)
				runtime.Gosched()
				running.Add(-1)
				b.EndRetry()
			}
		})
	}
	wg.Wait()
	for range inFlight {
		b.End()
	}
	if b.Retries() != 0 || b.InFlight() != 0 || allowed.Load()+refused.Load() != inFlight*1000 || allowed.Load() == 0 {
		t.Errorf("%d retries and %d requests left, %d allowed, %d refused", b.Retries(), b.InFlight(), allowed.Load(), refused.Load())
	}
}
