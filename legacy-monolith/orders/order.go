// Package orders owns carts, orders and the record of every write to them. A
// checkout is one transaction across orders, stock and billing; the other two
// are reached through the interfaces declared here.
//
// Rows are locked in one order everywhere, so that no two transactions of the
// shop wait for each other: cart, order, stock, payment, stats.
package orders

import (
	"context"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"legacy-monolith/web"
)

// The states of an order, apart from pending: this side never leaves an order in
// that one, and meets it only after another system has owned the orders.
const (
	confirmed = "confirmed"
	refused   = "refused"
	cancelled = "cancelled"
)

// What a write may carry.
const (
	maxQuantity = 1000
	maxNote     = 2000 // bytes
	maxRef      = 200  // bytes
)

// Answers of this module that callers may compare.
var (
	ErrNoOrder   = web.Refuse(http.StatusNotFound, "no such order")
	ErrNoProduct = web.Refuse(http.StatusNotFound, "no such product")
	ErrEmptyCart = web.Refuse(http.StatusConflict, "cart is empty")
	ErrWithdrawn = web.Refuse(http.StatusConflict, "a product in the cart is no longer for sale")
	ErrRefused   = web.Refuse(http.StatusConflict, "order was refused")
)

// Stock takes and returns what orders need, inside the transaction it is given.
// Quantities are by product.
type Stock interface {
	Take(ctx context.Context, tx pgx.Tx, orderID int64, quantities map[int64]int64) error
	Return(ctx context.Context, tx pgx.Tx, orderID int64) error
}

// Billing charges and refunds orders, inside the transaction it is given.
type Billing interface {
	Charge(ctx context.Context, tx pgx.Tx, orderID, customerID, amountCents int64) error
	Refund(ctx context.Context, tx pgx.Tx, orderID int64) error
}

// Order is an order as its customer sees it.
type Order struct {
	ID         int64     `json:"id"`
	Status     string    `json:"status"`
	TotalCents int64     `json:"total_cents"`
	Note       string    `json:"note"`
	Ref        string    `json:"ref"`
	Revision   int64     `json:"revision"`
	Lines      []Line    `json:"lines"`
	CreatedAt  time.Time `json:"created_at"`
}

// Line is one product of an order, at the price it was ordered at.
type Line struct {
	Line           int   `json:"line"`
	ProductID      int64 `json:"product_id"`
	Quantity       int   `json:"quantity"`
	UnitPriceCents int64 `json:"unit_price_cents"`
}

// Service keeps carts and orders.
type Service struct {
	pool    *pgxpool.Pool
	stock   Stock
	billing Billing
}

// New makes a Service on the shop's database.
func New(pool *pgxpool.Pool, stock Stock, billing Billing) *Service {
	return &Service{pool: pool, stock: stock, billing: billing}
}

func checkText(name, text string, limit int) error {
	if len(text) > limit {
		return web.Refuse(http.StatusBadRequest, name+" is too long")
	}
	return web.CheckText(name, text)
}
