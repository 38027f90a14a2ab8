package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
)

// TestNorthwind moves orders and order_details of a schema with composite keys,
// real, date and foreign keys on all sides, while they are written.
func TestNorthwind(t *testing.T) {
	t.Parallel()
	file := testdata(t, "northwind.sql")
	h := newHouse(t, "orders", `  tables:
    - table: orders
    - table: order_details
      as: items
      columns: {unit_price: price}
  border:
    - {constraint: fk_orders_customers, at_switch: keep}
    - {constraint: fk_orders_employees, at_switch: keep}
    - {constraint: fk_orders_shippers, at_switch: keep}
    - {constraint: fk_order_details_products, at_switch: keep}
`)
	h.psql(capability.Legacy, file)
	journey(h, []*writer{northwindWriter(h, 1), northwindWriter(h, 2)},
		`SELECT row(order_id, customer_id, employee_id, order_date, required_date, shipped_date, ship_via, freight, ship_name, ship_address, ship_city, ship_region, ship_postal_code, ship_country)::text FROM public.orders`,
		`SELECT row(order_id, customer_id, employee_id, order_date, required_date, shipped_date, ship_via, freight, ship_name, ship_address, ship_city, ship_region, ship_postal_code, ship_country)::text FROM public.orders`,
		`SELECT row(order_id, product_id, unit_price, quantity, discount)::text FROM public.order_details`,
		`SELECT row(order_id, product_id, price, quantity, discount)::text FROM public.items`)
}

// northwindWriter inserts an order with two lines, changes it, moves a line to
// another product (its key changes), and deletes every other order again.
func northwindWriter(h *house, number int) *writer {
	w := &writer{house: h, number: number}
	w.change = func(ctx context.Context, tx pgx.Tx, side capability.Side, n int) error {
		id := 12000 + number*5000 + n%4000
		lines, price := "public.order_details", "unit_price"
		if side == capability.Extracted {
			lines, price = "public.items", "price"
		}
		script := fmt.Sprintf(`
			DELETE FROM %[2]s WHERE order_id = %[1]d; DELETE FROM public.orders WHERE order_id = %[1]d;
			INSERT INTO public.orders (order_id, customer_id, employee_id, order_date, ship_via, freight, ship_name) VALUES (%[1]d, 'ALFKI', 1, '1998-05-06', 1, 32.38, E'it''s\t"n" \\ %[4]d');
			INSERT INTO %[2]s (order_id, product_id, %[3]s, quantity, discount) VALUES (%[1]d, 1, 18.05, 2, 0.15), (%[1]d, 2, 'NaN', 1, 0);
			UPDATE public.orders SET freight = freight * 1.1, ship_region = NULL, ship_city = '' WHERE order_id = %[1]d;
			UPDATE %[2]s SET product_id = 3, quantity = 7 WHERE order_id = %[1]d AND product_id = 2`, id, lines, price, n)
		if n%2 == 0 {
			script += fmt.Sprintf(`; DELETE FROM %[2]s WHERE order_id = %[1]d; DELETE FROM public.orders WHERE order_id = %[1]d`, id, lines)
		}
		_, err := tx.Conn().PgConn().Exec(ctx, script).ReadAll()
		return err
	}
	return w
}

// journey is what a person types to move a capability there and back under
// writers. The queries come in pairs: a table on legacy, the same on extracted.
func journey(h *house, writers []*writer, queries ...string) {
	t := h.t
	h.types("data", "plan", h.name, "--create")
	h.up()
	underWriters(t, writers, func() {
		progress(t, writers, 20)
		h.types("data", "start", h.name)
		progress(t, writers, 20)
		h.types("data", "verify", h.name)
		h.types("weight", h.name, "10%")
		h.types("cutover", h.name, "--dry-run")
		h.types("cutover", h.name)
		if s := h.status(); s.Effective.Owner != capability.Extracted || s.Effective.Weight != capability.Whole {
			t.Errorf("after the cutover: %+v", s.Effective)
		}
		progress(t, writers, 50)
		h.types("data", "verify", h.name)
		h.types("rollback", h.name)
		progress(t, writers, 50)
		h.types("data", "verify", h.name)
		h.types("cutover", h.name)
		progress(t, writers, 10)
	})
	h.types("data", "verify", h.name)
	for i := 0; i < len(queries); i += 2 {
		if n := h.same(queries[i], queries[i+1]); n < 100 {
			t.Errorf("only %d rows were compared", n)
		}
	}
	refusals := int64(0)
	for _, w := range writers {
		refusals += w.refused.count()
	}
	if refusals == 0 {
		t.Error("no gate ever refused a writer: they did not meet a switch")
	}
	if log := h.types("log", h.name); strings.Count(log, "switch") != 3 {
		t.Errorf("the ledger does not tell of three switches:\n%s", log)
	}
	h.types("status")
}
