package shoppers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// act is one write: what is sent, what success looks like, and what the shopper knows after it.
type act struct {
	method, path string
	body         body
	status       int                          // of success; of the refusal, where that is what must come
	done         func(answer) (*order, error) // takes note; the order it was about, nil for the cart
}

// write does one write that should have started at the given moment, and reads it back.
func (s *shopper) write(moment time.Time) {
	s.refs++
	ref := fmt.Sprintf("%s-%d-%d", s.run, s.number, s.refs)
	a := s.choose(ref)
	got, err := s.send(a.method, a.path, a.body)
	now := time.Now()
	w := Write{Ref: ref, Customer: s.customer, At: now, Took: now.Sub(moment)}
	refusal := got.status == http.StatusConflict || got.status == http.StatusPaymentRequired
	switch {
	case err == nil && refusal && (a.status == got.status || s.unsure):
		s.record.refused()
		return
	case err == nil && got.status != a.status:
		err = fmt.Errorf("%s %s: %d from %q instead of %d: %s", a.method, a.path, got.status, got.servedBy, a.status, got.said())
	}
	var about *order
	if err == nil {
		about, err = a.done(got)
	}
	if err != nil {
		s.unsure = true
		s.record.lost(w)
		s.fault(err)
		return
	}
	s.writes++
	s.lastRef = ref
	s.record.acknowledged(w)
	s.readActivity()
	if about != nil {
		s.readOrder(*about)
	}
}

// choose picks a write that is possible now, in the proportions of a shop where people put three things into the cart
// for each that they order.
func (s *shopper) choose(ref string) act {
	roll, form := s.chance.IntN(100), s.chance.IntN(4) == 0
	newest := s.newest()
	switch {
	case len(s.cart) == 0 && roll < 2 && !s.unsure:
		return s.checkoutNothing(ref)
	case len(s.cart) > 0 && (roll < 20 || len(s.cart) >= 5):
		return s.checkout(ref, form)
	case newest != nil && roll >= 65 && roll < 92:
		return s.change(ref, s.orders[s.chance.IntN(len(s.orders))], form)
	case newest != nil && roll >= 92 && newest.Status == "confirmed":
		return s.cancel(ref, *newest, form)
	}
	return s.setItem(ref, form)
}

func (s *shopper) setItem(ref string, form bool) act {
	product, quantity := 1+s.chance.Int64N(int64(s.products)), 1+s.chance.IntN(3)
	for known := range s.cart {
		if s.chance.IntN(6) == 0 {
			product, quantity = known, s.chance.IntN(3) // change a line, or take it out
		}
		break
	}
	done := func(answer) (*order, error) {
		s.cart[product] = quantity
		if quantity == 0 {
			delete(s.cart, product)
		}
		return nil, nil
	}
	if form {
		fields := formBody(values("product_id", product, "quantity", quantity, "ref", ref))
		return act{http.MethodPost, "/cart/items", fields, http.StatusSeeOther, leadsTo("/cart", done)}
	}
	return act{http.MethodPut, fmt.Sprintf("/api/orders/cart/items/%d", product),
		jsonBody(map[string]any{"quantity": quantity, "ref": ref}), http.StatusOK, done}
}

// checkoutNothing must be refused, and leave no trace.
func (s *shopper) checkoutNothing(ref string) act {
	return act{http.MethodPost, "/api/orders/checkout", jsonBody(map[string]string{"ref": ref}), http.StatusConflict, nil}
}

func (s *shopper) checkout(ref string, form bool) act {
	placed := func(o order) (*order, error) {
		clear(s.cart)
		s.orders = append(s.orders, o)
		if len(s.orders) > keptOrders {
			s.orders = s.orders[1:]
		}
		return s.newest(), nil
	}
	note := "please " + ref
	if form {
		return act{http.MethodPost, "/cart/checkout", formBody(values("note", note, "ref", ref)), http.StatusSeeOther,
			func(got answer) (*order, error) {
				o := order{Status: "confirmed", Ref: ref}
				if _, err := fmt.Sscanf(got.location, "/orders/%d", &o.ID); err != nil {
					return nil, fmt.Errorf("checkout form leads to %q, not to an order", got.location)
				}
				return placed(o)
			}}
	}
	return act{http.MethodPost, "/api/orders/checkout", jsonBody(map[string]string{"note": note, "ref": ref}), http.StatusCreated,
		func(got answer) (*order, error) {
			o, err := answeredOrder(got, order{Status: "confirmed", Ref: ref})
			if err != nil {
				return nil, err
			}
			return placed(o)
		}}
}

func (s *shopper) change(ref string, o order, form bool) act {
	want := order{ID: o.ID, Status: o.Status, Ref: ref, Revision: o.Revision + 1}
	note := "rather " + ref
	if form {
		return act{http.MethodPost, fmt.Sprintf("/orders/%d/note", o.ID), formBody(values("note", note, "ref", ref)),
			http.StatusSeeOther, leadsTo(fmt.Sprintf("/orders/%d", o.ID), func(answer) (*order, error) { return s.know(want), nil })}
	}
	return act{http.MethodPut, fmt.Sprintf("/api/orders/%d", o.ID), jsonBody(map[string]string{"note": note, "ref": ref}),
		http.StatusOK, s.answering(want)}
}

func (s *shopper) cancel(ref string, o order, form bool) act {
	want := o
	want.Status = "cancelled"
	if form {
		return act{http.MethodPost, fmt.Sprintf("/orders/%d/cancel", o.ID), formBody(values("ref", ref)), http.StatusSeeOther,
			leadsTo(fmt.Sprintf("/orders/%d", o.ID), func(answer) (*order, error) { return s.know(want), nil })}
	}
	return act{http.MethodDelete, fmt.Sprintf("/api/orders/%d?ref=%s", o.ID, ref), body{}, http.StatusOK, s.answering(want)}
}

// know replaces what is known of an order.
func (s *shopper) know(o order) *order {
	for i := range s.orders {
		if s.orders[i].ID == o.ID {
			s.orders[i] = o
		}
	}
	return &o
}

// answering expects the order as it must be now.
func (s *shopper) answering(want order) func(answer) (*order, error) {
	return func(got answer) (*order, error) {
		o, err := answeredOrder(got, want)
		if err != nil && !s.unsure {
			return nil, err
		}
		return s.know(o), nil
	}
}

// answeredOrder reads an order and compares it with the one wanted; an ID or revision of 0 is not compared.
func answeredOrder(got answer, want order) (order, error) {
	var o order
	if err := json.Unmarshal(got.body, &o); err != nil {
		return o, fmt.Errorf("answer is no order: %w", err)
	}
	same := o
	if want.ID == 0 {
		same.ID = 0
	}
	if same != want || o.ID == 0 {
		return o, fmt.Errorf("answer is order %+v instead of %+v", o, want)
	}
	return o, nil
}

// leadsTo expects a form's answer to lead to a page: one that leads to the login, say, has written nothing.
func leadsTo(path string, done func(answer) (*order, error)) func(answer) (*order, error) {
	return func(got answer) (*order, error) {
		if got.location != path {
			return nil, fmt.Errorf("form leads to %q instead of %q", got.location, path)
		}
		return done(got)
	}
}
