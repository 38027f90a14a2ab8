package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
)

var errFiltered = errors.New("the token may not read all that was asked for")

var errStale = errors.New("the answer is older than is taken, or comes from a server without a leader")

// cursor is where a series of blocking queries stands.
type cursor struct {
	index uint64
	fresh bool // ask the leader, not any server
}

// view is what the watch of one service knows. Its goroutine alone uses it.
type view struct {
	cursor
	*watching
	good  []capability.Instance
	doubt time.Time // since when Consul's answer is not believed; zero: it is
}

// watch asks for one service until ctx ends.
func (d *Discovery) watch(ctx context.Context, w *watching) {
	v := &view{watching: w, good: d.Instances(w.service)}
	d.bounds.follow(ctx, d.log.With(slog.String("service", w.service)), func(ctx context.Context) error {
		err := d.once(ctx, v)
		d.note(w, err, time.Now())
		return err
	})
}

// note keeps since when Consul does not answer.
func (d *Discovery) note(w *watching, err error, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		w.silent, w.silence = time.Time{}, nil
	case w.silent.IsZero():
		w.silent, w.silence = now, err
	}
}

// follow asks until ctx ends: at once again after an answer, later after an
// error, and never faster than the pace.
func (b bounds) follow(ctx context.Context, log *slog.Logger, once func(context.Context) error) {
	var speed pace
	failures := 0
	for sleep(ctx, speed.delay(time.Now())) {
		err := once(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && failures > 0:
			log.Info("consul answers again", slog.Int("failures", failures))
			failures = 0
		case err != nil:
			if failures == 0 {
				log.Warn("consul does not answer; what was last good stays", slog.Any("error", err))
			}
			if !sleep(ctx, b.pause(failures)) {
				return
			}
			failures++
		}
	}
}

// once asks one blocking query and acts on its answer. The instances stay as they
// are when it fails.
func (d *Discovery) once(ctx context.Context, v *view) error {
	answer, meta, err := d.ask(ctx, v)
	if err == nil && meta.ResultsFilteredByACLs && len(answer) == 0 {
		err = errFiltered
	}
	if err == nil {
		var usable bool
		asked := v.fresh
		usable, err = v.judge(meta, d.bounds.stale)
		switch {
		case !usable:
		case !asked && len(suspects(v.good, answer, !v.doubt.IsZero())) > 0:
			// A follower whose leader died a moment ago may not have applied what is
			// committed, and does not know that. Only a leader is heard on losses.
			v.index, v.fresh = 0, true
			return nil
		default:
			d.settle(ctx, v, answer, time.Now())
			return nil
		}
	}
	if err != nil {
		v.index = 0 // ask for all there is as soon as Consul is back
		return fmt.Errorf("ask consul for %s: %w", v.service, err)
	}
	return nil
}

// judge moves the cursor past an answer and says whether it is fresh enough. If it
// is not, the leader is asked next; that it does not know better is an error.
func (c *cursor) judge(meta *api.QueryMeta, stale time.Duration) (usable bool, err error) {
	if meta.KnownLeader && meta.LastContact <= stale {
		c.index = nextIndex(c.index, meta.LastIndex)
		return true, nil
	}
	if c.fresh {
		err = errStale
	}
	c.index, c.fresh = 0, true
	return false, err
}

// question returns the options of the next query and the context that bounds it.
func (b bounds) question(ctx context.Context, c cursor, wait time.Duration) (*api.QueryOptions, context.CancelFunc) {
	wait -= rand.N(wait/16 + 1) // so that many proxies do not ask in step
	// Consul adds up to a sixteenth; an answer later than that is lost on the way.
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+b.grace)
	return (&api.QueryOptions{WaitIndex: c.index, WaitTime: wait, AllowStale: !c.fresh}).WithContext(ctx), cancel
}

func (d *Discovery) ask(ctx context.Context, v *view) ([]capability.Instance, *api.QueryMeta, error) {
	wait := d.bounds.wait
	if !v.doubt.IsZero() {
		wait = d.bounds.recheck
	}
	options, cancel := d.bounds.question(ctx, v.cursor, wait)
	defer cancel()
	// An agent answers a blocking query from a stream of its own, unless it is to sort
	// by distance. A streamed answer does not say how old it is, nor that it comes from
	// the leader, not even where that was asked for.
	options.Near = "_agent"
	entries, meta, err := d.client.Health().Service(v.service, "", true, options)
	if err != nil {
		return nil, nil, err
	}
	all, nowhere := instances(entries)
	if len(nowhere) > 0 {
		d.log.Warn("instances without an address", slog.String("service", v.service), slog.Any("ids", nowhere[:min(len(nowhere), 8)]))
	}
	return all, meta, nil
}

// settle decides what of an answer to believe, and publishes that. An answer in
// doubt is asked for again, of the leader, until it is clear.
func (d *Discovery) settle(ctx context.Context, v *view, answer []capability.Instance, now time.Time) {
	lost := suspects(v.good, answer, !v.doubt.IsZero())
	if len(lost) > 0 {
		lost = d.alive(ctx, lost)
		if ctx.Err() != nil {
			return // every probe failed, and for that reason only
		}
	}
	long := !v.doubt.IsZero() && now.Sub(v.doubt) >= d.bounds.patience
	switch {
	case len(lost) == 0 || long && len(answer) > 0:
		lost, v.doubt, v.fresh = nil, time.Time{}, false
	case v.doubt.IsZero():
		v.doubt, v.fresh = now, true
		d.log.Warn("instances that answer are missing in consul; they are kept", slog.String("service", v.service),
			slog.Int("kept", len(lost)), slog.Any("of_them", few(lost)), slog.Int("answer", len(answer)))
	}
	v.good = slices.SortedFunc(slices.Values(slices.Concat(answer, lost)), func(a, b capability.Instance) int {
		return strings.Compare(a.Address, b.Address)
	})
	d.publish(v.watching, v.good, lost)
}

// nextIndex is HashiCorp's rule for blocking queries: an index that went
// backwards is forgotten, and one that is to block must be above zero.
func nextIndex(previous, got uint64) uint64 {
	if got < previous {
		return 0
	}
	return max(got, 1)
}

// pause is how long to wait after the given number of failures before it.
func (b bounds) pause(failures int) time.Duration {
	d := min(b.longest, b.backoff<<min(failures, 16))
	return d/2 + rand.N(d/2+1)
}

// pace bounds how often Consul is asked, since a blocking query may return at
// once for any reason: a few times at once, then twice a second.
type pace struct {
	due time.Time // when the next question would be due at the steady rate
}

const (
	paceStep  = 500 * time.Millisecond
	paceBurst = 5
)

// delay returns how long to wait before a question that is asked now.
func (p *pace) delay(now time.Time) time.Duration {
	if earliest := now.Add(-paceBurst * paceStep); p.due.Before(earliest) {
		p.due = earliest
	}
	p.due = p.due.Add(paceStep)
	return max(0, p.due.Sub(now))
}

// sleep waits, and says false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
