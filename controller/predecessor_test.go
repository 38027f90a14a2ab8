package controller

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

// shelf is the store of one state that several controllers write to.
type shelf struct {
	mu    sync.Mutex
	state capability.Effective
}

func (s *shelf) Effective(context.Context) (map[string]capability.Effective, error) {
	return map[string]capability.Effective{"orders": s.now()}, nil
}

func (s *shelf) Publish(_ context.Context, next capability.Effective) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next.Revision != s.state.Revision+1 {
		return errors.New("somebody else has published")
	}
	s.state = next
	return nil
}

func (s *shelf) now() capability.Effective {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// TestALateTransitionIsTakenBack: a controller that has lost the lead without
// knowing it may still store a transition, because the store takes it from whoever
// has seen the last one. Its successor has read what was stored before, and the
// databases let the late one go no further: nobody but the successor can release
// the writes that every proxy holds from then on.
func TestALateTransitionIsTakenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		stored := &shelf{state: w.state}
		w.doc.Data.State = capability.DataRunning
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- New(Options{Documents: w, States: stored, Ledger: w, Proxies: w, Times: capability.DefaultTimes(), Log: slog.New(slog.DiscardHandler),
				Connect: func(context.Context, capability.Document, uint64) (*Data, error) {
					return &Data{Mover: w, Handover: w, Repairs: w, Border: w, Gates: w, Guards: w, Retirement: &w.ending, Close: func() {}}, nil
				}}).Run(ctx)
		}()
		time.Sleep(time.Second)
		synctest.Wait()
		late := stored.now()
		late.Revision++
		late.Phase, late.Attempt = capability.Switching, &capability.Attempt{To: capability.Extracted, Document: "a", Outcome: capability.Running}
		if err := stored.Publish(ctx, late); err != nil {
			t.Fatal(err)
		}
		time.Sleep(capability.DefaultTimes().Gap)
		synctest.Wait()
		if s := stored.now(); s.Phase != capability.Steady || s.Owner != capability.Legacy || s.Attempt.Outcome != capability.Undone {
			t.Errorf("writes are held for a switch that nobody makes: %+v", s)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
