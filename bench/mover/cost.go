package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// cost is what following costs the source: pgbench as fast as it goes, while somebody follows or nobody does. On one machine
// those who follow, and the target, take their share of the same cores.
func (w *world) cost() section {
	return section{
		key: "source", title: fmt.Sprintf("Cost on the source: pgbench for %d s, %d clients", w.seconds, clients),
		unit: "transactions", bytes: "WAL", wait: "until the target had all of it",
		before: w.fillAccounts,
		contenders: []contender{
			{"nobody follows", w.nobodyFollows},
			{"native subscription", w.nativeFollows},
			{"strangler", func(ctx context.Context) (sample, error) { return w.stranglerFollows(ctx, "") }},
		},
	}
}

// withTriggers adds strangler's other way to see changes, where this one has it.
func (w *world) withTriggers(ctx context.Context, s section) (section, error) {
	able, err := w.captures(ctx)
	if err != nil {
		return s, err
	}
	if !able {
		w.say("\ncapture by triggers is left out: this strangler does not know data.capture")
		return s, nil
	}
	s.contenders = append(s.contenders, contender{"strangler, by triggers", func(ctx context.Context) (sample, error) { return w.stranglerFollows(ctx, triggers) }})
	return s, nil
}

func (w *world) nobodyFollows(ctx context.Context) (sample, error) {
	if err := w.tidy(ctx); err != nil {
		return sample{}, err
	}
	return w.loaded(ctx, nil)
}

func (w *world) nativeFollows(ctx context.Context) (sample, error) {
	if err := w.tidy(ctx); err != nil {
		return sample{}, err
	}
	if err := w.publish(ctx, followed()); err != nil {
		return sample{}, err
	}
	if err := w.subscribe(ctx); err != nil {
		return sample{}, err
	}
	s, err := w.loaded(ctx, nil)
	if err != nil {
		return s, err
	}
	if err := w.drained(ctx, &s); err != nil {
		return s, err
	}
	return s, w.unsubscribe(ctx)
}

func (w *world) stranglerFollows(ctx context.Context, data string) (sample, error) {
	running, err := w.follow(ctx, followed(), data)
	if err != nil {
		return sample{}, err
	}
	s, err := w.loaded(ctx, running)
	if err != nil {
		return s, err
	}
	if err := w.drained(ctx, &s); err != nil {
		return s, err
	}
	return s, w.leave(ctx, running)
}

var (
	processed = regexp.MustCompile(`number of transactions actually processed: (\d+)`)
	perSecond = regexp.MustCompile(`tps = ([0-9.]+)`)
)

// loaded measures pgbench by its own account, which leaves out the time to connect.
func (w *world) loaded(ctx context.Context, s *strangler) (sample, error) {
	from, err := w.position(ctx)
	if err != nil {
		return sample{}, err
	}
	var out string
	found, err := w.measure(ctx, s, func(ctx context.Context) (err error) {
		out, err = w.pgbench(ctx, "-T", strconv.Itoa(w.seconds))
		return err
	})
	if err != nil {
		return found, err
	}
	to, err := w.position(ctx)
	if err != nil {
		return found, err
	}
	found.Bytes = to - from
	count, tps := processed.FindStringSubmatch(out), perSecond.FindStringSubmatch(out)
	if count == nil || tps == nil {
		return found, fmt.Errorf("read what pgbench says: %s", out)
	}
	if found.Units, err = strconv.ParseInt(count[1], 10, 64); err != nil {
		return found, fmt.Errorf("read what pgbench says: %w", err)
	}
	rate, err := strconv.ParseFloat(tps[1], 64)
	if err != nil {
		return found, fmt.Errorf("read what pgbench says: %w", err)
	}
	found.Seconds = float64(found.Units) / rate
	return found, nil
}

// drained waits until the target has everything: who lags behind has cost the source less than it would.
func (w *world) drained(ctx context.Context, s *sample) error {
	began := time.Now()
	last, err := w.marked(ctx)
	if err != nil {
		return err
	}
	if err := w.arrived(ctx, last); err != nil {
		return err
	}
	s.Wait = time.Since(began).Seconds()
	return w.sameAccounts(ctx)
}
