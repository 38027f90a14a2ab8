package model

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
	"strangler/controller"
)

// tick is between two looks. It is longer than any switch: a loop that waits for its
// turn keeps the time of a bubble from passing.
const tick = time.Minute

// performs lets a controller of the product make a switch in a theatre, and look
// after what became of it.
func (h *theatre) performs() {
	ctx, stop := context.WithCancel(h.Context())
	defer stop()
	h.play("leading", false, func(l label, _, _ *state) bool { return l.verb == takesLead })
	c := controller.New(controller.Options{Documents: h, States: h, Ledger: h, Proxies: h, Connect: h.connect, Tick: tick, Times: capability.DefaultTimes(),
		Healthy: func(context.Context, capability.Document, capability.Side) error { return nil }, Log: slog.New(slog.DiscardHandler)})
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	<-c.Ready()
	time.Sleep(time.Second)
	h.set(func() { h.playing = true })
	r, err := c.Capability("orders")
	if err != nil {
		h.Fatal(err)
	}
	_, err = r.Switch(ctx, capability.Extracted, controller.SwitchOptions{}, "test", func(capability.Progress) {})
	time.Sleep(10 * tick)
	h.set(func() { h.hearing = true })
	time.Sleep(3 * tick)
	stop()
	if stopped := <-ended; stopped != nil {
		h.Error(stopped)
	}
	h.set(func() {
		now := h.now()
		owner := capability.Legacy
		if now.db[extracted].state == open {
			owner = capability.Extracted
		}
		if h.stored.Phase != capability.Steady || h.stored.Owner != owner || now.db[sideOf(owner)].state != open || now.db[sideOf(owner).other()].state != sealed || err == nil && owner != capability.Extracted {
			h.Errorf("it ends (%v) with %+v, legacy %s, extracted %s\n%s", err, h.stored, now.gate(legacy), now.gate(extracted), h.played)
		}
	})
}

func (h *theatre) set(what func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	what()
}

// TestTheModelsControllerIsTheProducts: every call that the product makes in a switch,
// with each call going wrong in each way, every two of them, and with nothing that
// answers from one on, is one that the model makes then.
func TestTheModelsControllerIsTheProducts(t *testing.T) {
	t.Parallel()
	perform := func(t *testing.T, faults map[int]fault, outage int) {
		synctest.Test(t, func(t *testing.T) { newTheatre(t, faults, outage).performs() })
	}
	perform(t, nil, 0)
	for i := 1; i <= calls; i++ {
		for f := fails; f <= blind; f++ {
			t.Run(fmt.Sprintf("%d %d", i, f), func(t *testing.T) {
				t.Parallel()
				perform(t, map[int]fault{i: f}, 0)
				perform(t, map[int]fault{i: f}, i)
				for j := i + 1; j <= calls && !racing; j++ {
					for g := fails; g < blind && !t.Failed(); g++ {
						perform(t, map[int]fault{i: f, j: g}, 0)
					}
				}
			})
		}
	}
}

// calls is how many calls of a switch something goes wrong with: one that is begun,
// taken back and looked after has no more.
const calls = 20
