// Package catalog is the catalog service: what the shop sells, under which name and at which price, in a
// database of its own. How many there are is the business of stock; what an order paid is the order's.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"extracted/internal/httpx"
)

// Product is one product for sale.
type Product struct {
	ID          int64  `json:"id"`
	SKU         string `json:"sku"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Category    string `json:"category"`
	PriceCents  int64  `json:"price_cents"`
}

var errNoProduct = httpx.Fail(http.StatusNotFound, "no such product")

const columns = `id, sku, name, description, category, price_cents`

// listProducts returns products for sale in order of id, above after; an empty category is all of them. next
// is the after of the following page, 0 when there is none.
func listProducts(ctx context.Context, pool *pgxpool.Pool, category string, after, limit int64) (found []Product, next int64, err error) {
	// One more than asked for tells whether there is another page. Two statements, so that each can have
	// the index that suits it.
	if category == "" {
		found, err = many(ctx, pool, `SELECT `+columns+` FROM products WHERE active AND id > $1 ORDER BY id LIMIT $2`, after, limit+1)
	} else {
		found, err = many(ctx, pool, `SELECT `+columns+` FROM products WHERE active AND id > $1 AND category = $3
			ORDER BY id LIMIT $2`, after, limit+1, category)
	}
	if err != nil {
		return nil, 0, err
	}
	if int64(len(found)) > limit {
		found = found[:limit]
		next = found[limit-1].ID
	}
	return found, next, nil
}

// literal takes the special meaning from the characters of a LIKE pattern.
var literal = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// searchProducts returns products for sale whose name contains text in whatever case.
func searchProducts(ctx context.Context, pool *pgxpool.Pool, text string, limit int64) ([]Product, error) {
	if err := checkText("q", text); err != nil {
		return nil, err
	}
	return many(ctx, pool, `SELECT `+columns+` FROM products WHERE active AND name ILIKE $1 ORDER BY id LIMIT $2`,
		"%"+literal.Replace(text)+"%", limit)
}

// readProduct returns one product for sale.
func readProduct(ctx context.Context, pool *pgxpool.Pool, id int64) (Product, error) {
	return one(ctx, pool, `SELECT `+columns+` FROM products WHERE active AND id = $1`, id)
}

// changeProduct renames and reprices a product, on sale or not.
func changeProduct(ctx context.Context, pool *pgxpool.Pool, id int64, name string, cents int64) (Product, error) {
	if strings.TrimSpace(name) == "" || cents < 0 {
		return Product{}, httpx.Fail(http.StatusBadRequest, "name is missing or price_cents is negative")
	}
	if err := checkText("name", name); err != nil {
		return Product{}, err
	}
	return one(ctx, pool, `UPDATE products SET name = $2, price_cents = $3, updated_at = now() WHERE id = $1 RETURNING `+columns,
		id, name, cents)
}

func many(ctx context.Context, pool *pgxpool.Pool, query string, args ...any) ([]Product, error) {
	rows, err := pool.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read products: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Product])
	if err != nil {
		return nil, fmt.Errorf("read products: %w", err)
	}
	return found, nil
}

func one(ctx context.Context, pool *pgxpool.Pool, query string, args ...any) (Product, error) {
	rows, err := pool.Query(ctx, query, args...)
	if err != nil {
		return Product{}, fmt.Errorf("read product: %w", err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Product])
	if errors.Is(err, pgx.ErrNoRows) {
		return Product{}, errNoProduct
	}
	if err != nil {
		return Product{}, fmt.Errorf("read product: %w", err)
	}
	return p, nil
}

// checkText refuses what PostgreSQL cannot hold as text.
func checkText(name, text string) error {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return httpx.Fail(http.StatusBadRequest, "%s is not valid text", name)
	}
	return nil
}
