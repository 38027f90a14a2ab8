package generate

import (
	"fmt"
	"iter"
	"time"
)

// table is one COPY: the rows of one table, in order of its key.
type table struct {
	name    string
	columns []string
	rows    iter.Seq[[]any]
}

// tables lists the past as rows, in no order that foreign keys would need.
func (p *past) tables() []table {
	return []table{
		{"customers", []string{"id", "email", "name", "password_hash", "created_at"}, p.customerRows},
		{"products", []string{"id", "sku", "name", "description", "category", "price_cents", "active", "updated_at"}, p.productRows},
		{"stock", []string{"product_id", "quantity"}, p.stockRows},
		{"orders", []string{"id", "customer_id", "status", "total_cents", "note", "created_at", "updated_at"}, p.orderRows},
		{"order_lines", []string{"order_id", "line", "product_id", "quantity", "unit_price_cents"}, p.lineRows},
		{"stock_movements", []string{"order_id", "product_id", "kind", "quantity", "at"}, p.movementRows},
		{"payments", []string{"id", "order_id", "customer_id", "amount_cents", "status", "created_at", "updated_at"}, p.paymentRows},
		{"invoices", []string{"id", "payment_id", "order_id", "number", "issued_at"}, p.invoiceRows},
		{"carts", []string{"customer_id", "updated_at"}, p.cartRows},
		{"cart_lines", []string{"customer_id", "product_id", "quantity"}, p.cartLineRows},
		{"order_log", []string{"id", "customer_id", "order_id", "kind", "ref", "at"}, p.logRows},
		{"order_stats", []string{"customer_id", "writes", "last_ref"}, p.statsRows},
	}
}

func (p *past) customerRows(yield func([]any) bool) {
	for n := 1; n <= p.size.Customers; n++ {
		name := givenNames[n%len(givenNames)] + " " + familyNames[n/len(givenNames)%len(familyNames)]
		at := epoch.Add(time.Duration(n) * year / time.Duration(p.size.Customers)).Truncate(time.Microsecond)
		if !yield([]any{int64(n), Email(n), name, PasswordHash, at}) {
			return
		}
	}
}

func (p *past) productRows(yield func([]any) bool) {
	for i, product := range p.products {
		if !yield([]any{int64(i + 1), fmt.Sprintf("SKU-%06d", i+1), product.name, product.description,
			product.category, product.priceCents, true, epoch}) {
			return
		}
	}
}

func (p *past) stockRows(yield func([]any) bool) {
	for i := range p.products {
		if !yield([]any{int64(i + 1), int64(StockPerProduct)}) {
			return
		}
	}
}

func (p *past) orderRows(yield func([]any) bool) {
	for i, o := range p.orders {
		status, updated := "confirmed", o.at
		if o.cancelled {
			status, updated = "cancelled", o.cancelledAt()
		}
		if !yield([]any{int64(i + 1), int64(o.customer), status, o.total, o.note, o.at, updated}) {
			return
		}
	}
}

// cancelledAt is soon after the order was made.
func (o order) cancelledAt() time.Time { return o.at.Add(3 * time.Hour) }

func (p *past) lineRows(yield func([]any) bool) {
	for i, o := range p.orders {
		for n, l := range o.lines {
			if !yield([]any{int64(i + 1), int32(n + 1), int64(l.product), int32(l.quantity), l.priceCents}) {
				return
			}
		}
	}
}

func (p *past) movementRows(yield func([]any) bool) {
	for i, o := range p.orders {
		for _, l := range o.lines {
			if !yield([]any{int64(i + 1), int64(l.product), "take", int64(l.quantity), o.at}) {
				return
			}
			if o.cancelled && !yield([]any{int64(i + 1), int64(l.product), "return", int64(l.quantity), o.cancelledAt()}) {
				return
			}
		}
	}
}

// paymentRows gives the payment, and the invoice, of an order the order's number.
func (p *past) paymentRows(yield func([]any) bool) {
	for i, o := range p.orders {
		status, updated := "charged", o.at
		if o.cancelled {
			status, updated = "refunded", o.cancelledAt()
		}
		if !yield([]any{int64(i + 1), int64(i + 1), int64(o.customer), o.total, status, o.at, updated}) {
			return
		}
	}
}

func (p *past) invoiceRows(yield func([]any) bool) {
	for i, o := range p.orders {
		if !yield([]any{int64(i + 1), int64(i + 1), int64(i + 1), fmt.Sprintf("INV-%08d", i+1), o.at}) {
			return
		}
	}
}

func (p *past) cartRows(yield func([]any) bool) {
	for _, c := range p.carts {
		if !yield([]any{int64(c.customer), c.at}) {
			return
		}
	}
}

func (p *past) cartLineRows(yield func([]any) bool) {
	for _, c := range p.carts {
		for _, l := range c.lines {
			if !yield([]any{int64(c.customer), int64(l.product), int32(l.quantity)}) {
				return
			}
		}
	}
}
