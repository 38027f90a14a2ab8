package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// guard makes every write to a table fail with a SQLSTATE, as a gate does.
func (b *branch) guard(table, state string) {
	b.t.Helper()
	b.exec(fmt.Sprintf(`create or replace function guard() returns trigger language plpgsql as $$
		begin raise exception 'capability "orders" is owned by extracted' using errcode = '%s'; end $$`, state))
	b.exec(fmt.Sprintf(`create or replace trigger guard before insert or update or delete on %s
		for each statement execute function guard()`, table))
}

func TestRefusedWritesAreUnavailable(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	c := b.customer(1)
	c.fill(map[int]int{3: 1})
	orderID, _ := c.buy()
	c.fill(map[int]int{3: 1})
	order := fmt.Sprintf("/api/orders/%d", orderID)
	page := fmt.Sprintf("/orders/%d", orderID)
	for _, state := range []string{"P0S01", "40001", "55P03", "57014"} {
		for _, table := range []string{"carts", "cart_lines", "orders", "order_lines", "order_stats", "order_log"} {
			b.guard(table, state)
		}
		before := b.contents()
		for _, r := range []reply{
			c.call(http.MethodPut, "/api/orders/cart/items/4", `{"quantity":1}`),
			c.call(http.MethodPut, "/api/orders/cart/items/3", `{"quantity":0}`),
			c.call(http.MethodPost, "/api/orders/checkout", `{}`),
			c.call(http.MethodPut, order, `{"note":"late"}`),
			c.call(http.MethodDelete, order, ``),
			b.service().call(http.MethodPost, order+"/refunded", ``),
			c.submit("/cart/items", "product_id", "4", "quantity", "1"),
			c.submit("/cart/checkout"),
			c.submit(page+"/note", "note", "late"),
			c.submit(page + "/cancel"),
		} {
			r.want(http.StatusServiceUnavailable).saying("is owned by extracted")
			equal(t, "Retry-After", r.header.Get("Retry-After"), "1")
			equal(t, "is said to be a gate's", r.header.Get("X-Strangler-Gate") != "", state == "P0S01")
			equal(t, "a page is a page", strings.HasPrefix(r.what, "POST /cart") || strings.HasPrefix(r.what, "POST /orders"),
				strings.HasPrefix(r.header.Get("Content-Type"), "text/html"))
		}
		equal(t, "contents after refused writes ("+state+")", b.contents(), before)
	}
	// Reading goes on, and so does whoever is not behind the gate.
	c.get(order).want(http.StatusOK)
	c.get("/cart").want(http.StatusOK)
	b.service().call(http.MethodPost, "/api/stock/take", `{"order_id":9001,"lines":[{"product_id":3,"quantity":1}]}`).want(http.StatusOK)
}

func TestOtherFaultsStayInside(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	c := b.customer(1)
	b.guard("order_log", "P0001")
	r := c.call(http.MethodPut, "/api/orders/cart/items/4", `{"quantity":1}`).want(http.StatusInternalServerError).saying("internal error")
	equal(t, "Retry-After", r.header.Get("Retry-After"), "")
	if strings.Contains(r.body, "owned") {
		t.Errorf("answer tells what is inside: %s", r.body)
	}
}
