// Package generate fills an empty shop with a realistic past: the same seed and
// sizes make the same rows, byte for byte, on every machine. It keeps every
// promise that the modules keep, so that nothing in the data tells it apart: each
// order took its stock, was charged and invoiced, and was logged and counted.
package generate

import (
	"errors"
	"fmt"
)

// Size says how much to generate, and from which seed.
type Size struct {
	Customers, Products, Orders int
	Seed                        uint64
}

// Default is a small shop after some years of business.
var Default = Size{Customers: 20_000, Products: 5_000, Orders: 200_000, Seed: 1}

// ErrNotEmpty is returned by Load, which then has touched nothing.
var ErrNotEmpty = errors.New("database holds data already")

// StockPerProduct is what is on the shelf after all generated orders.
const StockPerProduct = 100_000

// PasswordHash is bcrypt's, of "secret", which is every generated customer's
// password. Its low cost keeps thousands of logins in a load test affordable, and
// it is fixed because a fresh salt would make every data set another one.
const PasswordHash = "$2a$04$XajzdM6QRuY4/gxvUjuUleZw/JwnXLpIzqg4devJu0.4VfPK/1He6"

// Email is the address of generated customer n, counted from 1.
func Email(n int) string { return fmt.Sprintf("customer-%d@example.com", n) }

func (s Size) check() error {
	switch {
	case s.Customers < 0 || s.Products < 0 || s.Orders < 0:
		return errors.New("sizes cannot be negative")
	case s.Orders > 0 && (s.Customers == 0 || s.Products == 0):
		return errors.New("orders need customers and products")
	}
	return nil
}
