package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	reachTime = 30 * time.Second // until a switch comes to a moment
	restTime  = 20 * time.Second // until both databases are equal, at rest
	repeats   = 4                // of a switch that was undone
)

// status is what is read of a capability's.
type status struct {
	Effective struct {
		Owner    string `json:"owner"`
		Phase    string `json:"phase"`
		Revision uint64 `json:"revision"`
	} `json:"effective"`
	Data struct {
		Phase string `json:"phase"`
		Error string `json:"error"`
	} `json:"data"`
	Switch struct {
		Ready   bool     `json:"ready"`
		Reasons []string `json:"reasons"`
	} `json:"switch"`
}

func verbTo(side string) string {
	if side == "legacy" {
		return "rollback"
	}
	return "cutover"
}

func (r *result) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// from lets the other side own before a switch.
func (w *world) from(ctx context.Context, c cell) error {
	if c.Target == "consul leader" {
		if err := w.scatter(ctx, c); err != nil {
			return err
		}
	}
	_, s, err := w.settled(ctx)
	if err == nil && s.Effective.Owner == c.To {
		other := "legacy"
		if c.To == "legacy" {
			other = "extracted"
		}
		_, err = w.repeat(ctx, other)
	}
	return err
}

// cell disturbs one switch and judges what has become of it.
func (w *world) cell(ctx context.Context, c cell) (r result) {
	r = result{cell: c, Errors: map[string]int{}}
	began := time.Now()
	defer func() { r.Took = time.Since(began) }()
	if err := w.from(ctx, c); err != nil {
		r.problem("before it began: %v", err)
		r.lost = true
		return r
	}
	said, letGo, err := w.reach(ctx, &r)
	if err != nil {
		r.problem("%v", err)
		return r
	}
	defer letGo()
	disturbed := time.Now()
	heal, err := w.fault(ctx, c)
	if err != nil {
		r.problem("make the fault: %v", err)
		r.lost = true
		return r
	}
	letGo()
	select {
	case <-time.After(w.times.fault):
	case <-ctx.Done():
	}
	if err := heal(context.WithoutCancel(ctx)); err != nil {
		r.problem("mend the fault: %v", err)
		r.lost = true
		return r
	}
	healed := time.Now()
	commanded := <-said
	if commanded != nil {
		r.Said = commanded.Error()
	}
	owner, _, err := w.settled(ctx)
	if err != nil {
		r.problem("%s after the mending nothing was well: %v; the command had said: %v", time.Since(healed).Round(time.Second), err, commanded)
		r.lost = true
	}
	switch {
	case err != nil:
		r.Outcome = "lost"
	case commanded == nil && owner == c.To:
		r.Outcome = "done"
	case owner == c.To:
		r.Outcome = "finished"
	default:
		r.Outcome = "repeated"
		if _, err := w.repeat(ctx, c.To); err != nil {
			r.problem("once more: %v", err)
		}
	}
	w.judge(ctx, &r, disturbed)
	return r
}

// reach types the command and blocks until the switch has come to the moment, where it stays until letGo. One that does not
// get there is typed again: nothing disturbs it but a machine that is too busy for times as short as these.
func (w *world) reach(ctx context.Context, r *result) (said chan error, letGo func(), err error) {
	for r.Tries = 1; ; r.Tries++ {
		said = make(chan error, 1)
		reached, goOn := w.points.arm(r.Moment)
		commanding, giveUp := context.WithTimeout(ctx, reachTime+w.times.fault+w.well)
		go func() {
			defer giveUp()
			said <- w.types(commanding, verbTo(r.To), "orders")
		}()
		select {
		case <-reached:
			return said, goOn, nil
		case err = <-said:
			if err == nil {
				err = errors.New("it was done")
			}
			err = fmt.Errorf("the switch ended before it came there: %w", err)
		case <-time.After(reachTime):
			goOn()
			return nil, nil, fmt.Errorf("the switch did not come there within %s", reachTime)
		}
		goOn()
		if _, s, unwell := w.settled(ctx); unwell != nil || s.Effective.Owner == r.To || r.Tries == repeats {
			return nil, nil, errors.Join(err, unwell)
		}
	}
}

