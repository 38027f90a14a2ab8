package orders

import (
	"net/http"
	"testing"
)

func TestCancel(t *testing.T) {
	s := newShop(t)
	s.fill("1", "2")
	id := s.order(s.want(s.checkOut(), 201)).ID
	path := "/api/orders/" + itoa(id)
	s.want(s.do("bob", "DELETE", path+"?ref=away", ""), 404)
	s.want(s.do("ann", "DELETE", "/api/orders/99999999999999999999", ""), 404)
	for range 2 { // the second changes nothing and succeeds
		if o := s.order(s.want(s.do("ann", "DELETE", path+"?ref=away", ""), 200)); o.Status != cancelled {
			t.Errorf("order is %s", o.Status)
		}
	}
	s.settled(id, cancelled)
	if s.value(`SELECT writes FROM order_stats`) != 3 || s.value(`SELECT count(*) FROM order_log WHERE ref = 'away'`) != 1 {
		t.Error("cancel not recorded exactly once")
	}
	if s.town.stock[1] != 100 {
		t.Errorf("stock is %d", s.town.stock[1])
	}
}

func TestCancelWithFaults(t *testing.T) {
	for name, f := range faults {
		for _, path := range []string{"/api/stock/return", "/api/billing/refunds"} {
			t.Run(path[5:]+" "+name, func(t *testing.T) {
				s := newShop(t)
				s.fill("1", "2")
				id := s.order(s.want(s.checkOut(), 201)).ID
				s.town.failAlways(path, f)
				s.want(s.do("ann", "DELETE", "/api/orders/"+itoa(id), ""), 503)
				s.want(s.do("ann", "DELETE", "/api/orders/"+itoa(id), ""), 503) // somebody is at it
				s.town.failAlways(path, nil)
				s.work()
				s.settled(id, cancelled)
				s.want(s.do("ann", "DELETE", "/api/orders/"+itoa(id), ""), 200)
			})
		}
	}
}

func TestCancelOfWhatIsNotConfirmed(t *testing.T) {
	s := newShop(t)
	s.town.stock[4] = 1
	s.fill("4", "1")
	s.want(s.checkOut(), 402)
	s.want(s.do("ann", "DELETE", "/api/orders/"+itoa(s.lastOrder()), ""), 409)
	s.fill("4", "0")
	s.fill("1", "1")
	s.town.failAlways("/api/stock/take", status(503))
	s.want(s.checkOut(), 503)
	s.want(s.do("ann", "DELETE", "/api/orders/"+itoa(s.lastOrder()), ""), 409)
	s.town.failAlways("/api/stock/take", nil)
	s.work()
	s.settled(s.lastOrder(), confirmed)
}

func TestRefunded(t *testing.T) {
	s := newShop(t)
	s.fill("1", "2")
	id := s.order(s.want(s.checkOut(), 201)).ID
	path := "/api/orders/" + itoa(id) + "/refunded"
	s.want(s.do("ann", "POST", path, ""), http.StatusUnauthorized)
	s.want(s.do("", "POST", path, "", "Authorization", "Bearer wrong"), http.StatusUnauthorized)
	s.want(s.do("", "POST", "/api/orders/77/refunded", "", "Authorization", "Bearer "+token), 404)
	for range 2 {
		s.want(s.do("", "POST", path, "", "Authorization", "Bearer "+token), 200)
	}
	s.settled(id, cancelled)
	if s.town.stock[1] != 100 {
		t.Errorf("stock is %d", s.town.stock[1])
	}
}

// An order that ended while the other side owned it keeps nothing of this side's.
func TestEndedElsewhere(t *testing.T) {
	s := newShop(t)
	s.fill("1", "2")
	s.town.failAlways("/api/billing/charges", status(503))
	s.want(s.checkOut(), 503)
	s.exec(`UPDATE orders SET status = 'cancelled'`)
	s.town.failAlways("/api/billing/charges", nil)
	s.work()
	if stock, money := s.town.holds(s.lastOrder()); stock || money {
		t.Errorf("stock: %t, money: %t", stock, money)
	}
	if s.value(`SELECT count(*) FROM outbox WHERE done_at IS NULL`) != 0 || s.value(`SELECT count(*) FROM orders WHERE status = 'cancelled'`) != 1 {
		t.Error("not left as it was")
	}
}
