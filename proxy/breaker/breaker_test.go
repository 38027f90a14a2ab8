package breaker

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"go.uber.org/goleak"

	"strangler/capability"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	enforce = capability.BreakerEnforce
	half    = 0.5 // as a random number: no spread
)

var (
	settings = capability.Breaker{Ratio: 0.5, Requests: 4, Window: 10 * time.Second, OpenFor: 5 * time.Second, Trials: 2, Slow: time.Second}
	broken   = Failure("the upstream answered 500")
)

// bench is a breaker under test, with what it told.
type bench struct {
	*Breaker
	t    *testing.T
	told []Transition
}

// run tests a breaker without spread in a bubble, and that it and its gobreaker
// agree in the end.
func run(t *testing.T, s capability.Breaker, mode capability.BreakerMode, test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t}
		b.Breaker = New(s, mode, Options{
			Rand: func() float64 { return half },
			OnChange: func(tr Transition) {
				b.told = append(b.told, tr)
				b.Info() // would deadlock under any lock
			},
		})
		test(b)
		b.agree()
	})
}

func (b *bench) admit() Call {
	b.t.Helper()
	c, err := b.Admit(time.Minute)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bench) try(n int, o Outcome, took time.Duration) {
	b.t.Helper()
	for range n {
		c := b.admit()
		c.Done(o, took)
	}
}

func (b *bench) refused(after time.Duration, reason string) {
	b.t.Helper()
	_, err := b.Admit(time.Minute)
	var open *OpenError
	if !errors.As(err, &open) || open.After != after || !strings.Contains(open.Reason, reason) {
		b.t.Fatalf("refused with %#v, want after %v: %s", err, after, reason)
	}
}

func (b *bench) want(s State) {
	b.t.Helper()
	if i := b.Info(); i.State != s {
		b.t.Fatalf("the breaker is %s (%s), want %s", i.State, i.Reason, s)
	}
	b.agree()
}

// agree compares what the breaker says with what its gobreaker says.
func (b *bench) agree() {
	b.t.Helper()
	i := b.Info()
	b.mu.Lock()
	defer b.mu.Unlock()
	if (b.opening == nil) != (i.State == Closed || i.Mode == forced) {
		b.t.Fatalf("%s in mode %s, with an opening: %v", i.State, i.Mode, b.opening != nil)
	}
	if b.opening == nil {
		return
	}
	states := map[gobreaker.State]State{gobreaker.StateClosed: Closed, gobreaker.StateHalfOpen: HalfOpen, gobreaker.StateOpen: Open}
	if inner := states[b.opening.inner.State()]; inner != i.State {
		b.t.Fatalf("the breaker is %s, and gobreaker %s", i.State, inner)
	}
}

func (b *bench) story(want ...string) {
	b.t.Helper()
	var have []string
	for _, tr := range b.told {
		have = append(have, string(tr.From)+" > "+string(tr.To)+": "+tr.Reason)
	}
	if h, w := strings.Join(have, "\n"), strings.Join(want, "\n"); h != w {
		b.t.Errorf("told\n%s\nwant\n%s", h, w)
	}
}

func TestLifeCycle(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		start := time.Now()
		b.try(3, broken, 0)
		b.want(Closed) // below the volume
		if i := b.Info(); i.Failures != 3 || i.Requests != 3 || i.Since != start || i.Mode != enforce || i.Opened != 0 || i.Reason != "" {
			t.Errorf("closed: %+v", i)
		}
		b.try(1, broken, 0)
		b.want(Open)
		time.Sleep(2 * time.Second)
		b.refused(3*time.Second, "4 of 4 requests failed")
		if i := b.Info(); i.Remaining != 3*time.Second || i.Since != start || i.Opened != 1 {
			t.Errorf("open: %+v", i)
		}
		time.Sleep(3*time.Second - 1)
		b.refused(1, "the upstream answered 500")
		time.Sleep(1 * time.Nanosecond)
		if i := b.Info(); i.State != HalfOpen || i.Remaining != 0 || i.Since != start.Add(5*time.Second) {
			t.Errorf("half-open: %+v", i)
		}
		b.try(1, Success(), 0)
		b.try(1, broken, 0)
		b.refused(10*time.Second, "a trial failed") // doubled
		time.Sleep(10 * time.Second)
		b.try(1, Success(), 0)
		b.try(5, Excluded(), 0) // takes no trial away
		b.want(HalfOpen)
		b.try(1, Success(), 0)
		b.want(Closed)
		b.story("closed > open: 4 of 4 requests failed within 10s; the last: the upstream answered 500",
			"open > half-open: its open time is over",
			"half-open > open: a trial failed: the upstream answered 500",
			"open > half-open: its open time is over",
			"half-open > closed: 2 of 2 trials succeeded")
		for i, at := range []time.Duration{0, 5, 5, 15, 15} {
			if b.told[i].At != start.Add(at*time.Second) {
				t.Errorf("change %d at %v, want %v s", i, b.told[i].At.Sub(start), int(at))
			}
		}
	})
}

