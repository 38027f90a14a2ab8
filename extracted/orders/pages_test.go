package orders

import (
	"strings"
	"testing"
)

func TestShoppingWithForms(t *testing.T) {
	s := newShop(t)
	if a := s.want(s.do("", "GET", "/cart", ""), 303); a.header.Get("Location") != "/login?next=%2Fcart" {
		t.Errorf("sent to %s", a.header.Get("Location"))
	}
	if a := s.want(s.do("", "POST", "/cart/items", "product_id=1&quantity=1"), 303); a.header.Get("Location") != "/login?next=%2F" {
		t.Errorf("sent to %s", a.header.Get("Location"))
	}
	if a := s.want(s.do("ann", "POST", "/cart/items", "product_id=2&quantity=3"), 303); a.header.Get("Location") != "/cart" {
		t.Errorf("sent to %s", a.header.Get("Location"))
	}
	s.want(s.do("ann", "POST", "/cart/items", "product_id=2&quantity=2"), 303) // sets, does not add
	cart := s.want(s.do("ann", "GET", "/cart", ""), 200)
	for _, text := range []string{"Book", `value="2"`, "€ 50.00", "served by orders service", "ann"} {
		if !strings.Contains(cart.body, text) {
			t.Errorf("cart lacks %q", text)
		}
	}
	where := s.want(s.do("ann", "POST", "/cart/checkout", "note=<b>soon</b>"), 303).header.Get("Location")
	if where != "/orders/"+itoa(s.lastOrder()) {
		t.Fatalf("sent to %s", where)
	}
	page := s.want(s.do("ann", "GET", where, ""), 200)
	if !strings.Contains(page.body, "&lt;b&gt;soon&lt;/b&gt;") || strings.Contains(page.body, "<b>soon") {
		t.Error("the note is not escaped")
	}
	s.want(s.do("bob", "GET", where, ""), 404)
	s.want(s.do("ann", "POST", where+"/note", "note=later"), 303)
	if list := s.want(s.do("ann", "GET", "/orders", ""), 200); !strings.Contains(list.body, "later") || !strings.Contains(list.body, confirmed) {
		t.Error("the list lacks the order")
	}
	s.want(s.do("ann", "POST", where+"/cancel", ""), 303)
	s.settled(s.lastOrder(), cancelled)
	if s.value(`SELECT writes FROM order_stats`) != 5 {
		t.Error("forms are not counted like calls")
	}
}

func TestProblemsAreShownAsPages(t *testing.T) {
	s := newShop(t)
	for form, status := range map[string]int{"product_id=x&quantity=1": 400, "product_id=1&quantity=": 400, "product_id=404&quantity=1": 404} {
		s.want(s.do("ann", "POST", "/cart/items", form), status)
	}
	a := s.want(s.do("ann", "POST", "/cart/checkout", "note=x"), 409)
	if !strings.Contains(a.body, "cart is empty") || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Errorf("answer is %s", a.body)
	}
	s.town.failAlways("/api/accounts/me", status(500))
	if a := s.want(s.do("bob", "GET", "/orders", ""), 503); !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Error("no page")
	}
}
