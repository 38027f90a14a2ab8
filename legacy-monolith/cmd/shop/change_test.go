package main

import (
	"fmt"
	"net/http"
	"testing"

	"legacy-monolith/orders"
)

func TestChangeNote(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	c := b.customer(1)
	c.fill(map[int]int{3: 1})
	order := c.checkout("ref-1")
	path := fmt.Sprintf("/api/orders/%d", order.ID)
	writes := decode[orders.Activity](c.get("/api/orders/activity")).Writes

	changed := decode[orders.Order](c.call(http.MethodPut, path, `{"note":"evenings","ref":"ref-2"}`).want(http.StatusOK))
	order.Note, order.Ref, order.Revision = "evenings", "ref-2", 1
	equal(t, "changed order", fmt.Sprint(changed), fmt.Sprint(order))
	equal(t, "activity", decode[orders.Activity](c.get("/api/orders/activity")), orders.Activity{Writes: writes + 1, LastRef: "ref-2"})

	before := b.contents()
	other := b.customer(2)
	other.get(path).want(http.StatusNotFound)
	other.call(http.MethodPut, path, `{"note":"mine"}`).want(http.StatusNotFound)
	other.call(http.MethodDelete, path, ``).want(http.StatusNotFound)
	b.client().call(http.MethodPut, path, `{"note":"mine"}`).want(http.StatusUnauthorized)
	c.call(http.MethodPut, path, `{"note":"\u0000"}`).want(http.StatusBadRequest)
	c.call(http.MethodPut, path, `{"note":`).want(http.StatusBadRequest)
	equal(t, "contents after refused changes", b.contents(), before)
}

func TestCancelIsIdempotent(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	c := b.customer(1)
	c.fill(map[int]int{3: 2})
	order := c.checkout("ref-1")
	path := fmt.Sprintf("/api/orders/%d", order.ID)

	cancelled := decode[orders.Order](c.call(http.MethodDelete, path+"?ref=ref-2", "").want(http.StatusOK))
	equal(t, "status", cancelled.Status, "cancelled")
	equal(t, "stock", b.value(`select quantity from stock where product_id = 3`), "100000")
	equal(t, "payment", b.value(`select status from payments where order_id = $1`, order.ID), "refunded")
	equal(t, "log", b.value(`select string_agg(kind || ' ' || ref, ', ' order by id) from order_log where order_id = $1`, order.ID),
		"checkout ref-1, cancel ref-2")

	before := b.contents()
	again := decode[orders.Order](c.call(http.MethodDelete, path+"?ref=ref-3", "").want(http.StatusOK))
	equal(t, "answer to the second cancel", fmt.Sprint(again), fmt.Sprint(cancelled))
	equal(t, "contents after the second cancel", b.contents(), before)
}

// Such orders come back from a system that has owned the orders for a while.
func TestCancelOfOrdersMadeElsewhere(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	c := b.customer(1)
	b.exec(`insert into orders (id, customer_id, status, total_cents, created_at, updated_at)
		values (900, 1, 'pending', 100, now(), now()), (901, 1, 'refused', 100, now(), now())`)

	c.call(http.MethodDelete, "/api/orders/900", "").want(http.StatusOK).saying("cancelled")
	// What its checkout still has under way must find the door shut.
	b.service().call(http.MethodPost, "/api/stock/take", `{"order_id":900,"lines":[{"product_id":3,"quantity":1}]}`).want(http.StatusConflict)
	b.service().call(http.MethodPost, "/api/billing/charges", `{"order_id":900,"customer_id":1,"amount_cents":100}`).want(http.StatusPaymentRequired)

	before := b.contents()
	c.call(http.MethodDelete, "/api/orders/901", "").want(http.StatusConflict)
	b.service().call(http.MethodPost, "/api/orders/901/refunded", "").want(http.StatusOK).saying("refused")
	equal(t, "contents", b.contents(), before)
}
