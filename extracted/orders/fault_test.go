package orders

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

var faults = map[string]fault{
	"503":                         status(503),
	"cut before it acted":         cutBefore,
	"cut after it acted":          cutAfter,
	"500 after it acted":          failAfter,
	"acted after the call's time": tooLate,
}

func TestOneFaultIsOvercome(t *testing.T) {
	for name, f := range faults {
		for _, path := range []string{"/api/stock/take", "/api/billing/charges"} {
			t.Run(path[5:]+" "+name, func(t *testing.T) {
				s := newShop(t)
				s.fill("1", "2")
				s.town.fail(path, f)
				s.settled(s.order(s.want(s.checkOut(), 201)).ID, confirmed)
				if s.town.stock[1] != 98 || s.town.called(path) != 2 {
					t.Errorf("stock is %d after %d calls", s.town.stock[1], s.town.called(path))
				}
			})
		}
	}
}

func TestLastingFaultIsLeftToTheWorker(t *testing.T) {
	for name, f := range faults {
		for _, path := range []string{"/api/stock/take", "/api/billing/charges"} {
			t.Run(path[5:]+" "+name, func(t *testing.T) {
				s := newShop(t)
				s.fill("1", "2")
				s.town.failAlways(path, f)
				if a := s.want(s.checkOut(), 503); a.header.Get("Retry-After") != "1" {
					t.Error("no Retry-After")
				}
				if claimed := s.work(); claimed != 1 {
					t.Fatalf("worker claimed %d", claimed)
				}
				if s.value(`SELECT count(*) FROM orders WHERE status = 'pending'`) != 1 {
					t.Error("order is not pending while nobody answers")
				}
				s.town.failAlways(path, nil)
				s.work()
				s.settled(s.lastOrder(), confirmed)
				if s.town.stock[1] != 98 {
					t.Errorf("stock is %d", s.town.stock[1])
				}
			})
		}
	}
}

func TestFaultsOfTheWayBack(t *testing.T) {
	for name, f := range faults {
		for _, path := range []string{"/api/stock/return", "/api/billing/refunds"} {
			t.Run(path[5:]+" "+name, func(t *testing.T) {
				s := newShop(t)
				s.town.stock[4] = 5
				s.fill("4", "1") // taken, then not paid
				s.town.failAlways(path, f)
				s.want(s.checkOut(), 503)
				s.town.failAlways(path, nil)
				// Even if paying were possible by now: it is decided.
				s.exec(`UPDATE orders SET total_cents = 1`)
				s.work()
				s.settled(s.lastOrder(), refused)
				if s.town.stock[4] != 5 {
					t.Errorf("stock is %d", s.town.stock[4])
				}
			})
		}
	}
}

func TestNobodyListens(t *testing.T) {
	s := newShop(t)
	s.fill("1", "1") // and so the session is known for a while
	addr := s.town.Listener.Addr().String()
	s.town.Close()
	s.want(s.checkOut(), 503)
	back := httptest.NewUnstartedServer(s.town)
	back.Listener.Close()
	ln, err := listen(addr)
	must(t, err)
	back.Listener = ln
	back.Start()
	t.Cleanup(back.Close)
	s.work()
	s.settled(s.lastOrder(), confirmed)
}

// A call that is wrong is no refusal: nothing is compensated, nothing is asked again at once.
func TestWrongTokenIsNoRefusal(t *testing.T) {
	s := newShop(t)
	s.fill("1", "1")
	s.town.failAlways("/api/stock/take", status(http.StatusUnauthorized))
	s.want(s.checkOut(), 503)
	if s.town.called("/api/stock/take") != 1 || s.town.called("/api/stock/return") != 0 {
		t.Error("a 401 was repeated or compensated")
	}
	s.town.failAlways("/api/stock/take", nil)
	s.work()
	s.settled(s.lastOrder(), confirmed)
}

// A payment refunded while its order is being placed must keep the order from being confirmed, and a take
// still on its way then must not take.
func TestRefundDuringCheckout(t *testing.T) {
	s := newShop(t)
	s.fill("1", "2")
	late, reached, releaseLate := hold(t)
	charge, charging, goOn := hold(t)
	s.town.fail("/api/stock/take", late)
	s.town.failAlways("/api/stock/take", status(503)) // so that the late one is the only one to have come through
	s.town.fail("/api/billing/charges", charge)
	done := make(chan answered, 1)
	go func() { done <- s.checkOut() }()
	<-reached
	id := s.lastOrder()
	s.want(s.do("", "POST", "/api/orders/"+itoa(id)+"/refunded", "", "Authorization", "Bearer "+token), 200)
	s.town.failAlways("/api/stock/take", nil)
	<-charging
	goOn()
	s.want(<-done, 409)
	s.settled(id, refused)
	releaseLate()
	s.town.Close() // ends when the late take has been answered
	s.settled(id, refused)
	if s.town.stock[1] != 100 {
		t.Errorf("stock is %d", s.town.stock[1])
	}
}
