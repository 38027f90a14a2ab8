// Package orders is the orders service: carts, checkouts and orders in a database of its own. It owns the
// sagas that stand where the monolith had one transaction. Who a customer is belongs to accounts, quantities
// to stock and money to billing; all three are asked over HTTP, through the gateway.
//
// Rows are locked in one order everywhere: outbox, orders, carts, cart_lines, order_stats, order_log.
package orders

import (
	"time"
	"unicode/utf8"

	"extracted/internal/httpx"
)

// The states of an order. An order is pending while its checkout is under way, and only then.
const (
	pending   = "pending"
	confirmed = "confirmed"
	refused   = "refused"
	cancelled = "cancelled"
)

// Order is an order as the API shows it.
type Order struct {
	ID         int64     `json:"id"`
	Status     string    `json:"status"`
	TotalCents int64     `json:"total_cents"`
	Note       string    `json:"note"`
	Ref        string    `json:"ref"`
	Revision   int64     `json:"revision"`
	Lines      []Line    `json:"lines"`
	CreatedAt  time.Time `json:"created_at"`

	customerID int64
}

// Line is one product of an order, at the price of the day.
type Line struct {
	Line           int   `json:"line"`
	ProductID      int64 `json:"product_id"`
	Quantity       int   `json:"quantity"`
	UnitPriceCents int64 `json:"unit_price_cents"`
}

// Cart is what a customer is about to order, at today's prices.
type Cart struct {
	Lines      []CartLine `json:"lines"`
	TotalCents int64      `json:"total_cents"`
}

// CartLine is one product of a cart.
type CartLine struct {
	ProductID  int64  `json:"product_id"`
	Name       string `json:"name"`
	Quantity   int    `json:"quantity"`
	PriceCents int64  `json:"price_cents"`
}

// Activity is how much a customer has written, and under which reference last.
type Activity struct {
	Writes  int64  `json:"writes"`
	LastRef string `json:"last_ref"`
}

// What a write may carry.
const (
	maxQuantity = 1000
	maxNote     = 2000
	maxRef      = 200
)

// checkText refuses what PostgreSQL could not store as text or nobody could mean.
func checkText(name, text string, limit int) error {
	if len(text) > limit {
		return httpx.Fail(400, "%s is longer than %d bytes", name, limit)
	}
	if !utf8.ValidString(text) {
		return httpx.Fail(400, "%s is not valid text", name)
	}
	for _, r := range text {
		if r == 0 {
			return httpx.Fail(400, "%s is not valid text", name)
		}
	}
	return nil
}