// judge lets everything come to rest and holds what it then is against the record.
func (w *world) judge(ctx context.Context, r *result, disturbed time.Time) {
	well := time.Now()
	w.load.pause()
	defer w.load.resume()
	for _, a := range w.apps {
		a.busy.Wait()
	}
	rested := time.Now()
	record := w.load.take()
	var sides [2]*pgx.Conn
	for side, d := range w.databases {
		conn, err := pgx.Connect(ctx, d.URL(names[side]))
		if err != nil {
			r.problem("ask the databases: %v", err)
			r.lost = true
			return
		}
		defer conn.Close(ctx) //nolint:errcheck // only read
		sides[side] = conn
	}
	bounded, cancel := context.WithTimeout(ctx, restTime)
	defer cancel()
	if err := until(bounded, func() error { return equal(bounded, sides) }); err != nil {
		r.problem("at rest: %v", err)
	}
	var ids []string
	for _, o := range record {
		if o.id != "" {
			ids = append(ids, o.id)
		}
	}
	h, said, err := readHistory(ctx, sides[legacy], ids)
	if err != nil {
		r.problem("ask the databases: %v", err)
		r.lost = true
		return
	}
	r.Problems = append(r.Problems, said...)
	r.Problems = append(r.Problems, judge(record, w.values, h, rested)...)
	w.values = h.values
	r.Problems = append(r.Problems, w.gates.take()...)
	last := disturbed
	slices.SortFunc(record, func(a, b operation) int { return a.end.Compare(b.end) })
	for _, o := range record {
		if !o.ok {
			r.Errors[o.kind]++
			if err := r.explains(o); err != nil || o.end.Before(disturbed) {
				r.problem("request of order %d by proxy %d, from %s to %s, with a fault since %s: %s: %s", o.order, o.via+1, o.start.Format("05.000"), o.end.Format("05.000"), disturbed.Format("05.000"), o.kind, o.said)
			}
			continue
		}
		if o.id != "" && o.end.After(disturbed) && o.end.Before(well) {
			r.Silence = max(r.Silence, o.end.Sub(last))
			last = o.end
		}
	}
	r.Silence = max(r.Silence, well.Sub(last))
	if len(r.Problems) > 12 {
		r.Problems = append(r.Problems[:12], fmt.Sprintf("and %d more", len(r.Problems)-12))
	}
}

// settled waits until all is well: somebody leads, nothing is under way, both proxies serve the same, and writes by both
// are done.
func (w *world) settled(ctx context.Context) (owner string, s status, err error) {
	bounded, cancel := context.WithTimeout(ctx, w.well)
	defer cancel()
	err = until(bounded, func() (err error) {
		if _, s, err = w.leader(bounded); err != nil {
			return err
		}
		if s.Effective.Phase != "steady" || s.Data.Phase != "following" || !s.Switch.Ready {
			return fmt.Errorf("owner %s, %s; data %s %s; a switch is not possible: %v", s.Effective.Owner, s.Effective.Phase, s.Data.Phase, s.Data.Error, s.Switch.Reasons)
		}
		for i, p := range w.proxies {
			var serving struct {
				Revision uint64 `json:"revision"`
				Holding  bool   `json:"holding"`
			}
			if err := p.ask(bounded, "/proxy/serving?capability=orders&revision=0&idle=false&wait=0s", &serving); err != nil {
				return err
			}
			if serving.Revision != s.Effective.Revision || serving.Holding {
				return fmt.Errorf("proxy %d serves revision %d of %d, holding %v", i+1, serving.Revision, s.Effective.Revision, serving.Holding)
			}
			for range 3 {
				o := operation{client: clients + i, via: i, order: 1 + i, value: w.load.next()}
				o.id = fmt.Sprintf("w%d", o.value)
				if o = w.load.send(bounded, o); bounded.Err() == nil {
					w.load.note(o)
				}
				if !o.ok {
					return fmt.Errorf("a write by proxy %d: %s: %s", i+1, o.kind, o.said)
				}
			}
		}
		return nil
	})
	return s.Effective.Owner, s, err
}

// repeat switches undisturbed, and again where the ground is not ready yet.
func (w *world) repeat(ctx context.Context, to string) (tries int, err error) {
	for tries = 1; ; tries++ {
		err = w.types(ctx, verbTo(to), "orders")
		owner, _, unwell := w.settled(ctx)
		if unwell != nil {
			return tries, errors.Join(err, unwell)
		}
		if owner == to {
			return tries, nil
		}
		if tries == repeats {
			return tries, err
		}
	}
}
