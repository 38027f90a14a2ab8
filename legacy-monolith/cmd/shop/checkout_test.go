package main

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"legacy-monolith/orders"
)

// fill puts products into a cart that may hold something from the past.
func (c *client) fill(quantities map[int]int) {
	c.t.Helper()
	for _, line := range decode[orders.Cart](c.get("/api/orders/cart").want(http.StatusOK)).Lines {
		c.setItem(int(line.ProductID), 0)
	}
	for product, quantity := range quantities {
		c.setItem(product, quantity)
	}
}

func (c *client) setItem(product, quantity int) {
	c.t.Helper()
	c.call(http.MethodPut, fmt.Sprintf("/api/orders/cart/items/%d", product),
		fmt.Sprintf(`{"quantity":%d,"ref":"fill"}`, quantity)).want(http.StatusOK)
}

func (c *client) checkout(ref string) orders.Order {
	c.t.Helper()
	return decode[orders.Order](c.call(http.MethodPost, "/api/orders/checkout",
		fmt.Sprintf(`{"ref":%q,"note":"mornings"}`, ref)).want(http.StatusCreated))
}

func TestCheckoutIsOneTransaction(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	c := b.customer(1)
	b.exec(`update products set price_cents = id * 100 where id in (3, 7)`)
	c.fill(map[int]int{7: 1, 3: 2})
	writes := decode[orders.Activity](c.get("/api/orders/activity")).Writes

	order := c.checkout("ref-1")

	equal(t, "status", order.Status, "confirmed")
	equal(t, "total", order.TotalCents, 2*300+700)
	equal(t, "note", order.Note, "mornings")
	equal(t, "ref", order.Ref, "ref-1")
	equal(t, "lines", fmt.Sprint(order.Lines), "[{1 3 2 300} {2 7 1 700}]")
	equal(t, "stored order", fmt.Sprint(decode[orders.Order](c.get(fmt.Sprintf("/api/orders/%d", order.ID)).want(200))), fmt.Sprint(order))
	equal(t, "stock of 3", b.value(`select quantity from stock where product_id = 3`), "99998")
	equal(t, "stock of 7", b.value(`select quantity from stock where product_id = 7`), "99999")
	equal(t, "movements", b.value(`select string_agg(kind || product_id || 'x' || quantity, ' ' order by product_id)
		from stock_movements where order_id = $1`, order.ID), "take3x2 take7x1")
	equal(t, "payment with invoice", b.value(`select p.status || ' ' || p.amount_cents || ' ' || p.customer_id from payments p
		join invoices i on i.payment_id = p.id and i.order_id = p.order_id where p.order_id = $1`, order.ID), "charged 1300 1")
	equal(t, "cart", c.get("/api/orders/cart").want(200).body, `{"lines":[],"total_cents":0}`)
	equal(t, "activity", decode[orders.Activity](c.get("/api/orders/activity")), orders.Activity{Writes: writes + 1, LastRef: "ref-1"})
	equal(t, "log", b.value(`select count(*) from order_log where order_id = $1 and customer_id = 1 and kind = 'checkout' and ref = 'ref-1'`, order.ID), "1")
	equal(t, "transactions that wrote all this", b.value(`select count(distinct x) from (
		select xmin::text x from orders where id = $1 union all
		select xmin::text from order_lines where order_id = $1 union all
		select xmin::text from stock_movements where order_id = $1 union all
		select xmin::text from stock where product_id in (3, 7) union all
		select xmin::text from payments where order_id = $1 union all
		select xmin::text from invoices where order_id = $1 union all
		select xmin::text from order_log where order_id = $1 union all
		select xmin::text from carts where customer_id = 1 union all
		select xmin::text from order_stats where customer_id = 1) rows`, order.ID), "1")
}

func TestRefusedCheckoutLeavesNothing(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	for _, test := range []struct {
		name, spoil string
		cart        map[int]int
		status      int
		message     string
	}{
		{"empty cart", `select`, nil, http.StatusConflict, "cart is empty"},
		{"one of two out of stock", `update stock set quantity = 4 where product_id = 7`, map[int]int{3: 1, 7: 5}, http.StatusConflict, "out of stock"},
		{"never stocked", `delete from stock where product_id = 8`, map[int]int{3: 1, 8: 1}, http.StatusConflict, "out of stock"},
		{"charge refused", `update products set price_cents = 5000001 where id = 9`, map[int]int{3: 1, 9: 1}, http.StatusPaymentRequired, "above the limit"},
		{"withdrawn", `update products set active = false where id = 10`, map[int]int{3: 1, 10: 1}, http.StatusConflict, "no longer for sale"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := b.customer(2)
			c.t = t
			c.fill(test.cart)
			b.exec(test.spoil)
			before := b.contents()
			c.call(http.MethodPost, "/api/orders/checkout", `{"ref":"never"}`).want(test.status).saying(test.message)
			equal(t, "contents", b.contents(), before)
		})
	}
}

// Carts are filled in opposite order and want the same rows of stock; what is left
// is enough for half of them.
func TestCheckoutsAtOnceNeitherDeadlockNorOversell(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	const rounds, each = 5, 2
	b.exec(`update stock set quantity = $1 where product_id in (3, 7)`, rounds*small.Customers*each/2)
	var wait sync.WaitGroup
	statuses := make([][]int, small.Customers)
	for n := range small.Customers {
		c := b.customer(n + 1)
		wait.Go(func() {
			for range rounds {
				order := []int{3, 7}
				if n%2 == 0 {
					order = []int{7, 3}
				}
				for _, product := range order {
					c.call(http.MethodPut, fmt.Sprintf("/api/orders/cart/items/%d", product), fmt.Sprintf(`{"quantity":%d}`, each))
				}
				statuses[n] = append(statuses[n], c.call(http.MethodPost, "/api/orders/checkout", `{}`).status)
			}
		})
	}
	wait.Wait()
	count := map[int]int{}
	for _, list := range statuses {
		for _, status := range list {
			count[status]++
		}
	}
	sold := rounds * small.Customers / 2
	equal(t, "answers", fmt.Sprint(count), fmt.Sprint(map[int]int{http.StatusCreated: sold, http.StatusConflict: rounds*small.Customers - sold}))
	equal(t, "stock left", b.value(`select sum(quantity) from stock where product_id in (3, 7)`),
		fmt.Sprint(2*(rounds*small.Customers*each/2-sold*each)))
	equal(t, "customers whose counter and log differ", b.value(`select count(*) from order_stats s
		where writes <> (select count(*) from order_log l where l.customer_id = s.customer_id)`), "0")
}
