package migrate

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"strangler/capability"
)

// Strain is how hard others have it with a database.
type Strain struct {
	Standby  string        // the one that is furthest behind; empty: there is none
	Lag      time.Duration // of Standby
	Busy     int           // sessions that execute a statement, ours not counted
	Slot     string        // that is closest to being given up, ours not counted; empty: none can be
	Headroom int64         // bytes of log until Slot is given up
	// Hidden says that the role sees neither standbys nor sessions of others.
	Hidden bool
}

// Strained is a database that can be asked for its strain.
type Strained interface {
	Strain(ctx context.Context) (Strain, error)
}

// strainEvery is how often a database is asked while work depends on it.
const strainEvery = time.Second

// throttle makes work wait while one of two databases is under strain. It looks
// while somebody has work, and fails closed: what cannot be read is no permission.
type throttle struct {
	limits    capability.Restraint
	databases map[capability.Side]Strained

	mu     sync.Mutex
	asked  time.Time // guarded by mu
	reason string    // why work waits; empty: it does not; guarded by mu
}

func newThrottle(limits capability.Restraint, databases map[capability.Side]Database) *throttle {
	t := &throttle{limits: limits, databases: map[capability.Side]Strained{}}
	for side, d := range databases {
		t.databases[side] = d
	}
	return t
}

// wait blocks while a database is under strain, or until ctx ends. tell hears why,
// each time it has changed, and nothing at the end.
func (t *throttle) wait(ctx context.Context, tell func(reason string)) error {
	if !t.limits.Waits() {
		return nil
	}
	for said := ""; ; {
		reason := t.look(ctx)
		if reason == "" {
			return nil
		}
		if reason != said {
			said = reason
			tell(reason)
		}
		if err := wait(ctx, nil, time.Now().Add(strainEvery)); err != nil {
			return err
		}
	}
}

// look asks the databases unless somebody just has.
func (t *throttle) look(ctx context.Context) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.asked) < strainEvery {
		return t.reason
	}
	var reasons []string
	for _, side := range capability.Sides {
		strain, err := t.databases[side].Strain(ctx)
		if err != nil {
			reasons = append(reasons, fmt.Sprintf("the strain of the %s database cannot be read: %v", side, err))
			continue
		}
		reasons = append(reasons, t.judge(side, strain)...)
	}
	t.asked, t.reason = time.Now(), strings.Join(reasons, "; ")
	return t.reason
}

// judge says what stands against work on a database.
func (t *throttle) judge(side capability.Side, s Strain) (reasons []string) {
	limit := t.limits
	if s.Hidden && (limit.ReplicaLag > 0 && s.Standby != "" || limit.Busy > 0) {
		return []string{fmt.Sprintf("what the %s database has to bear is hidden from the mover's role; GRANT pg_read_all_stats to it", side)}
	}
	if limit.ReplicaLag > 0 && s.Lag > limit.ReplicaLag {
		reasons = append(reasons, fmt.Sprintf("replica lag %.1f s > %s (%s of the %s database)", s.Lag.Seconds(), limit.ReplicaLag, s.Standby, side))
	}
	if limit.Busy > 0 && s.Busy > limit.Busy {
		reasons = append(reasons, fmt.Sprintf("%d sessions at work > %d in the %s database", s.Busy, limit.Busy, side))
	}
	if limit.Headroom > 0 && s.Slot != "" && s.Headroom < limit.Headroom {
		reasons = append(reasons, fmt.Sprintf("slot %s of the %s cluster is %s < %s from being given up", s.Slot, side, size(max(s.Headroom, 0)), size(limit.Headroom)))
	}
	return reasons
}
