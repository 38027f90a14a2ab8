package orders

import (
	"strings"
	"sync"
	"testing"
)

func TestCheckoutConfirms(t *testing.T) {
	s := newShop(t)
	s.fill("2", "2")
	s.fill("1", "3")
	o := s.order(s.want(s.checkOut(), 201))
	if o.Status != confirmed || o.TotalCents != 5300 || o.Note != "quick" || o.Ref != "buy" || len(o.Lines) != 2 ||
		o.Lines[0] != (Line{1, 1, 3, 100}) || o.Lines[1] != (Line{2, 2, 2, 2500}) {
		t.Errorf("order is %+v", o)
	}
	s.settled(o.ID, confirmed)
	if got := s.do("ann", "GET", "/api/orders/activity", "").body; strings.TrimSpace(got) != `{"writes":3,"last_ref":"buy"}` {
		t.Errorf("activity is %s", got)
	}
	if got := s.do("ann", "GET", "/api/orders/cart", "").body; strings.TrimSpace(got) != `{"lines":[],"total_cents":0}` {
		t.Errorf("cart is %s", got)
	}
	if s.town.stock[1] != 97 || s.town.stock[2] != 98 || s.town.charged[o.ID] != 5300 {
		t.Errorf("stock %v, charged %v", s.town.stock, s.town.charged)
	}
}

func TestCheckoutRefused(t *testing.T) {
	for _, c := range []struct {
		name, product, quantity string
		status                  int
		message                 string
	}{
		{"out of stock", "3", "2", 409, "out of stock"},
		{"charge refused", "4", "1", 402, "amount too high"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShop(t)
			s.town.stock[4] = 9
			s.fill("1", "2")
			s.fill(c.product, c.quantity)
			if a := s.want(s.checkOut(), c.status); !strings.Contains(a.body, c.message) {
				t.Errorf("answer is %s", a.body)
			}
			s.settled(s.lastOrder(), refused)
			if got := s.value(`SELECT sum(quantity) FROM cart_lines WHERE customer_id = 1`); got != s.value(`SELECT sum(quantity) FROM items`) {
				t.Errorf("%d pieces are back in the cart", got)
			}
			if s.value(`SELECT writes FROM order_stats WHERE customer_id = 1`) != 2 {
				t.Error("a refused checkout was counted")
			}
			// The way is open for another try with less.
			s.fill(c.product, "0")
			s.settled(s.order(s.want(s.checkOut(), 201)).ID, confirmed)
		})
	}
}

func TestCheckoutOfNothing(t *testing.T) {
	s := newShop(t)
	s.want(s.checkOut(), 409)
	s.fill("1", "1")
	s.fill("1", "0")
	s.want(s.checkOut(), 409)
	s.fill("1", "1")
	s.exec(`UPDATE products SET active = false WHERE id = 1`)
	s.want(s.checkOut(), 409)
	s.exec(`DELETE FROM products WHERE id = 1`)
	s.want(s.checkOut(), 409)
	if n := s.value(`SELECT count(*) FROM orders`); n != 0 || s.town.called("/api/stock") != 0 {
		t.Errorf("%d orders, %d calls to stock", n, s.town.called("/api/stock"))
	}
}

func TestEveryWriteIsCountedOnce(t *testing.T) {
	s := newShop(t)
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			if i%3 == 0 {
				s.do("ann", "POST", "/api/orders/checkout", `{}`) // confirmed, or an empty cart
				return
			}
			if a := s.do("ann", "PUT", "/api/orders/cart/items/1", `{"quantity":1}`); a.status != 200 {
				t.Errorf("status %d: %s", a.status, a.body)
			}
		})
	}
	all.Wait()
	orders := s.value(`SELECT count(*) FROM orders WHERE status = 'confirmed'`)
	if writes := s.value(`SELECT writes FROM order_stats WHERE customer_id = 1`); writes != 16+orders || writes != s.value(`SELECT count(*) FROM order_log`) {
		t.Errorf("%d writes counted for %d orders and 16 changes of the cart", writes, orders)
	}
	if took := 100 - s.town.stock[1]; took != s.value(`SELECT coalesce(sum(quantity), 0) FROM items`) {
		t.Errorf("stock gave %d", took)
	}
}
