package breaker

import (
	"testing"
	"time"
)

func TestObserveLetsEverythingThrough(t *testing.T) {
	run(t, settings, observe, func(b *bench) {
		b.try(4, broken, 0)
		b.want(Open)
		b.try(50, broken, 0) // seen by nobody
		time.Sleep(5 * time.Second)
		first, second := b.admit(), b.admit()
		if !first.Trial() || !second.Trial() {
			t.Error("observing, it has no trials")
		}
		third := b.admit()
		third.Done(broken, 0) // no trial
		b.want(HalfOpen)
		first.Done(broken, 0)
		b.want(Open)
		if i := b.Info(); i.Opened != 2 || i.Remaining != 10*time.Second || i.Mode != observe {
			t.Errorf("%+v", i)
		}
		n := len(b.told)
		b.Use(settings, enforce)
		b.refused(10*time.Second, "a trial failed") // as it would have been
		b.Use(settings, observe)
		b.admit()
		if len(b.told) != n {
			t.Errorf("told %+v", b.told[n:])
		}
	})
}

func TestDisabled(t *testing.T) {
	run(t, settings, disabled, func(b *bench) {
		b.try(50, broken, time.Hour)
		before := b.admit()
		if i := b.Info(); i.State != Closed || i.Requests != 0 || i.Mode != disabled {
			t.Errorf("%+v", i)
		}
		b.Use(settings, "")
		before.Done(broken, 0)
		b.try(3, broken, 0)
		b.want(Closed)
		b.try(1, broken, 0)
		b.want(Open)
		b.Use(settings, disabled)
		b.want(Closed)
		b.try(4, broken, 0)
		b.want(Closed)
		b.story("closed > open: 4 of 4 requests failed within 10s; the last: the upstream answered 500",
			"open > closed: by the operator")
	})
}

func TestOpenByTheOperator(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.try(3, broken, 0)
		before := b.admit()
		b.Use(settings, forced)
		before.Done(broken, 0)
		time.Sleep(time.Hour)
		b.refused(forcedAfter, byOperator)
		if i := b.Info(); i.State != Open || i.Remaining != 0 || i.Mode != forced || i.Reason != byOperator {
			t.Errorf("%+v", i)
		}
		b.Use(settings, enforce)
		b.try(3, broken, 0)
		b.want(Closed) // it begins anew
		b.story("closed > open: by the operator", "open > closed: by the operator")
	})
	run(t, settings, forced, func(b *bench) {
		b.refused(forcedAfter, byOperator)
		b.Use(settings, disabled)
		b.admit()
	})
	run(t, settings, enforce, func(b *bench) {
		b.halfOpen()
		c := b.admit()
		b.Use(settings, forced)
		c.Done(Success(), 0)
		b.want(Open)
		b.Use(settings, observe)
		b.want(Closed)
	})
	run(t, settings, enforce, func(b *bench) {
		b.try(4, broken, 0)
		b.Use(settings, forced) // open already, and now for good
		time.Sleep(time.Hour)
		b.refused(forcedAfter, byOperator)
	})
}

func TestUseForgetsNothing(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.try(3, broken, 2*time.Second)
		in := b.admit()
		b.Use(settings, enforce)
		s := settings
		s.Requests, s.Ratio, s.Window = 5, 0.9, 20*time.Second
		b.Use(s, observe)
		if i := b.Info(); i.Failures != 3 || i.Slow != 3 || i.Requests != 3 {
			t.Errorf("%+v", i)
		}
		s.Slow = time.Minute
		b.Use(s, enforce)
		if i := b.Info(); i.Failures != 3 || i.Slow != 0 {
			t.Errorf("another threshold: %+v", i)
		}
		in.Done(broken, 0)
		b.want(Closed)
		b.try(1, broken, 0)
		b.want(Open)
	})
}

func TestUseOfAnotherWindow(t *testing.T) {
	s := settings
	s.Requests = 1000
	run(t, s, enforce, func(b *bench) {
		for range 10 {
			b.try(1, broken, 0)
			time.Sleep(time.Second)
		}
		s.Window = time.Minute
		b.Use(s, enforce)
		if i := b.Info(); i.Failures != 9 { // the first fell out of the ten seconds
			t.Errorf("longer: %+v", i)
		}
		time.Sleep(40 * time.Second)
		b.try(1, broken, 0)
		if i := b.Info(); i.Failures != 10 {
			t.Errorf("longer, later: %+v", i)
		}
		s.Window = 5 * time.Second
		b.Use(s, enforce)
		if i := b.Info(); i.Failures > 1 {
			t.Errorf("shorter: %+v", i)
		}
	})
}

func TestUseWhileOpen(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.try(4, broken, 0)
		time.Sleep(2 * time.Second)
		s := settings
		s.OpenFor, s.Trials = 8*time.Second, 1
		b.Use(s, enforce)
		b.refused(6*time.Second, "4 of 4")
		s.OpenFor = 3 * time.Second
		b.Use(s, enforce)
		b.refused(time.Second, "4 of 4")
		time.Sleep(time.Second)
		b.try(1, Success(), 0)
		b.want(Closed)

		b.try(4, broken, 0)
		time.Sleep(2 * time.Second)
		s.OpenFor = time.Second // over since a second
		b.Use(s, enforce)
		time.Sleep(2 * time.Nanosecond)
		b.want(HalfOpen)
		s.Trials = 5
		b.Use(s, enforce) // from the next opening on
		b.try(1, Success(), 0)
		b.want(Closed)
	})
}
