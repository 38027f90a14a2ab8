package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

// listener is a webhook that writes down what it is told.
type listener struct {
	mu     sync.Mutex
	told   []string
	answer map[string]func(ctx context.Context) error // by event
}

func (l *listener) Send(ctx context.Context, url string, a capability.Announcement) error {
	l.mu.Lock()
	text := fmt.Sprintf("%s %s: %s", url, a.Event, a.Owner)
	if a.To != "" {
		text += " to " + string(a.To)
	}
	l.told = append(l.told, text)
	answer := l.answer[string(a.Event)]
	l.mu.Unlock()
	if answer != nil {
		return answer(ctx)
	}
	return nil
}

func (l *listener) heard() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	told := l.told
	l.told = nil
	return told
}

// listened is a reconciler of a document with webhooks.
func listened(t *testing.T, w *world) (*Reconciler, *listener) {
	t.Helper()
	w.doc.Webhooks = capability.Webhooks{Before: []string{"a"}, After: []string{"b"}, Timeout: 2 * time.Second}
	l := &listener{answer: map[string]func(context.Context) error{}}
	r := w.reconciler(t)
	r.options.Webhooks = l
	if err := w.look(t, r); err != nil {
		t.Fatal(err)
	}
	if told := l.heard(); len(told) > 0 {
		t.Errorf("nothing was switched, and it was told %q", told)
	}
	return r, l
}

// Who is to agree is asked before writes are held, and told afterwards who owns.
func TestSwitchesAreAnnounced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, l := listened(t, w)
		l.answer["before"] = func(context.Context) error {
			if w.state.Phase != capability.Steady {
				t.Error("writes are held already")
			}
			return nil
		}
		if _, err := r.Switch(t.Context(), capability.Extracted, SwitchOptions{}, "test", silent); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := w.look(t, r); err != nil {
				t.Fatal(err)
			}
		}
		if told := l.heard(); !slices.Equal(told, []string{"a before: legacy to extracted", "b after: extracted"}) {
			t.Errorf("told %q", told)
		}
	})
}

// A no, or no answer, stops a switch with nothing done, and whoever was told hears that
// the old owner owns.
func TestANoStopsASwitch(t *testing.T) {
	t.Parallel()
	for says, answer := range map[string]func(context.Context) error{
		"a batch runs":        func(context.Context) error { return errors.New("a batch runs") },
		"no answer within 2s": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			r, l := listened(t, w)
			gates := w.gates
			l.answer["before"] = answer
			_, err := r.Switch(t.Context(), capability.Extracted, SwitchOptions{}, "test", silent)
			if err == nil || !strings.Contains(err.Error(), "the switch was not agreed to") || !strings.Contains(err.Error(), says) {
				t.Errorf("%v, want %q", err, says)
			}
			if w.state.Owner != capability.Legacy || w.state.Phase != capability.Steady || w.gates != gates || w.doc.Traffic.Owner != capability.Legacy {
				t.Errorf("something was done: %+v %+v", w.state, w.gates)
			}
			if told := l.heard(); len(told) < 2 || told[0] != "a before: legacy to extracted" || told[1] != "b after: legacy" {
				t.Errorf("told %q", told)
			}
		})
	}
}

// Who does not hear of the new owner is told again, by the next controller as well, and
// only until it has heard.
func TestTheNewOwnerIsToldUntilItIsHeard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, l := listened(t, w)
		l.answer["after"] = func(context.Context) error { return errors.New("deaf") }
		if _, err := r.Switch(t.Context(), capability.Extracted, SwitchOptions{}, "test", silent); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			time.Sleep(time.Minute) // of the test's own clock
			_ = w.look(t, r)
		}
		if told := l.heard(); len(told) < 4 {
			t.Errorf("told %q", told)
		}
		next := w.reconciler(t)
		next.options.Webhooks = l
		l.answer["after"] = nil
		for range 4 {
			time.Sleep(time.Minute)
			if err := w.look(t, next); err != nil {
				t.Fatal(err)
			}
		}
		if told := l.heard(); !slices.Equal(told, []string{"b after: extracted"}) {
			t.Errorf("the next controller has told %q", told)
		}
	})
}

// A process that sends nothing begins no switch that somebody wants to be asked of.
func TestWebhooksNeedASender(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.doc.Webhooks = capability.Webhooks{Before: []string{"a"}, Timeout: time.Second}
	r := w.reconciler(t)
	if err := w.look(t, r); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Switch(t.Context(), capability.Extracted, SwitchOptions{}, "test", silent); err == nil || w.state.Owner != capability.Legacy {
		t.Error("nobody was asked, and it switched")
	}
}
