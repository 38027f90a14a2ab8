package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"legacy-monolith/billing"
)

// buy checks out and returns the order and its payment.
func (c *client) buy() (orderID int64, payment billing.Payment) {
	c.t.Helper()
	c.fill(map[int]int{3: 2})
	order := c.checkout("ref-1")
	list := decode[struct{ Payments []billing.Payment }](c.get("/api/billing/payments").want(http.StatusOK))
	return order.ID, list.Payments[0]
}

// checkRefunded holds what a refund must have done, wherever orders was told.
func checkRefunded(t *testing.T, b *branch, orderID int64) {
	t.Helper()
	equal(t, "payment", b.value(`select status from payments where order_id = $1`, orderID), "refunded")
	equal(t, "order", b.value(`select status from orders where id = $1`, orderID), "cancelled")
	equal(t, "stock", b.value(`select quantity from stock where product_id = 3`), "100000")
	equal(t, "cancels in the log", b.value(`select count(*) from order_log where order_id = $1 and kind = 'cancel'`, orderID), "1")
}

func TestRefundTellsOrdersInProcess(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	c := b.customer(1)
	orderID, payment := c.buy()
	path := fmt.Sprintf("/api/billing/payments/%d/refund", payment.ID)

	before := b.contents()
	b.customer(2).call(http.MethodPost, path, "").want(http.StatusNotFound)
	b.client().call(http.MethodPost, path, "").want(http.StatusUnauthorized)
	equal(t, "contents after others tried", b.contents(), before)

	for range 2 {
		c.call(http.MethodPost, path, "").want(http.StatusOK).saying(`"status":"refunded"`)
		checkRefunded(t, b, orderID)
	}
}

func TestRefundTellsOrdersOverHTTP(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	// The gateway fails once, then passes everything on to the shop that has the orders.
	var seen []*http.Request
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r)
		if len(seen) == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		request, err := http.NewRequestWithContext(r.Context(), r.Method, b.url+r.URL.Path, r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		request.Header = r.Header
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = response.Body.Close() }()
		w.WriteHeader(response.StatusCode)
	}))
	t.Cleanup(gateway.Close)
	c := b.customer(1)
	orderID, payment := c.buy()
	c.url = b.serve(gateway.URL + "/")
	c = &client{t: t, url: c.url, http: c.http, header: http.Header{
		"X-Request-Id": {"request-1"}, "Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}}
	path := fmt.Sprintf("/api/billing/payments/%d/refund", payment.ID)

	refused := c.call(http.MethodPost, path, "").want(http.StatusServiceUnavailable).saying("try again")
	equal(t, "Retry-After", refused.header.Get("Retry-After"), "1")
	equal(t, "payment, although orders does not know", b.value(`select status from payments where order_id = $1`, orderID), "refunded")
	equal(t, "order that was not told", b.value(`select status from orders where id = $1`, orderID), "confirmed")

	c.call(http.MethodPost, path, "").want(http.StatusOK)
	checkRefunded(t, b, orderID)
	equal(t, "call", seen[1].Method+" "+seen[1].URL.Path, fmt.Sprintf("POST /api/orders/%d/refunded", orderID))
	equal(t, "authorization", seen[1].Header.Get("Authorization"), "Bearer "+serviceToken)
	for name := range c.header {
		equal(t, name+" passed on", seen[1].Header.Get(name), c.header.Get(name))
	}
}

func TestRefundedIsForServices(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	c := b.customer(1)
	orderID, _ := c.buy()
	path := fmt.Sprintf("/api/orders/%d/refunded", orderID)
	c.call(http.MethodPost, path, "").want(http.StatusUnauthorized)
	b.service().call(http.MethodPost, "/api/orders/99999/refunded", "").want(http.StatusNotFound)
	for range 2 {
		b.service().call(http.MethodPost, path, "").want(http.StatusOK).saying(`"status":"cancelled"`)
		checkRefunded(t, b, orderID)
	}
}
