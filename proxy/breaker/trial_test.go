package breaker

import (
	"testing"
	"time"
)

// halfOpen brings a breaker to where its trials begin.
func (b *bench) halfOpen() {
	b.t.Helper()
	b.try(b.settings.Requests, broken, 0)
	time.Sleep(b.Info().Remaining)
	b.want(HalfOpen)
}

func TestTrialsAtOnce(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.halfOpen()
		first, second := b.admit(), b.admit()
		if !first.Trial() || !second.Trial() {
			t.Error("not a trial")
		}
		b.refused(time.Second, "trials")
		second.Done(Excluded(), 0)
		third := b.admit() // in the place of the second
		b.refused(time.Second, "trials")
		third.Done(Success(), 0)
		b.refused(time.Second, "trials") // two in all have to succeed
		copied := third
		copied.done = 0
		copied.Done(Success(), 0)
		b.want(HalfOpen) // the same trial does not count twice
		first.Done(Success(), 0)
		b.want(Closed)
	})
}

func TestOneFailedTrialReopens(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.halfOpen()
		first, second := b.admit(), b.admit()
		first.Done(broken, 0)
		b.want(Open)
		time.Sleep(10 * time.Second)
		b.want(HalfOpen)
		second.Done(Success(), 0) // of the trials before
		b.try(1, Success(), 0)
		b.want(HalfOpen)
		b.try(1, Success(), 0)
		b.want(Closed)
	})
}

// The first answer of a side that was just started is slow; that is not yet a
// reason to leave it alone.
func TestSlowTrials(t *testing.T) {
	s := settings
	s.Trials = 3
	run(t, s, enforce, func(b *bench) {
		b.halfOpen()
		b.try(1, Success(), time.Minute)
		b.try(2, Success(), 0)
		b.want(Closed)
		b.halfOpen()
		b.try(1, Success(), time.Minute)
		b.try(1, Success(), 0)
		b.try(1, Success(), time.Minute)
		b.want(Open)
		if r := b.Info().Reason; r != "2 of 3 trials took longer than 1s to begin" {
			t.Error(r)
		}
	})
}

func TestTrialThatNeverReportsExpires(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.halfOpen()
		start := time.Now()
		silent := b.admit()
		time.Sleep(time.Second)
		b.admit()
		b.refused(time.Second, "trials")
		time.Sleep(59*time.Second - 1)
		b.want(HalfOpen)
		time.Sleep(1 * time.Nanosecond)
		b.want(Open)
		if i := b.Info(); i.Since != start.Add(time.Minute) || i.Remaining != 10*time.Second || i.Reason != "a trial did not end within 1m0s" {
			t.Errorf("%+v", i)
		}
		silent.Done(Success(), 0)
		b.want(Open)
		time.Sleep(10 * time.Second)
		b.try(2, Success(), 0)
		b.want(Closed)
	})
}

// Nobody asks for an hour. The trial expired then, not now: the open time that
// followed is over as well, and the next request is let through.
func TestExpiryIsNotLate(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.halfOpen()
		start := time.Now()
		b.admit()
		time.Sleep(time.Minute + 4*time.Second)
		b.refused(6*time.Second, "did not end")
		time.Sleep(6 * time.Second)
		b.admit()
		time.Sleep(time.Hour)
		b.Info()
		time.Sleep(2 * time.Nanosecond) // in a bubble gobreaker's least open time does not pass by itself
		b.try(2, Success(), 0)
		b.want(Closed)
		again := start.Add(time.Minute + 10*time.Second + time.Minute)
		if tr := b.told[len(b.told)-3]; tr.To != Open || tr.At != again {
			t.Errorf("%+v, want at %v", tr, again)
		}
	})
}

// At the share itself, as in the window.
func TestHalfOfTheTrialsSlow(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.halfOpen()
		b.try(1, Success(), time.Minute)
		b.want(Open)
	})
}

// A trial that reports at its deadline is late, whoever notices first.
func TestReportAtTheDeadline(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.halfOpen()
		c := b.admit()
		time.Sleep(time.Minute)
		c.Done(Success(), 0)
		b.want(Open)
	})
}

func TestExpiryOfNoLength(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.halfOpen()
		if _, err := b.Admit(-1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(defaultExpiry - 1)
		b.want(HalfOpen)
		time.Sleep(1 * time.Nanosecond)
		b.want(Open)
	})
}
