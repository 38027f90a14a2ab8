package limit

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"strangler/capability"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a bulkhead under test in a bubble. Waiters append their number and what
// they got to came.
type bench struct {
	*Bulkhead
	t    *testing.T
	came chan arrival
}

type arrival struct {
	n     int
	err   error
	after time.Duration
}

func run(t *testing.T, c capability.Concurrency, test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(&bench{Bulkhead: NewBulkhead(c), t: t, came: make(chan arrival, 1000)})
	})
}

// enter lets waiter n ask, and returns when it is in or waits.
func (b *bench) enter(ctx context.Context, n int) {
	go func() {
		start := time.Now()
		err := b.Enter(ctx)
		b.came <- arrival{n, err, time.Since(start)}
	}()
	synctest.Wait()
}

// want finds that exactly these waiters got in since it was last asked, in order.
func (b *bench) want(in ...int) {
	b.t.Helper()
	synctest.Wait()
	var have []int
	for len(b.came) > 0 {
		if a := <-b.came; a.err == nil {
			have = append(have, a.n)
		} else {
			b.t.Errorf("%d: %v", a.n, a.err)
		}
	}
	slices.Sort(have) // goroutines that were let in together report in any order
	if !slices.Equal(have, in) {
		b.t.Fatalf("let in %v, want %v", have, in)
	}
}

func (b *bench) info(inFlight, queued, limit int) {
	b.t.Helper()
	synctest.Wait()
	if i := b.Info(); i.InFlight != inFlight || i.Queued != queued || i.Limit != limit {
		b.t.Fatalf("%+v, want %d, %d, %d", i, inFlight, queued, limit)
	}
}

var three = capability.Concurrency{Requests: 3, Queue: 4, Wait: time.Second}

func TestFirstComeFirstServed(t *testing.T) {
	run(t, three, func(b *bench) {
		ctx := b.t.Context()
		for n := range 7 {
			b.enter(ctx, n)
		}
		b.want(0, 1, 2)
		b.info(3, 4, 3)
		if err := b.Enter(ctx); !errors.Is(err, ErrFull) {
			t.Errorf("the queue is full: %v", err)
		}
		for n := 3; n < 7; n++ {
			b.Leave()
			b.want(n)
		}
		b.info(3, 0, 3)
		for range 3 {
			b.Leave()
		}
		b.info(0, 0, 3)
		if r := b.Info().Refused; r != (Refused{Full: 1}) {
			t.Errorf("%+v", r)
		}
	})
}

func TestWaitIsBounded(t *testing.T) {
	run(t, three, func(b *bench) {
		for n := range 3 {
			b.enter(b.t.Context(), n)
		}
		b.want(0, 1, 2)
		b.enter(b.t.Context(), 3)
		time.Sleep(time.Second)
		if a := <-b.came; !errors.Is(a.err, ErrWaited) || a.after != time.Second {
			t.Errorf("%+v", a)
		}
		b.info(3, 0, 3)
		b.Leave() // to nobody
		b.info(2, 0, 3)
		b.enter(b.t.Context(), 4)
		b.want(4)
		if r := b.Info().Refused; r != (Refused{Waited: 1}) {
			t.Errorf("%+v", r)
		}
	})
}

// Whoever goes away makes room in the queue, and its turn passes to the next.
func TestClientGoesAway(t *testing.T) {
	run(t, three, func(b *bench) {
		for n := range 4 {
			b.enter(b.t.Context(), n)
		}
		ctx, cancel := context.WithCancel(b.t.Context())
		b.enter(ctx, 4)
		b.enter(b.t.Context(), 5)
		b.want(0, 1, 2)
		cancel()
		if a := <-b.came; a.n != 4 || !errors.Is(a.err, context.Canceled) {
			t.Errorf("%+v", a)
		}
		b.info(3, 2, 3)
		b.Leave()
		b.want(3)
		b.Leave()
		b.want(5)
		if r := b.Info().Refused; r != (Refused{Gone: 1}) {
			t.Errorf("%+v", r)
		}
	})
}

// The place and the end come together: what the select picks must not matter.
func TestPlaceTogetherWithTheEnd(t *testing.T) {
	for _, end := range []string{"wait", "client"} {
		run(t, capability.Concurrency{Requests: 1, Queue: 3, Wait: time.Second}, func(b *bench) {
			ctx, cancel := context.WithCancel(b.t.Context())
			w := &waiter{ready: make(chan struct{})}
			b.enter(b.t.Context(), 0)
			b.want(0)
			b.mu.Lock()
			b.queue.push(w)
			b.mu.Unlock()
			b.enter(b.t.Context(), 2)
			b.Leave() // to w, which does not look yet
			b.info(1, 1, 1)
			wait := time.Hour
			if end == "wait" {
				wait = 0
			} else {
				cancel()
			}
			w.ready = nil // the select cannot see it
			err := b.await(ctx, w, wait)
			if end == "wait" {
				if err != nil {
					t.Errorf("it has its place and got %v", err)
				}
				b.info(1, 1, 1)
				b.Leave()
			} else if !errors.Is(err, context.Canceled) {
				t.Errorf("its client is gone and it got %v", err)
			}
			b.want(2)
			b.info(1, 0, 1)
			cancel()
		})
	}
}

func TestLoweredAndRaised(t *testing.T) {
	run(t, three, func(b *bench) {
		for n := range 6 {
			b.enter(b.t.Context(), n)
		}
		b.want(0, 1, 2)
		b.Use(capability.Concurrency{Requests: 1, Queue: 3, Wait: time.Hour})
		b.info(3, 3, 1)
		b.Leave()
		b.Leave()
		b.want()
		b.info(1, 3, 1) // it fits only now
		b.Leave()
		b.want(3)
		b.Use(capability.Concurrency{Requests: 10, Queue: 3, Wait: time.Hour})
		b.want(4, 5)
		b.info(3, 0, 10)
	})
}

func TestDefaultsAndNone(t *testing.T) {
	run(t, capability.Concurrency{}, func(b *bench) {
		for n := range 1101 {
			go func() { b.came <- arrival{n: n, err: b.Enter(b.t.Context())} }()
		}
		synctest.Wait()
		b.info(1000, 100, 1000)
		time.Sleep(time.Second)
		b.info(1000, 0, 1000)
		if r := b.Info().Refused; r != (Refused{Full: 1, Waited: 100}) {
			t.Errorf("%+v", r)
		}
		for len(b.came) > 0 {
			<-b.came
		}
	})
	run(t, capability.Concurrency{Requests: 1, Queue: -1}, func(b *bench) {
		b.enter(b.t.Context(), 0)
		b.want(0)
		if err := b.Enter(b.t.Context()); !errors.Is(err, ErrFull) {
			t.Errorf("no queue: %v", err)
		}
	})
	run(t, capability.Concurrency{Requests: 1, Wait: -1}, func(b *bench) {
		b.enter(b.t.Context(), 0)
		b.want(0)
		if err := b.Enter(b.t.Context()); !errors.Is(err, ErrWaited) {
			t.Errorf("no wait: %v", err)
		}
	})
	var unbounded *Bulkhead
	unbounded.Use(three)
	for range 100 {
		if err := unbounded.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	unbounded.Leave()
	if i := unbounded.Info(); i != (Info{}) {
		t.Errorf("%+v", i)
	}
}

func TestLeaveWithoutEnter(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a place that was never taken was given back")
		}
	}()
	NewBulkhead(three).Leave()
}
