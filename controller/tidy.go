package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"strangler/capability"
)

// Bounds of the pause after a tidying that failed: it locks tables, and
// validating a foreign key reads them.
const (
	tidyFirst = time.Second
	tidyMost  = time.Minute
	// guardsWait is how long writers of a table wait for the end of its guard.
	guardsWait = 100 * time.Millisecond
	// unguardIn is how long a database may take to end them that waits for nobody.
	unguardIn = time.Second
)

// chores is what is in order, by the epoch of the gate that it was done for.
type chores struct {
	guards, border uint64
	pause          time.Duration // after the last failure
	again          time.Time     // not before
	failed         error         // why not yet
}

// untidy makes the next look put everything in order again.
func (r *Reconciler) untidy() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tidied = chores{}
}

// tidy tells who owns, takes the guards of the side that owns out of its writers' way, and puts
// the border back where legacy owns; once per epoch, and with growing pauses
// where it fails. The caller holds acting.
func (r *Reconciler) tidy(ctx context.Context, o Observation) error {
	work := r.working()
	if work == nil || o.Gates == nil || o.Effective.Phase != capability.Steady {
		return nil
	}
	gate, owner := o.Gates[0], capability.Legacy
	if o.Gates[1].State == capability.Open {
		gate, owner = o.Gates[1], capability.Extracted
	}
	r.mu.Lock()
	done := r.tidied
	r.mu.Unlock()
	quiet := done.guards == gate.Epoch && done.border == gate.Epoch && !untold(o.Document, o.Effective)
	if quiet || gate.State != capability.Open {
		return nil
	}
	if time.Now().Before(done.again) {
		return done.failed
	}
	done.failed = errors.Join(work.chores(ctx, owner, gate.Epoch, &done), r.tellOwner(ctx, o.Document))
	if done.failed == nil {
		done.pause = 0
	} else {
		done.pause = min(max(2*done.pause, tidyFirst), tidyMost)
		done.again = time.Now().Add(done.pause)
	}
	r.mu.Lock()
	r.tidied = done
	r.mu.Unlock()
	return done.failed
}

// chores does what is not done for the epoch, and notes what it has.
func (w *work) chores(ctx context.Context, owner capability.Side, epoch uint64, done *chores) error {
	if done.guards != epoch {
		if err := w.data.Guards.Disable(ctx, owner, epoch, guardsWait); err != nil {
			return err
		}
		done.guards = epoch
	}
	if owner == capability.Legacy {
		if err := w.data.Border.RestoreBorder(ctx); err != nil {
			return err
		}
	}
	done.border = epoch
	return nil
}

// unguard takes the guards of the new owner away before its writers come: they would
// learn the tables with guards, and at once again without. Where somebody was faster it
// is left to the tidying.
func (a *attempt) unguard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, unguardIn)
	defer cancel()
	if err := a.data.Guards.Disable(ctx, a.to, a.opened, 0); err != nil {
		a.r.log.Debug("guards are disabled later", "error", err)
		return
	}
	a.r.mu.Lock()
	a.r.tidied.guards = a.opened
	a.r.mu.Unlock()
}

// census is what the proxies answered.
type census struct {
	serving []capability.Serving
	missing []string // registered and silent
}

// lapsedAnswer is how long a proxy is waited for that has not renewed its registration
// for long: a machine that is gone must not make writes wait.
const lapsedAnswer = 300 * time.Millisecond

// askProxies asks every registered proxy at once. One that does not answer and has not
// renewed its registration for long is gone.
func (r *Reconciler) askProxies(ctx context.Context, revision uint64, idle bool, wait time.Duration) (census, error) {
	registered, err := r.options.Proxies.Registered(ctx)
	if err != nil {
		return census{}, fmt.Errorf("list proxies: %w", err)
	}
	var mu sync.Mutex
	var all census
	gone := 0
	var asking sync.WaitGroup
	for _, proxy := range registered {
		asking.Go(func() {
			if proxy.Lapsed && !r.answers(ctx, proxy) {
				mu.Lock()
				defer mu.Unlock()
				gone++
				return
			}
			bounded, cancel := context.WithTimeout(ctx, wait+500*time.Millisecond)
			defer cancel()
			s, err := r.options.Proxies.Serving(bounded, proxy, r.name, revision, idle, wait)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				all.missing = append(all.missing, fmt.Sprintf("%s (%s: %v)", proxy.ID, proxy.Admin, err))
				return
			}
			all.serving = append(all.serving, s)
		})
	}
	asking.Wait()
	if len(registered) == gone && revision > 0 {
		return all, errors.New("no proxy is registered: nobody would hold the writes")
	}
	return all, nil
}

// answers says whether a proxy is there.
func (r *Reconciler) answers(ctx context.Context, proxy capability.Registration) bool {
	bounded, cancel := context.WithTimeout(ctx, lapsedAnswer)
	defer cancel()
	_, err := r.options.Proxies.Serving(bounded, proxy, r.name, 0, false, 0)
	return err == nil
}
