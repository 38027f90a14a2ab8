package controller

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

// slowProxies serve an older document for a while.
type slowProxies struct {
	*world
	after int // answers until the new document is served
}

func (s *slowProxies) Serving(context.Context, capability.Registration, string, uint64, bool, time.Duration) (capability.Serving, error) {
	if s.after > 0 {
		s.after--
		return capability.Serving{Proxy: "p", Document: "older"}, nil
	}
	return capability.Serving{Proxy: "p", Document: s.doc.Revision}, nil
}

func TestBreakersAreSetWhenEveryProxyServesTheDocument(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		after int
		fails bool
	}{{after: 5}, {after: 1000, fails: true}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			r := w.reconciler(t)
			r.options.Proxies = &slowProxies{world: w, after: c.after}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := r.SetBreakers(ctx, map[capability.Side]capability.BreakerMode{capability.Extracted: capability.BreakerForced}, "test")
			if (err != nil) != c.fails || c.fails && !strings.Contains(err.Error(), "the proxy p does not serve it yet") {
				t.Errorf("after %d answers: %v", c.after, err)
			}
			if got := w.doc.Breakers.Of(capability.Extracted); got != capability.BreakerForced {
				t.Errorf("the document says %s", got)
			}
			if last := w.ledger[len(w.ledger)-1]; last.Action != "breakers" || last.Evidence["extracted"] != "open" ||
				last.Actor != "test" || last.From != "extracted enforce" || last.To != "extracted open" {
				t.Errorf("ledger: %+v", last)
			}
		})
	}
}

// A status never looks as if somebody still routed by a document that is gone.
func TestStatusSaysThatTheDocumentIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r := w.reconciler(t)
	if s := r.Status(t.Context(), nil); len(s.Problems) != 0 {
		t.Fatalf("%v", s.Problems)
	}
	r.described(false)
	if s := r.Status(t.Context(), nil); len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Message, "is gone") {
		t.Errorf("%v", s.Problems)
	}
	r.described(true)
	if s := r.Status(t.Context(), nil); len(s.Problems) != 0 {
		t.Errorf("it is back: %v", s.Problems)
	}
}