func TestMetricOfState(t *testing.T) {
	for i, s := range []State{Closed, HalfOpen, Open} {
		if s.Metric() != float64(i) {
			t.Errorf("%s is %v", s, s.Metric())
		}
	}
}

// An open time that is over is said to be, though nobody asked to be let through.
func TestInfoDoesNotWaitForARequest(t *testing.T) {
	run(t, settings, enforce, func(b *bench) {
		b.try(4, broken, 0)
		time.Sleep(time.Hour)
		if i := b.Info(); i.State != HalfOpen || time.Since(i.Since) != time.Hour-5*time.Second {
			t.Errorf("%+v", i)
		}
	})
}

func TestBackOff(t *testing.T) {
	s := settings
	s.OpenMost = 30 * time.Second
	run(t, s, enforce, func(b *bench) {
		b.try(4, broken, 0)
		for _, want := range []time.Duration{5, 10, 20, 30, 30} {
			if have := b.Info().Remaining; have != want*time.Second {
				t.Fatalf("open for %v, want %v s", have, int(want))
			}
			time.Sleep(want * time.Second)
			b.try(1, broken, 0)
		}
		if n := b.Info().Opened; n != 6 {
			t.Errorf("opened %d times in a row", n)
		}
		time.Sleep(30 * time.Second)
		b.try(2, Success(), 0)
		time.Sleep(s.Window - 1)
		if n := b.Info().Opened; n != 6 {
			t.Errorf("opened %d times in a row, and not yet closed for a window", n)
		}
		b.try(4, broken, 0)
		if have := b.Info().Remaining; have != 30*time.Second {
			t.Errorf("tripped again at once, open for %v", have)
		}
		time.Sleep(30 * time.Second)
		b.try(2, Success(), 0)
		time.Sleep(s.Window)
		if n := b.Info().Opened; n != 0 {
			t.Errorf("opened %d times in a row after a good window", n)
		}
		b.try(4, broken, 0)
		if have := b.Info().Remaining; have != 5*time.Second {
			t.Errorf("after a good window it is open for %v", have)
		}
	})
}

func TestOpenTimeIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			random float64
			want   time.Duration
		}{{0, 4500 * time.Millisecond}, {0.25, 4750 * time.Millisecond}, {0.5, 5 * time.Second}, {1, 5500 * time.Millisecond}} {
			b := New(settings, enforce, Options{Rand: func() float64 { return tt.random }})
			for range 4 {
				c, _ := b.Admit(0)
				c.Done(broken, 0)
			}
			if have := b.Info().Remaining; have.Round(time.Microsecond) != tt.want {
				t.Errorf("%v: open for %v, want %v", tt.random, have, tt.want)
			}
		}
	})
}

// An answer that breaks off is one answer still, and a failed one.
func TestABrokenAnswerIsOneFailure(t *testing.T) {
	counts := func(b *bench, requests, failures, slow int) {
		b.t.Helper()
		if i := b.Info(); i.Requests != requests || i.Failures != failures || i.Slow != slow {
			b.t.Errorf("%d requests, %d failures, %d slow, want %d, %d, %d", i.Requests, i.Failures, i.Slow, requests, failures, slow)
		}
	}
	begun := func(b *bench, o Outcome, took time.Duration) *Call {
		b.t.Helper()
		c := b.admit()
		c.Done(o, took)
		return &c
	}
	run(t, settings, enforce, func(b *bench) {
		good, failed, neither, late := begun(b, Success(), 0), begun(b, broken, 0), begun(b, Excluded(), 0), begun(b, Success(), 2*time.Second)
		counts(b, 3, 1, 1) // as soon as they begin
		for _, c := range []*Call{failed, neither, good, good} {
			c.Broke("half of it came")
		}
		counts(b, 3, 2, 1)
		time.Sleep(11 * time.Second)
		counts(b, 0, 0, 0)
		late.Broke("half of it came")
		counts(b, 0, 0, 0) // its beginning is forgotten, and so is its end
		first, last := begun(b, Success(), 0), begun(b, Success(), 0)
		begun(b, Success(), 0)
		begun(b, Success(), 0)
		first.Broke("half of it came")
		b.want(Closed)
		last.Broke("half of it came")
		b.want(Open)
		if reason := b.Info().Reason; !strings.Contains(reason, "2 of 4 requests failed") || !strings.Contains(reason, "half of it came") {
			t.Errorf("it opened because %s", reason)
		}
	})
	// What began before a change of the state says nothing after it.
	run(t, settings, enforce, func(b *bench) {
		old := begun(b, Success(), 0)
		b.try(3, broken, 0)
		b.want(Open)
		old.Broke("half of it came")
		time.Sleep(5 * time.Second)
		for range 2 {
			c := b.admit()
			c.Done(Success(), 0)
			c.Broke("a trial that was reported")
		}
		b.want(Closed)
		old.Broke("half of it came")
		counts(b, 0, 0, 0)
	})
	// One that is let through uncounted stays so.
	run(t, settings, disabled, func(b *bench) {
		begun(b, Success(), 0).Broke("half of it came")
		(&Call{}).Broke("half of it came")
		counts(b, 0, 0, 0)
	})
}
