package breaker

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"strangler/capability"
)

var modes = []capability.BreakerMode{enforce, enforce, enforce, observe, disabled, forced}

// random is one random sequence of requests, reports, pauses and changes of mode,
// played to a breaker and to the model.
type random struct {
	*bench
	rng   *rand.Rand
	model *model
	start time.Time
	open  map[int]*Call
	ended map[int]*Call
	next  int
}

func TestRandomSequencesAgainstTheModel(t *testing.T) {
	rounds := uint64(300)
	if testing.Short() {
		rounds = 30
	}
	var seen [3]int
	for seed := range rounds {
		rng := rand.New(rand.NewPCG(seed, 7))
		s := capability.Breaker{
			Ratio: float64(1+rng.IntN(10)) / 10, Requests: 1 + rng.IntN(8), Window: time.Duration(1+rng.IntN(20)) * time.Second,
			OpenFor: time.Duration(1+rng.IntN(9)) * time.Second, OpenMost: time.Duration(rng.IntN(40)) * time.Second,
			Trials: 1 + rng.IntN(4), Slow: time.Duration(rng.IntN(3)) * time.Second, SlowRatio: float64(rng.IntN(11)) / 10,
		}
		mode := modes[rng.IntN(len(modes))]
		run(t, s, mode, func(b *bench) {
			r := &random{bench: b, rng: rng, model: newModel(s, mode), start: time.Now(), open: map[int]*Call{}, ended: map[int]*Call{}}
			from := b.Info().State
			for step := range 400 {
				r.step()
				r.compare(seed, step)
			}
			r.recovers()
			r.path(from)
			for _, tr := range b.told {
				seen[int(tr.To.Metric())]++
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if min(seen[0], seen[1], seen[2]) < int(rounds) {
		t.Errorf("the sequences change the state too seldom to show anything: %v", seen)
	}
}

func (r *random) step() {
	r.model.advance(0)
	switch n := r.rng.IntN(100); {
	case n < 40:
		r.request()
	case n < 75:
		r.report()
	case n < 80:
		r.breakOff()
	case n < 98:
		d := time.Duration(r.rng.IntN(3000)) * time.Millisecond
		if r.rng.IntN(20) == 0 {
			d *= 20
		}
		time.Sleep(d)
		r.model.advance(d)
	default:
		mode := modes[r.rng.IntN(len(modes))]
		r.Use(r.model.s, mode)
		r.model.use(mode)
	}
	r.model.advance(0)
}

func (r *random) request() {
	expiry := time.Duration(1+r.rng.IntN(10)) * time.Second
	c, err := r.Admit(expiry)
	if want := r.model.admit(r.next, expiry); want != (err == nil) {
		r.t.Fatalf("admitted: %v, want %v, when %s", err, want, r.model.state)
	}
	var open *OpenError
	if err != nil && (!errors.As(err, &open) || open.After <= 0) {
		r.t.Fatalf("refused with %#v", err)
	}
	if err == nil {
		r.open[r.next] = &c
	}
	r.next++
}

func (r *random) report() {
	if r.next == 0 {
		return
	}
	id := r.rng.IntN(r.next) // sometimes of one that is done or was refused
	if id = max(id, r.next-1-r.rng.IntN(8)); r.open[id] == nil {
		return
	}
	outcome := []Outcome{Success(), Success(), Success(), Excluded(), broken}[r.rng.IntN(5)]
	took := time.Duration(r.rng.IntN(2500)) * time.Millisecond
	r.open[id].Done(outcome, took)
	if r.rng.IntN(4) == 0 {
		r.open[id].Done(broken, took) // ignored
	}
	r.model.done(id, outcome, took)
	r.ended[id] = r.open[id]
	delete(r.open, id)
}

// breakOff lets an answer break off that was reported, a while ago or just now.
func (r *random) breakOff() {
	ids := slices.Sorted(maps.Keys(r.ended))
	if len(ids) == 0 {
		return
	}
	id := ids[max(r.rng.IntN(len(ids)), len(ids)-1-r.rng.IntN(8))]
	r.ended[id].Broke("broke off")
	r.model.broke(id)
	if r.rng.IntN(2) == 0 {
		delete(r.ended, id) // else perhaps once more, in vain
	}
}

func (r *random) compare(seed uint64, step int) {
	r.agree()
	i, m := r.Info(), r.model
	n, failed, slow := m.counts()
	var left time.Duration
	if m.state == Open && m.mode != forced {
		left = m.until - m.now
	}
	if i.State != m.state || i.Mode != m.mode || i.Opened != m.opened || i.Remaining != left ||
		i.Requests != n || i.Failures != failed || i.Slow != slow {
		r.t.Fatalf("seed %d, step %d: %+v\nwant %s %s, opened %d, left %v, %d %d %d", seed, step, i, m.state, m.mode, m.opened, left, n, failed, slow)
	}
	if len(m.trials) > m.s.Trials {
		r.t.Fatalf("%d trials at once", len(m.trials))
	}
}

// recovers finds that whatever happened before, a side that is well is asked again.
func (r *random) recovers() {
	r.t.Helper()
	r.Use(r.model.s, enforce)
	for range 4 + r.model.s.Trials {
		if r.Info().State == Closed {
			return
		}
		time.Sleep(max(r.Info().Remaining, 10*time.Second)) // no trial is let live for longer
		c, err := r.Admit(time.Second)
		if err == nil {
			c.Done(Success(), 0)
		}
	}
	r.t.Fatalf("it does not recover: %+v", r.Info())
}

// path finds that what was told is a walk along the allowed changes, in time.
func (r *random) path(from State) {
	at := r.start
	for i, tr := range r.told {
		byHand := tr.Reason == byOperator
		ok := tr.From == from && !tr.At.Before(at) && tr.Reason != ""
		switch {
		case byHand:
			ok = ok && (tr.To == Open || tr.To == Closed)
		case tr.From == Closed, tr.From == HalfOpen && tr.To == Open:
			ok = ok && tr.To == Open
		case tr.From == Open:
			ok = ok && tr.To == HalfOpen
		default:
			ok = ok && tr.To == Closed
		}
		if !ok {
			r.t.Fatalf("change %d: %+v, coming from %s at %v", i, tr, from, at)
		}
		from, at = tr.To, tr.At
	}
}
