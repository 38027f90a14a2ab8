package migrate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"strangler/capability"
)

const (
	recheckEvery = 200 * time.Millisecond
	recheckBatch = 2000
	recheckWait  = 5 * time.Second  // for one pass, most of it until the stream has passed what was read
	suspectFor   = 30 * time.Second // a row that differs for longer is a mismatch
	finishMost   = 2000             // keys that a switch compares in its gap
)

// recheck compares, again and again, the rows that a stream has changed, so that
// few are left to compare when the owner is to be switched.
type recheck struct {
	d   *direction
	log *slog.Logger
	doc capability.Document

	pass  sync.Mutex // held while keys are taken out of the set
	mu    sync.Mutex
	taken int                // keys of the pass that runs; guarded by mu
	stop  context.CancelFunc // of the pass that runs, or nil; guarded by mu
	// suspects differ, although the stream has passed what was read. Guarded by mu.
	suspects map[string]suspect
}

func newRecheck(d *direction, doc capability.Document, log *slog.Logger) *recheck {
	return &recheck{d: d, log: log, doc: doc, suspects: map[string]suspect{}}
}

// run compares until ctx ends. That a database cannot be asked is the stream's to
// tell; here it is tried again.
func (r *recheck) run(ctx context.Context) error {
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := r.runOnce(ctx, time.Now()); err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			r.log.Warn("compare changed rows", "from", string(r.d.from), "error", err)
		}
	}
}

// runOnce compares one batch and returns what differs, or could not be decided,
// to the set.
func (r *recheck) runOnce(ctx context.Context, now time.Time) error {
	r.pass.Lock()
	defer r.pass.Unlock()
	ctx, cancel := context.WithTimeout(ctx, recheckWait)
	defer cancel()
	keys := r.take(recheckBatch, cancel)
	open, err := r.compare(ctx, r.byTable(keys), now)
	if err != nil {
		open = keys
	}
	r.give(open)
	return err
}

// take removes keys from the set; they count as unverified until give.
func (r *recheck) take(n int, stop context.CancelFunc) []Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := r.d.stream.Changed().Take(n)
	r.taken, r.stop = len(keys), stop
	return keys
}

func (r *recheck) give(open []Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.d.stream.Changed().Return(open)
	r.taken, r.stop = 0, nil
}

// unverified counts the keys in the set and those being compared.
func (r *recheck) unverified() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.d.stream.Changed().Len() + r.taken
}

// byTable groups keys by their table, in the order of the mappings.
func (r *recheck) byTable(keys []Key) [][]Key {
	groups := make([][]Key, len(r.d.mappings))
	for _, k := range keys {
		groups[k.Table] = append(groups[k.Table], k)
	}
	return slices.DeleteFunc(groups, func(g []Key) bool { return len(g) == 0 })
}

// reading is the keys of one table, and what the two sides have for them.
type reading struct {
	mapping       Mapping
	keys          []Key
	before, there []Found
}

