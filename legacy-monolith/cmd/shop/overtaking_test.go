package main

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
)

func TestStockOverHTTP(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	s := b.service()
	take := `{"order_id":501,"lines":[{"product_id":7,"quantity":2},{"product_id":3,"quantity":1},{"product_id":7,"quantity":1}]}`
	stock := func() string {
		return b.value(`select string_agg(quantity::text, ' ' order by product_id) from stock where product_id in (3, 7)`)
	}

	first := s.call(http.MethodPost, "/api/stock/take", take).want(http.StatusOK)
	equal(t, "stock after take", stock(), "99999 99997")
	equal(t, "answer to a repeated take", s.call(http.MethodPost, "/api/stock/take", take).want(http.StatusOK).body, first.body)
	equal(t, "stock after a repeated take", stock(), "99999 99997")

	for range 2 {
		s.call(http.MethodPost, "/api/stock/return", `{"order_id":501}`).want(http.StatusOK)
		equal(t, "stock after return", stock(), "100000 100000")
	}
	s.call(http.MethodPost, "/api/stock/take", take).want(http.StatusConflict).saying("returned")
	equal(t, "stock after a take that came too late", stock(), "100000 100000")

	before := b.contents()
	s.call(http.MethodPost, "/api/stock/take", `{"order_id":502,"lines":[{"product_id":3,"quantity":1},{"product_id":7,"quantity":100001}]}`).
		want(http.StatusConflict).saying(`{"error":"out of stock"}`)
	s.call(http.MethodPost, "/api/stock/take", `{"order_id":502,"lines":[{"product_id":3,"quantity":-1}]}`).want(http.StatusBadRequest)
	s.call(http.MethodPost, "/api/stock/take", `{"order_id":502}`).want(http.StatusBadRequest)
	b.customer(1).call(http.MethodPost, "/api/stock/take", take).want(http.StatusUnauthorized)
	equal(t, "contents after refused takes", b.contents(), before)
}

func TestReturnOvertakesTake(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	s := b.service()
	for range 2 {
		s.call(http.MethodPost, "/api/stock/return", `{"order_id":501}`).want(http.StatusOK)
	}
	before := b.contents()
	s.call(http.MethodPost, "/api/stock/take", `{"order_id":501,"lines":[{"product_id":3,"quantity":1}]}`).want(http.StatusConflict)
	equal(t, "contents after the late take", b.contents(), before)
	s.call(http.MethodPost, "/api/stock/take", `{"order_id":502,"lines":[{"product_id":3,"quantity":1}]}`).want(http.StatusOK)
}

func TestRefundOvertakesCharge(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	s := b.service()
	b.exec(`insert into orders (id, customer_id, status, total_cents, created_at, updated_at)
		select id, 1, 'pending', 100, now(), now() from generate_series(501, 502) id`)
	for range 2 {
		s.call(http.MethodPost, "/api/billing/refunds", `{"order_id":501}`).want(http.StatusOK)
	}
	before := b.contents()
	s.call(http.MethodPost, "/api/billing/charges", `{"order_id":501,"customer_id":1,"amount_cents":100}`).want(http.StatusPaymentRequired)
	equal(t, "contents after the late charge", b.contents(), before)
	s.call(http.MethodPost, "/api/billing/charges", `{"order_id":502,"customer_id":1,"amount_cents":100}`).want(http.StatusCreated)
}

func TestBillingOverHTTP(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	s := b.service()
	b.exec(`insert into orders (id, customer_id, status, total_cents, created_at, updated_at) values (501, 1, 'pending', 100, now(), now())`)
	charge := `{"order_id":501,"customer_id":1,"amount_cents":5000000}`

	s.call(http.MethodPost, "/api/billing/charges", `{"order_id":501,"customer_id":1,"amount_cents":5000001}`).want(http.StatusPaymentRequired)
	b.client().call(http.MethodPost, "/api/billing/charges", charge).want(http.StatusUnauthorized)
	s.call(http.MethodPost, "/api/billing/charges", charge).want(http.StatusCreated)
	before := b.contents()
	s.call(http.MethodPost, "/api/billing/charges", charge).want(http.StatusOK)
	s.call(http.MethodPost, "/api/billing/charges", `{"order_id":501,"customer_id":1,"amount_cents":4}`).want(http.StatusConflict)
	equal(t, "contents after a repeated charge", b.contents(), before)
	c := b.customer(1)
	c.get("/api/billing/payments").want(http.StatusOK).saying(`"order_id":501,"amount_cents":5000000,"status":"charged"`)
	c.get("/api/billing/invoices").want(http.StatusOK).saying(`"order_id":501,"number":"INV-0000`)

	for range 2 {
		s.call(http.MethodPost, "/api/billing/refunds", `{"order_id":501}`).want(http.StatusOK)
		equal(t, "payment", b.value(`select status from payments where order_id = 501`), "refunded")
	}
	s.call(http.MethodPost, "/api/billing/charges", charge).want(http.StatusPaymentRequired)
}

// Whichever comes first, in the end nothing is taken.
func TestTakeAndReturnAtOnce(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	s := b.service()
	const orders = 40
	var wait sync.WaitGroup
	for id := 600; id < 600+orders; id++ {
		wait.Go(func() {
			s.call(http.MethodPost, "/api/stock/take", fmt.Sprintf(`{"order_id":%d,"lines":[{"product_id":3,"quantity":1}]}`, id))
		})
		wait.Go(func() { s.call(http.MethodPost, "/api/stock/return", fmt.Sprintf(`{"order_id":%d}`, id)) })
	}
	wait.Wait()
	equal(t, "stock", b.value(`select quantity from stock where product_id = 3`), "100000")
	equal(t, "orders that were taken and returned, or shut", b.value(`select
		(select count(*) from stock_movements where order_id >= 600 and kind = 'return') +
		(select count(*) from stock_tombstones where order_id >= 600)`), fmt.Sprint(orders))
}
