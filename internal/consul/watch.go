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

var errFiltered = errors.New("the token may not read the service")

var errStale = errors.New("the answer is older than is taken, or comes from a server without a leader")

// view is what the watch of one service knows. Its goroutine alone uses it.
type view struct {
	*watching
	index uint64
	good  []capability.Instance
	doubt time.Time // since when Consul's answer is not believed; zero: it is
	fresh bool      // ask the leader, not any server
}

// watch asks until ctx ends: at once again after an answer, later after an
// error, and never faster than the pace.
func (d *Discovery) watch(ctx context.Context, w *watching) {
	service := w.service
	v := &view{watching: w, good: d.Instances(service)}
	var speed pace
	failures := 0
	for {
		if !sleep(ctx, speed.delay(time.Now())) {
			return
		}
		err := d.once(ctx, v)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && failures > 0:
			d.log.Info("consul answers again", slog.String("service", service), slog.Int("failures", failures))
			failures = 0
		case err != nil:
			if failures == 0 {
				d.log.Warn("consul does not answer; the last instances stay", slog.String("service", service), slog.Any("error", err))
			}
			if !sleep(ctx, d.bounds.pause(failures)) {
				return
			}
			failures++
		}
	}
}

// once asks one blocking query and acts on its answer. The index and the
// instances stay as they are when it fails.
func (d *Discovery) once(ctx context.Context, v *view) error {
	answer, meta, err := d.ask(ctx, v)
	if err != nil {
		v.index = 0 // ask for all there is as soon as Consul is back
		return fmt.Errorf("ask consul for %s: %w", v.service, err)
	}
	if meta.ResultsFilteredByACLs && len(answer) == 0 {
		v.index = 0
		return fmt.Errorf("ask consul for %s: %w", v.service, errFiltered)
	}
	if !meta.KnownLeader || meta.LastContact > d.bounds.stale {
		fresh := v.fresh
		v.index, v.fresh = 0, true
		if fresh {
			return fmt.Errorf("ask consul for %s: %w", v.service, errStale)
		}
		return nil
	}
	v.index = nextIndex(v.index, meta.LastIndex)
	d.settle(ctx, v, answer, time.Now())
	return nil
}

func (d *Discovery) ask(ctx context.Context, v *view) ([]capability.Instance, *api.QueryMeta, error) {
	wait := d.bounds.wait
	if !v.doubt.IsZero() {
		wait = d.bounds.recheck
	}
	wait -= rand.N(wait/16 + 1) // so that many proxies do not ask in step
	// Consul adds up to a sixteenth; an answer later than that is lost on the way.
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+d.bounds.grace)
	defer cancel()
	options := (&api.QueryOptions{WaitIndex: v.index, WaitTime: wait, AllowStale: !v.fresh}).WithContext(ctx)
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
	d.publish(v.watching, v.good)
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
