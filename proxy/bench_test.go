package proxy

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"strangler/capability"
)

// BenchmarkHold is what a write pays for being counted while nothing is held, alone and
// beside others of the same capability; and one that was held and is let through,
// of a hundred that wait together.
func BenchmarkHold(b *testing.B) {
	key := writeKey{"POST", "/api/orders/**"}
	fresh := func() *hold {
		h := newHold(HoldLimits{Requests: 1000, Bytes: 1 << 20, Age: time.Minute})
		h.set(state(1, capability.Legacy, 0))
		return h
	}
	write := func(h *hold) error {
		_, err := h.enter(context.Background(), key, 10)
		if err == nil {
			h.leave(key)
		}
		return err
	}
	b.Run("nothing is held", func(b *testing.B) {
		h := fresh()
		b.ReportAllocs()
		for b.Loop() {
			if err := write(h); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nothing is held, in parallel", func(b *testing.B) {
		h := fresh()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := write(h); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	b.Run("held and released", func(b *testing.B) {
		const together = 100
		h := fresh()
		b.ReportAllocs()
		revision := uint64(1)
		for n := 0; n < b.N; n += together {
			revision++
			switching := state(revision, capability.Legacy, 0)
			switching.Phase = capability.Switching
			h.set(switching)
			var wg sync.WaitGroup
			for range together {
				wg.Go(func() {
					if err := write(h); err != nil {
						b.Error(err)
					}
				})
			}
			for { // until all wait
				s, changed := h.serving()
				if s.Held == together {
					break
				}
				<-changed
			}
			revision++
			h.set(state(revision, capability.Extracted, capability.Whole))
			wg.Wait()
		}
	})
}

// BenchmarkRecord is what is done at the end of an exchange: the metrics, and the line
// of the access log.
func BenchmarkRecord(b *testing.B) {
	for _, c := range []struct {
		name  string
		every uint64
	}{{"metrics", 1 << 62}, {"metrics and log", 1}} {
		b.Run(c.name, func(b *testing.B) {
			p, err := New(Options{ID: "p", Legacy: capability.Upstream{Endpoints: []string{"http://h"}}, NewLeg: newCanned, AccessEvery: c.every,
				Log: slog.New(slog.NewJSONHandler(io.Discard, nil))})
			if err != nil {
				b.Fatal(err)
			}
			p.Update([]capability.Document{ordersDocument("http://e")}, map[string]capability.Effective{"orders": state(1, capability.Legacy, 0)})
			r, _ := http.NewRequest(http.MethodGet, "http://x/api/orders/1", nil)
			x := &exchange{proxy: p, request: r, started: time.Now(), id: "7e0b1f9c8a", status: http.StatusOK, endpoint: "http://e", attempts: 1,
				decision: decision{route: p.table.Load().routes[0], class: capability.Read, side: capability.Legacy, reason: "weight"}}
			b.ReportAllocs()
			for b.Loop() {
				p.record(x)
			}
		})
	}
}
