// Package catalog owns products: what the shop sells, under which name, at which
// price. How many there are is the business of stock.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"legacy-monolith/web"
)

// ErrNoProduct answers for a product that does not exist or is not for sale.
var ErrNoProduct = web.Refuse(http.StatusNotFound, "no such product")

// Product is one product for sale.
type Product struct {
	ID          int64  `json:"id"`
	SKU         string `json:"sku"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Category    string `json:"category"`
	PriceCents  int64  `json:"price_cents"`
}

const columns = `id, sku, name, description, category, price_cents`

// Service reads and reprices products.
type Service struct{ pool *pgxpool.Pool }

// New makes a Service on the shop's database.
func New(pool *pgxpool.Pool) *Service { return &Service{pool: pool} }

// List returns up to limit products for sale with an id above after, in order of
// id; an empty category means all of them. next is the after of the following
// page, 0 when this is the last.
func (s *Service) List(ctx context.Context, category string, after, limit int64) (products []Product, next int64, err error) {
	// One row more than asked for tells whether another page follows. Two statements,
	// so that each keeps a plan of its own: by id, and by category.
	query, args := `select `+columns+` from products
		where active and id > $1 order by id limit $2`, []any{after, limit + 1}
	if category != "" {
		query, args = `select `+columns+` from products
		where active and category = $3 and id > $1 order by id limit $2`, append(args, category)
	}
	rows, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, 0, fmt.Errorf("list products: %w", err)
	}
	products, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Product])
	if err != nil {
		return nil, 0, fmt.Errorf("list products: %w", err)
	}
	if int64(len(products)) > limit {
		products = products[:limit]
		next = products[limit-1].ID
	}
	return products, next, nil
}

// wildcards takes the meaning of LIKE's special characters away.
var wildcards = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// Search returns up to limit products for sale whose name contains text,
// whatever its case, in order of id.
func (s *Service) Search(ctx context.Context, text string, limit int64) ([]Product, error) {
	rows, err := s.pool.Query(ctx, `select `+columns+` from products
		where active and name ilike $1 order by id limit $2`, "%"+wildcards.Replace(text)+"%", limit)
	if err != nil {
		return nil, fmt.Errorf("search products: %w", err)
	}
	products, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Product])
	if err != nil {
		return nil, fmt.Errorf("search products: %w", err)
	}
	return products, nil
}

// Product returns one product for sale, or ErrNoProduct.
func (s *Service) Product(ctx context.Context, id int64) (Product, error) {
	rows, err := s.pool.Query(ctx, `select `+columns+` from products where active and id = $1`, id)
	if err != nil {
		return Product{}, fmt.Errorf("read product: %w", err)
	}
	return one(rows, "read product")
}

// Change renames and reprices a product. Orders keep the price they were made at.
func (s *Service) Change(ctx context.Context, id int64, name string, priceCents int64) (Product, error) {
	if strings.TrimSpace(name) == "" || priceCents < 0 {
		return Product{}, web.Refuse(http.StatusBadRequest, "name is missing or price_cents is negative")
	}
	rows, err := s.pool.Query(ctx, `update products set name = $2, price_cents = $3, updated_at = now()
		where id = $1 returning `+columns, id, name, priceCents)
	if err != nil {
		return Product{}, fmt.Errorf("change product: %w", err)
	}
	return one(rows, "change product")
}

func one(rows pgx.Rows, verb string) (Product, error) {
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Product])
	if errors.Is(err, pgx.ErrNoRows) {
		return Product{}, ErrNoProduct
	}
	if err != nil {
		return Product{}, fmt.Errorf("%s: %w", verb, err)
	}
	return p, nil
}
