package main

import (
	"context"
	"fmt"
	"slices"
)

// section is one question, with those who answer it in turns. The first of them is what the others are compared with.
type section struct {
	key, title string
	unit       string                      // of what is counted
	bytes      string                      // what the bytes are
	wait       string                      // what the wait is; empty: there is none
	before     func(context.Context) error // once
	after      func(context.Context) error // once, when all has gone well; may be nil
	contenders []contender
}

// contender is one way to do it. Its turn prepares what it needs, measures, looks whether everything has arrived, and leaves things
// as they were.
type contender struct {
	name string
	turn func(context.Context) (sample, error)
}

// sections are those that were asked for, in their order.
func (w *world) sections(ctx context.Context) ([]section, error) {
	cost := w.cost()
	if slices.Contains(w.only, cost.key) {
		var err error
		if cost, err = w.withTriggers(ctx, cost); err != nil {
			return nil, err
		}
	}
	all := []section{w.backfill(narrow), w.backfill(wide), w.catchup(false), w.catchup(true), cost, w.verify(), w.memory()}
	return slices.DeleteFunc(all, func(s section) bool { return !slices.Contains(w.only, s.key) }), nil
}

// play lets everybody have a turn in each round.
func (w *world) play(ctx context.Context, s section) (result, error) {
	w.say("\n%s", s.title)
	r := newResult(s)
	if err := s.before(ctx); err != nil {
		return r, err
	}
	for round := range w.rounds {
		for i, c := range s.contenders {
			found, err := c.turn(ctx)
			if err != nil {
				return r, fmt.Errorf("%s, round %d: %w", c.name, round+1, err)
			}
			r.Contenders[i].Samples = append(r.Contenders[i].Samples, found)
			w.say("  %d of %d  %-28s %8.2f s", round+1, w.rounds, c.name, found.Seconds)
		}
	}
	if s.after != nil {
		if err := s.after(ctx); err != nil {
			return r, err
		}
	}
	r.conclude()
	return r, nil
}
