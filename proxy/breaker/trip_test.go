package breaker

import (
	"testing"
	"time"

	"strangler/capability"
)

func TestRatioAndWindow(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		for range 20 {
			b.try(2, Success(), 0)
			b.try(1, broken, 0)
		}
		b.want(Closed) // a third
		time.Sleep(settings.Window)
		b.try(3, broken, 0)
		b.want(Closed) // the successes are forgotten, and so is the volume
		if i := b.Info(); i.Requests != 3 {
			t.Errorf("%+v", i)
		}
		b.try(1, broken, 0)
		b.want(Open)
	})
}

// What falls out of the window falls out in tenths, not all at once.
func TestWindowRolls(t *testing.T) {
	s := settings
	s.Requests = 1000
	run(t, s, enforce, func(b *bench) {
		for i := 1; i <= 10; i++ {
			b.try(1, broken, 2*time.Second)
			if have := b.Info(); have.Requests != i || have.Failures != i || have.Slow != i {
				t.Fatalf("after %d: %+v", i, have)
			}
			time.Sleep(time.Second)
		}
		for i := 9; i >= 0; i-- {
			if have := b.Info(); have.Requests != i || have.Failures != i || have.Slow != i {
				t.Fatalf("with %d left: %+v", i, have)
			}
			time.Sleep(time.Second)
		}
	})
}

// The report that completes the volume decides, whatever it says itself.
func TestSuccessCanTrip(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.try(2, broken, 0)
		b.try(1, Success(), 0)
		b.want(Closed)
		b.try(1, Success(), 0)
		b.want(Open)
	})
}

// Every answer is a success, and none comes in time.
func TestLatencyAloneTrips(t *testing.T) {
	s := settings
	s.SlowRatio = 0.75
	run(t, s, enforce, func(b *bench) {
		b.try(2, Success(), time.Second) // not later than
		b.try(5, Success(), time.Second+1)
		b.want(Closed) // 5 of 7
		b.try(1, Success(), time.Minute)
		b.want(Open)
		b.story("closed > open: 6 of 8 answers within 10s took longer than 1s to begin")
	})
	s.Slow = 0
	run(t, s, enforce, func(b *bench) {
		b.try(100, Success(), time.Hour)
		b.want(Closed)
	})
	s.Slow, s.SlowRatio = time.Second, 0
	run(t, s, enforce, func(b *bench) {
		b.try(2, Success(), 0)
		b.try(2, Success(), time.Hour)
		b.want(Open) // the ratio of failures
	})
}

func TestExcludedCountsNothing(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.try(100, Excluded(), time.Hour)
		if i := b.Info(); i.Requests != 0 || i.Slow != 0 || i.State != Closed {
			t.Errorf("%+v", i)
		}
	})
}

func TestRatioIsExact(t *testing.T) {
	for n := 1; n <= 400; n++ {
		for k := 1; k <= n; k++ {
			s := complete(capability.Breaker{Ratio: float64(k) / float64(n), Requests: 1})
			if trips(&s, &counts{done: n, failed: k}, "") == "" {
				t.Fatalf("%d of %d is not %v", k, n, s.Ratio)
			}
			if trips(&s, &counts{done: n, failed: k - 1}, "") != "" {
				t.Fatalf("%d of %d is %v", k-1, n, s.Ratio)
			}
		}
	}
}

func TestReportsCountOnce(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		c := b.admit()
		for range 10 {
			c.Done(broken, 0)
		}
		if i := b.Info(); i.Failures != 1 {
			t.Errorf("%+v", i)
		}
		var zero Call
		zero.Done(broken, 0)
	})
}

// Calls that began before the trip end after it, and after the closing.
func TestLateReportsAreDropped(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		var late [12]Call
		for i := range late {
			late[i] = b.admit()
		}
		b.try(4, broken, 0)
		for i := range 4 {
			late[i].Done(Success(), 0)
		}
		time.Sleep(5 * time.Second)
		b.want(HalfOpen)
		for i := 4; i < 8; i++ {
			late[i].Done(Success(), 0)
			b.want(HalfOpen)
		}
		b.try(2, Success(), 0)
		b.want(Closed)
		for i := 8; i < 12; i++ {
			late[i].Done(broken, 0)
		}
		if i := b.Info(); i.State != Closed || i.Requests != 0 {
			t.Errorf("%+v", i)
		}
	})
}

func TestDefaults(t *testing.T) {
	want := capability.Breaker{Ratio: 0.5, SlowRatio: 0.5, Requests: 20, Window: 10 * time.Second,
		OpenFor: 5 * time.Second, OpenMost: 50 * time.Second, Trials: 3}
	if have := complete(capability.Breaker{}); have != want {
		t.Errorf("%+v", have)
	}
	short := complete(capability.Breaker{OpenFor: time.Minute, OpenMost: time.Second, Ratio: 2})
	if short.OpenMost != time.Minute || short.Ratio != 0.5 {
		t.Errorf("%+v", short)
	}
	const ages = 1 << 62
	vast := complete(capability.Breaker{OpenFor: ages})
	if d := openTime(vast, 1000, 1.1); d <= 0 {
		t.Errorf("open for %v", d)
	}
}
