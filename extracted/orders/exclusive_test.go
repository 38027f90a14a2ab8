package orders

import (
	"context"
	"sync"
	"testing"
)

// While a live request is at work, the worker keeps its hands off.
func TestWorkerLeavesLiveRequestsAlone(t *testing.T) {
	cfg := quick
	cfg.CallTimeout = cfg.Patience
	s := newShopWith(t, cfg)
	s.fill("1", "1")
	held, reached, release := hold(t)
	s.town.fail("/api/stock/take", held)
	done := make(chan answered, 1)
	go func() { done <- s.checkOut() }()
	<-reached
	if claimed, err := s.worker.runOnce(context.Background()); claimed != 0 || err != nil {
		t.Errorf("worker claimed %d: %v", claimed, err)
	}
	release()
	s.settled(s.order(s.want(<-done, 201)).ID, confirmed)
	if s.town.called("/api/stock/take") != 1 || s.town.called("/api/billing/charges") != 1 {
		t.Error("asked more than once")
	}
}

// A request that outlives its lease finds the work done and changes nothing.
func TestOvertakenRequestChangesNothing(t *testing.T) {
	for _, c := range []struct {
		name, product string
		status        int
		want          string
	}{{"confirmed", "1", 201, confirmed}, {"refused", "4", 409, refused}} {
		t.Run(c.name, func(t *testing.T) {
			cfg := quick
			cfg.CallTimeout = cfg.Patience
			s := newShopWith(t, cfg)
			s.town.stock[4] = 1
			s.fill(c.product, "1")
			held, reached, release := hold(t)
			s.town.fail("/api/stock/take", held)
			done := make(chan answered, 1)
			go func() { done <- s.checkOut() }()
			<-reached
			if claimed := s.work(); claimed != 1 {
				t.Fatalf("worker claimed %d", claimed)
			}
			s.settled(s.lastOrder(), c.want)
			release()
			s.want(<-done, c.status)
			s.settled(s.lastOrder(), c.want)
			if n := s.value(`SELECT coalesce(sum(quantity), 0) FROM cart_lines`); c.want == refused && n != 1 {
				t.Errorf("%d pieces in the cart", n)
			}
		})
	}
}

// A request whose lease has been given away cannot finish under the hands of the one who has it now.
func TestLeaseGivenAwayMidway(t *testing.T) {
	cfg := quick
	cfg.CallTimeout = cfg.Patience
	s := newShopWith(t, cfg)
	s.fill("1", "1")
	holdLive, liveReached, releaseLive := hold(t)
	holdWorker, workerReached, releaseWorker := hold(t)
	s.town.fail("/api/stock/take", holdLive, holdWorker)
	done, worked := make(chan answered, 1), make(chan int, 1)
	go func() { done <- s.checkOut() }()
	<-liveReached
	go func() { worked <- s.work() }()
	<-workerReached
	releaseLive()
	s.want(<-done, 503)
	if s.value(`SELECT count(*) FROM orders WHERE status = 'pending'`) != 1 {
		t.Error("the request finished what was no longer its own")
	}
	releaseWorker()
	if claimed := <-worked; claimed != 1 {
		t.Errorf("worker claimed %d", claimed)
	}
	s.settled(s.lastOrder(), confirmed)
}

// Two workers share what there is.
func TestWorkersDivide(t *testing.T) {
	s := newShop(t)
	s.exec(`INSERT INTO orders (customer_id, status, total_cents, created_at, updated_at)
		SELECT 1, 'pending', 100, now(), now() FROM generate_series(1, 30)`)
	s.exec(`INSERT INTO items SELECT id, 1, 1, 1, 100 FROM orders`)
	s.exec(`INSERT INTO outbox (order_id, kind, customer_id, ref, lease_until) SELECT id, 'checkout', 1, '', now() - interval '1 s' FROM orders`)
	var both sync.WaitGroup
	claimed := make([]int, 2)
	for i := range claimed {
		both.Go(func() {
			var err error
			if claimed[i], err = s.worker.runOnce(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if claimed[0]+claimed[1] != 30 || s.town.called("/api/stock/take") != 30 {
		t.Errorf("claimed %v, %d takes", claimed, s.town.called("/api/stock/take"))
	}
	s.settled(s.lastOrder(), confirmed)
	if s.value(`SELECT count(*) FROM orders WHERE status = 'confirmed'`) != 30 {
		t.Error("not all confirmed")
	}
}

// The worker as it runs in the process: it finds what is due, works on it and ends when told.
func TestWorkerRuns(t *testing.T) {
	cfg := quick
	cfg.WorkerEvery = 1e6 // a millisecond
	s := newShopWith(t, cfg)
	s.fill("1", "1")
	s.town.failAlways("/api/billing/charges", status(503))
	s.want(s.checkOut(), 503)
	s.town.failAlways("/api/billing/charges", nil)
	held, reached, release := hold(t)
	s.town.fail("/api/billing/charges", held)
	release()
	s.expire()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.worker.Run(ctx) }()
	<-reached
	cancel()
	must(t, <-ended)
	s.work() // what it was torn from, if it was
	s.settled(s.lastOrder(), confirmed)
}