// compare decides which keys are equal on both sides while both are in use, and
// returns the others. A source row whose version is the same before and after the
// target was read, when the stream had passed it, must be there as it is; about
// any other nothing can be said, and its change is on its way. All tables wait for
// the stream together.
func (r *recheck) compare(ctx context.Context, groups [][]Key, now time.Time) ([]Key, error) {
	readings := make([]reading, len(groups))
	for i, keys := range groups {
		m := r.d.mappings[keys[0].Table]
		before, err := r.here(ctx, keys, m)
		if err != nil {
			return nil, err
		}
		readings[i] = reading{mapping: m, keys: keys, before: before}
	}
	if len(readings) == 0 {
		return nil, nil
	}
	position, err := r.d.capture.Position(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.passed(ctx, position); err != nil {
		return nil, err
	}
	var open []Key
	for _, one := range readings {
		m := one.mapping
		if one.there, err = r.there(ctx, one.keys, m); err != nil {
			return nil, err
		}
		again, err := r.undecided(ctx, one, now)
		if err != nil {
			return nil, err
		}
		open = append(open, again...)
	}
	return open, nil
}

// undecided returns the keys that differ. Those whose source row is still the
// same are suspects.
func (r *recheck) undecided(ctx context.Context, one reading, now time.Time) ([]Key, error) {
	m, before, there := one.mapping, one.before, one.there
	var open []Key
	var differ []int
	for i, key := range one.keys {
		if equal(before[i], there[i]) {
			r.acquit(key)
			continue
		}
		differ, open = append(differ, i), append(open, key)
	}
	if len(differ) == 0 {
		return nil, nil
	}
	after, err := r.here(ctx, open, m)
	if err != nil {
		return nil, err
	}
	for i, at := range differ {
		if after[i].Version == before[at].Version {
			r.suspect(open[i], now, r.mismatch(m, open[i], before[at], there[at]))
		} else {
			r.acquit(open[i])
		}
	}
	return open, nil
}

// compared selects what must be equal: what a verification of all rows compares.
func (r *recheck) compared(m Mapping) (source, target Selection, names []string) {
	extra, _ := m.generated(r.doc)
	return m.comparedWith(extra)
}

// here reads rows of the source, there those of the target, as they compare.
func (r *recheck) here(ctx context.Context, keys []Key, m Mapping) ([]Found, error) {
	source, _, _ := r.compared(m)
	return r.d.source.ByKey(ctx, source, keyColumns(m.FromKey, m.From), values(keys))
}

func (r *recheck) there(ctx context.Context, keys []Key, m Mapping) ([]Found, error) {
	_, target, _ := r.compared(m)
	return r.d.target.ByKey(ctx, target, keyColumns(m.ToKey, m.To), values(keys))
}

func values(keys []Key) [][]string {
	values := make([][]string, len(keys))
	for i, k := range keys {
		values[i] = k.Values
	}
	return values
}

// passed blocks until the stream has applied everything before the position.
func (r *recheck) passed(ctx context.Context, position capability.Position) error {
	for wait := time.Millisecond; r.d.stream.Applied() < position; wait = min(2*wait, 50*time.Millisecond) {
		r.d.stream.Nudge()
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the stream from %s to pass %s: %w", r.d.from, position, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
	return nil
}

// finish compares all keys that are left while nobody writes to the moved tables
// and everything is applied: plain reads of both sides are exact then. Rows of
// copied tables are written by their owner still, and are left in the set.
func (r *recheck) finish(ctx context.Context) ([]capability.Mismatch, error) {
	r.mu.Lock()
	if r.stop != nil {
		r.stop() // a pass of the background must not use up the gap
	}
	r.mu.Unlock()
	r.pass.Lock()
	defer r.pass.Unlock()
	if r.d.stream.Changed().Overflowed() {
		return nil, errors.New("nobody knows which rows have changed since the last full verification; run it again")
	}
	var keys, others []Key
	for _, k := range r.take(r.d.stream.Changed().Len(), nil) {
		if r.d.mappings[k.Table].Pair.Mode == capability.Copy {
			others = append(others, k)
		} else {
			keys = append(keys, k)
		}
	}
	if len(keys) > finishMost {
		r.give(append(keys, others...))
		return nil, fmt.Errorf("%d rows are not compared yet, more than the %d that fit into the gap of a switch", len(keys), finishMost)
	}
	mismatches, err := r.exact(ctx, keys)
	if err != nil || len(mismatches) > 0 {
		others = append(others, keys...)
	}
	r.give(others)
	return mismatches, err
}

func (r *recheck) exact(ctx context.Context, keys []Key) ([]capability.Mismatch, error) {
	var mismatches []capability.Mismatch
	for _, batch := range r.byTable(keys) {
		m := r.d.mappings[batch[0].Table]
		here, err := r.here(ctx, batch, m)
		if err != nil {
			return nil, err
		}
		there, err := r.there(ctx, batch, m)
		if err != nil {
			return nil, err
		}
		for i := range batch {
			if !equal(here[i], there[i]) {
				mismatches = append(mismatches, r.mismatch(m, batch[i], here[i], there[i]))
			}
		}
	}
	return mismatches, nil
}
