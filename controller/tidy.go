package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"strangler/capability"
)

// tidy takes the guards of the side that owns out of its writers' way, and puts
// the border back where legacy owns; once per epoch. The caller holds acting.
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
	tidied := r.tidied == gate.Epoch
	r.mu.Unlock()
	if tidied || gate.State != capability.Open {
		return nil
	}
	if err := work.data.Guards.Disable(ctx, owner, gate.Epoch); err != nil {
		return err
	}
	if owner == capability.Legacy {
		if err := work.data.Border.RestoreBorder(ctx); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.tidied = gate.Epoch
	r.mu.Unlock()
	return nil
}

// census is what the proxies answered.
type census struct {
	serving []capability.Serving
	missing []string // registered and silent
}

// askProxies asks every registered proxy at once. A registration that was not
// renewed for long is of a proxy that is gone.
func (r *Reconciler) askProxies(ctx context.Context, revision uint64, idle bool, wait time.Duration) (census, error) {
	registered, err := r.options.Proxies.Registered(ctx)
	if err != nil {
		return census{}, fmt.Errorf("list proxies: %w", err)
	}
	var mu sync.Mutex
	var all census
	var asking sync.WaitGroup
	for _, proxy := range registered {
		asking.Go(func() {
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
	if len(registered) == 0 && revision > 0 {
		return all, errors.New("no proxy is registered: nobody would hold the writes")
	}
	return all, nil
}
