package generate

import "time"

// write is one recorded write of a customer; order 0 is a write to the cart.
type write struct {
	customer int
	order    int
	kind     string
	at       time.Time
}

// writes are all writes that the orders module would have recorded.
func (p *past) writes(yield func(write) bool) {
	for i, o := range p.orders {
		if !yield(write{o.customer, i + 1, "checkout", o.at}) {
			return
		}
		if o.cancelled && !yield(write{o.customer, i + 1, "cancel", o.cancelledAt()}) {
			return
		}
	}
	for _, c := range p.carts {
		for range c.lines {
			if !yield(write{c.customer, 0, "cart", c.at}) {
				return
			}
		}
	}
}

func (p *past) logRows(yield func([]any) bool) {
	id := int64(0)
	for w := range p.writes {
		id++
		var about any
		if w.order != 0 {
			about = int64(w.order)
		}
		if !yield([]any{id, int64(w.customer), about, w.kind, "", w.at}) {
			return
		}
	}
}

// statsRows counts what logRows lists, so that the two agree for every customer.
func (p *past) statsRows(yield func([]any) bool) {
	counts := make([]int64, p.size.Customers+1)
	for w := range p.writes {
		counts[w.customer]++
	}
	for customer, writes := range counts {
		if writes > 0 && !yield([]any{int64(customer), writes, ""}) {
			return
		}
	}
}
