package shoppers

import (
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	acks := func(moments ...int) *Record {
		r := newRecord(began)
		for _, moment := range moments {
			r.acknowledged(Write{At: at(moment), Took: time.Duration(moment%1000) * time.Millisecond})
		}
		return r
	}
	for _, test := range []struct {
		name      string
		moments   []int
		gap, slow time.Duration
		perS      float64
	}{
		// Each write took as long as the fraction of its second, and so was due when the second began.
		{"between writes, whatever the order they were noted in", []int{1100, 1900, 1200, 1800}, 600 * time.Millisecond, 900 * time.Millisecond, 4},
		{"at the beginning", []int{1700, 1900}, 700 * time.Millisecond, 900 * time.Millisecond, 2},
		{"at the end", []int{1100, 1200}, 800 * time.Millisecond, 200 * time.Millisecond, 2},
		{"nothing at all", nil, time.Second, 0, 0},
		{"what is outside does not count, and what was due inside does", []int{900, 1500, 2999}, 500 * time.Millisecond, 999 * time.Millisecond, 2},
	} {
		w := acks(test.moments...).Window(at(1000), at(2000))
		if w.Gap != test.gap || w.Slowest != test.slow || w.PerS != test.perS {
			t.Errorf("%s: %+v, want gap %s, slowest %s, %v/s", test.name, w, test.gap, test.slow, test.perS)
		}
	}
}

func TestTimelineAndLateness(t *testing.T) {
	t.Parallel()
	began := time.Now()
	r := newRecord(began)
	r.answered(began, "a")
	r.answered(began.Add(2500*time.Millisecond), "b")
	r.failed(began.Add(2600*time.Millisecond), "x")
	r.acknowledged(Write{At: began.Add(2700 * time.Millisecond), Took: time.Second})
	r.arrived(lateAfter)
	r.arrived(lateAfter + 1)
	got := r.Seconds()
	if len(got) != 3 || got[0] != (Second{Requests: 1}) || got[1] != (Second{}) ||
		got[2] != (Second{Requests: 1, Failed: 1, Writes: 1, Slowest: time.Second}) {
		t.Errorf("seconds are %+v", got)
	}
	if late := r.Counts().Late; late != 1 {
		t.Errorf("%d late", late)
	}
}
