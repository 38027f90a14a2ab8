package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// play runs the two parts: the first tenth, and the rest. Each has its share of requests, reloads and endpoint changes, and the
// whole fault matrix, so that everything that is made once has been made before the first reading.
func (s *soak) play(ctx context.Context) error {
	began := time.Now()
	defer func() { s.took = time.Since(began) }()
	stop := s.tell(ctx, began)
	defer stop()
	warm := s.warm()
	if err := s.part(ctx, 0, warm); err != nil {
		return err
	}
	var err error
	if s.first, err = s.quiesce(ctx, nil); err != nil {
		return fmt.Errorf("first reading: %w", err)
	}
	if err := s.part(ctx, warm, s.requests); err != nil {
		return err
	}
	if s.last, err = s.quiesce(ctx, &s.first); err != nil {
		return fmt.Errorf("last reading: %w", err)
	}
	return nil
}

// warm is after how many requests the first reading is taken: a tenth of them, but of a small run up to a half, because
// it takes about two thousand until every kind has met every route, endpoint and protocol.
func (s *soak) warm() int {
	const enough = 2000
	return max(s.requests/10, min(s.requests/2, enough))
}

// part plays from one number of requests to another. Whatever is ahead waits for what is behind.
func (s *soak) part(ctx context.Context, from, to int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	var watch sync.WaitGroup
	defer watch.Wait()
	defer close(over)
	watch.Go(func() {
		select {
		case <-s.proxy.process.Done():
			cancel(errEnded)
		case <-over:
		}
	})
	var all sync.WaitGroup
	all.Go(func() { s.traffic.run(ctx, to, s.abreast) })
	all.Go(func() {
		s.paced(ctx, s.reloads*from/s.requests, s.reloads*to/s.requests, s.reloads, s.changes.reload)
	})
	all.Go(func() {
		s.paced(ctx, s.options.changes*from/s.requests, s.options.changes*to/s.requests, s.options.changes, s.changes.endpoint)
	})
	stride := 1
	if s.short {
		stride = 3
	}
	all.Go(func() { s.matrix.run(ctx, stride) })
	all.Wait()
	return context.Cause(ctx)
}

const (
	pace = 5 * time.Millisecond // between two looks at who is behind
	lead = 4                    // changes by which the traffic may be ahead
)

// paced runs things at the moments, counted in requests, that spread them evenly.
func (s *soak) paced(ctx context.Context, from, to, of int, one func(context.Context, int)) {
	poll := time.NewTicker(pace)
	defer poll.Stop()
	for n := from; n < to; n++ {
		due := int64(n) * int64(s.requests) / int64(of)
		// The last requests of a part may all be under way and none left to come.
		for s.account.done.Load() < due {
			select {
			case <-ctx.Done():
				return
			case <-poll.C:
			}
		}
		one(ctx, n)
	}
}

// abreast blocks a request while changes are overdue that were to come before it.
func (s *soak) abreast(ctx context.Context, number uint64) {
	behind := func(done *atomic.Int64, of int) bool {
		return int64(number)*int64(of)/int64(s.requests) > done.Load()+lead
	}
	if !behind(&s.changes.reloads, s.reloads) && !behind(&s.changes.endpoints, s.options.changes) {
		return
	}
	poll := time.NewTicker(pace)
	defer poll.Stop()
	for behind(&s.changes.reloads, s.reloads) || behind(&s.changes.endpoints, s.options.changes) {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

// quiesce lets everything end that was begun, closes what is idle at both ends, and reads what the strangler still holds.
func (s *soak) quiesce(ctx context.Context, before *reading) (reading, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, 3*patience, errors.New("upstreams still have exchanges of clients that are gone"))
	defer cancel()
	err := eventually(bounded, s.proxy.process.Done(), func() error {
		if n := s.answers.waiting.Load(); n != 0 {
			return fmt.Errorf("%d handlers run", n)
		}
		return nil
	})
	if err != nil && ctx.Err() != nil {
		return reading{}, err
	}
	if err != nil {
		s.account.found("quiesce", "-", err)
	}
	s.forsaken(ctx)
	s.traffic.hangUp()
	for _, some := range s.servers {
		for _, one := range some {
			one.hangUp()
		}
	}
	s.failing.hangUp()
	s.breaking.hangUp()
	least := time.Duration(0)
	if before == nil && !s.short {
		least = idleTimers
	}
	return s.proxy.settled(ctx, before, least)
}

// forsaken checks that the proxy keeps no connection to endpoints that were withdrawn.
func (s *soak) forsaken(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("after %s", patience))
	defer cancel()
	for _, some := range s.servers {
		for _, one := range some {
			if one.withdrawn.Load() == 0 {
				continue
			}
			err := eventually(ctx, s.proxy.process.Done(), func() error {
				if n := one.open(); n > 0 {
					return fmt.Errorf("%d connections are open to %s, which was withdrawn", n, one.name)
				}
				return nil
			})
			if err != nil {
				s.account.found("withdrawn", "-", err)
			}
		}
	}
}

const tellEvery = 5 * time.Second

// tell prints a line of progress now and then until it is stopped.
func (s *soak) tell(ctx context.Context, began time.Time) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() {
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			fmt.Fprintf(s.out, "%5.0fs  %7d requests  %4d reloads  %4d endpoint changes  %3d faults  %d wrong  %s\n", time.Since(began).Seconds(),
				s.account.done.Load(), s.changes.reloads.Load(), s.changes.endpoints.Load(), s.matrix.done.Load(), s.account.wrong.Load(), s.matrix.now())
		}
	})
	return func() { cancel(); telling.Wait() }
}
