package consul

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
)

// Watch returns a channel that wakes its reader after documents or effective
// states changed, within milliseconds, and once at the beginning. A failure of
// Consul is no change; that it answers again may be one. While Load returns less or
// more than Consul says, it wakes every two seconds. It has one slot, so a reader
// that is busy is woken once for many changes; it says nothing of what changed. It
// is closed when ctx ends. A change made after Watch has returned is never missed.
func (s *Store) Watch(ctx context.Context) <-chan struct{} {
	signals := make(chan struct{}, 1)
	var watches sync.WaitGroup
	// One each, and none of what lies beside them: renewals and the ledger would wake
	// every proxy for nothing.
	for _, dir := range []string{routes, effective} {
		f := &folder{store: s, dir: dir, signals: signals}
		log := s.log.With(slog.String("folder", s.key(dir)))
		watches.Go(func() { s.bounds.follow(ctx, log, f.once) })
	}
	watches.Go(func() {
		ticker := time.NewTicker(s.bounds.recheck)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if s.unsure.Load() {
					signal(signals)
				}
			}
		}
	})
	go func() {
		watches.Wait()
		close(signals)
	}()
	return signals
}

// folder is the watch of one folder of keys. Its goroutine alone uses it.
type folder struct {
	cursor
	store   *Store
	dir     string
	signals chan struct{}
	heard   bool
	seen    map[string]uint64 // the index of each key
}

// once asks one blocking query, and wakes the reader if its answer is another than
// the last: that one comes is no sign of a change.
func (f *folder) once(ctx context.Context) error {
	b := f.store.bounds
	options, cancel := b.question(ctx, f.cursor, b.wait)
	defer cancel()
	pairs, meta, err := f.store.client.KV().List(f.store.key(f.dir)+"/", options)
	if err == nil && meta.ResultsFilteredByACLs {
		err = errFiltered
	}
	var usable bool
	if err == nil {
		usable, err = f.judge(meta, b.stale)
	}
	if err != nil {
		f.index = 0
		return fmt.Errorf("watch %s in consul: %w", f.store.key(f.dir), err)
	}
	if !usable {
		return nil
	}
	f.fresh = false
	if f.dir == effective {
		f.store.hear(pairs)
	}
	f.store.quiet[f.dir].Store(nil) // it answers: who is woken is to ask
	// An index of none is one that went backwards: Consul was restored, and its indexes
	// say nothing of what we have seen.
	if seen := indexes(pairs); !f.heard || f.index == 0 || f.store.unsure.Load() || !maps.Equal(seen, f.seen) {
		f.heard, f.seen = true, seen
		signal(f.signals)
	}
	return nil
}

// hear keeps the states of an answer.
func (s *Store) hear(pairs api.KVPairs) {
	states := map[string]capability.Effective{}
	for name, pair := range s.below(effective, pairs) {
		if state, err := decodeState(name, pair.Value); err == nil { // Effective tells of those that are not understood
			states[name] = state
		}
	}
	s.heard.Store(&states)
}

// Heard returns the effective states, by name, that the last answer to Watch has
// brought, without asking anybody, so that who is woken need not wait for a second
// answer to learn what the first one said. Each has been stored at some time, but the
// answer may be an older one than what is known already, may lack states, and may come
// before a loss was looked into: only what is newer in it says anything. It is empty
// until a watch has an answer.
func (s *Store) Heard() map[string]capability.Effective {
	heard := s.heard.Load()
	if heard == nil {
		return nil
	}
	states := maps.Clone(*heard)
	for name, state := range states {
		states[name] = owned(state)
	}
	return states
}

func indexes(pairs api.KVPairs) map[string]uint64 {
	all := make(map[string]uint64, len(pairs))
	for _, pair := range pairs {
		all[pair.Key] = pair.ModifyIndex
	}
	return all
}
