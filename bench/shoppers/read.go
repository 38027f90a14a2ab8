package shoppers

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"time"
)

// read does one read that should have started at the given moment. Whatever shows the shopper's own data must show
// what it has written.
func (s *shopper) read(time.Time) {
	switch s.chance.IntN(8) {
	case 0:
		s.readActivity()
	case 1:
		s.readCart()
	case 2, 3:
		if o := s.newest(); o != nil {
			s.readOrder(*o)
		} else {
			s.get("/api/orders?limit=5", nil)
		}
	case 4:
		s.readOrders()
	case 5:
		s.get("/cart", nil)
	case 6:
		s.get(fmt.Sprintf("/products/%d", 1+s.chance.IntN(s.products)), nil)
	default:
		s.get(fmt.Sprintf("/api/catalog/products?after=%d", s.chance.IntN(s.products)), nil)
	}
}

// get makes one read and decodes JSON where there is something to decode into. It returns the status, and false for a
// read that failed and has been counted as such.
func (s *shopper) get(path string, into any) (int, bool) {
	got, err := s.send(http.MethodGet, path, body{})
	switch {
	case err != nil:
	case got.status == http.StatusNotFound && into != nil:
		return got.status, true // for the caller to judge
	case got.status != http.StatusOK:
		err = fmt.Errorf("GET %s: %d from %q: %s", path, got.status, got.servedBy, got.said())
	case into != nil:
		err = json.Unmarshal(got.body, into)
	}
	if err != nil {
		s.fault(err)
		return 0, false
	}
	return got.status, true
}

func (s *shopper) readActivity() {
	var seen activity
	if _, ok := s.get("/api/orders/activity", &seen); !ok {
		return
	}
	if seen.Writes < s.writes || (!s.unsure && seen.LastRef != s.lastRef) {
		s.stale("activity is %+v after %d writes, the last %s", seen, s.writes, s.lastRef)
	}
}

func (s *shopper) readCart() {
	var seen cart
	if _, ok := s.get("/api/orders/cart", &seen); !ok {
		return
	}
	if !s.unsure && !maps.Equal(seen.quantities(), s.cart) {
		s.stale("cart is %v instead of %v", seen.quantities(), s.cart)
	}
}

func (s *shopper) readOrder(want order) {
	var seen order
	status, ok := s.get(fmt.Sprintf("/api/orders/%d", want.ID), &seen)
	if !ok {
		return
	}
	if status == http.StatusNotFound || seen.Revision < want.Revision || (!s.unsure && seen != want) {
		s.stale("order is %+v (status %d) instead of %+v", seen, status, want)
	}
}

func (s *shopper) readOrders() {
	var seen struct{ Orders []order }
	if _, ok := s.get("/api/orders?limit=5", &seen); !ok {
		return
	}
	want := s.newest()
	if want == nil {
		return
	}
	for _, o := range seen.Orders {
		if o == *want || s.unsure && o.ID == want.ID {
			return
		}
	}
	s.stale("orders are %+v without %+v", seen.Orders, *want)
}

func (s *shopper) stale(format string, args ...any) {
	s.record.stale(time.Now(), fmt.Sprintf("customer %d: ", s.customer)+fmt.Sprintf(format, args...))
}

func values(pairs ...any) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(fmt.Sprint(pairs[i]), fmt.Sprint(pairs[i+1]))
	}
	return v
}
