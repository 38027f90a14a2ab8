package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestPagesFromRegisteringToCancelling(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	c := b.client()
	b.exec(`update products set name = '<Lamp & Co>', price_cents = 1234 where id = 3`)

	// A form from nobody leads to the login and on to registering.
	equal(t, "path", c.submit("/cart/items", "product_id", "3", "quantity", "1").want(http.StatusOK).saying("Sign in").path, "/login")
	r := c.submit("/register", "email", "Ann@Example.com", "name", "Ann", "password", "secret", "next", "/products/3")
	r.want(http.StatusOK).saying("&lt;Lamp &amp; Co&gt;").saying("€ 12.34").saying("served by monolith").saying(`action="/cart/items"`)
	equal(t, "path", r.path, "/products/3")
	equal(t, "X-Served-By", r.header.Get("X-Served-By"), "monolith")

	r = c.submit("/cart/items", "product_id", "3", "quantity", "2").want(http.StatusOK).saying("€ 24.68")
	equal(t, "path", r.path, "/cart")
	c.submit("/cart/items", "product_id", "3", "quantity", "0").want(http.StatusOK).saying("Your cart is empty")
	c.submit("/cart/checkout").want(http.StatusConflict).saying("cart is empty").saying("served by monolith")
	c.submit("/cart/items", "product_id", "3", "quantity", "many").want(http.StatusBadRequest)
	c.submit("/cart/items", "product_id", "999", "quantity", "1").want(http.StatusNotFound).saying("no such product")

	c.submit("/cart/items", "product_id", "3", "quantity", "3").want(http.StatusOK)
	r = c.submit("/cart/checkout", "note", "ring twice").want(http.StatusOK).saying("confirmed").saying("ring twice").saying("€ 37.02")
	order := r.path
	c.get("/orders").want(http.StatusOK).saying(fmt.Sprintf(`href="%s"`, order)).saying("ring twice")
	c.submit(order+"/note", "note", "do not ring").want(http.StatusOK).saying("do not ring").saying("revision 1")
	r = c.submit(order + "/cancel").want(http.StatusOK).saying("cancelled")
	equal(t, "path", r.path, order)
	equal(t, "recorded writes", b.value(`select string_agg(kind, ' ' order by id) from order_log where customer_id = $1`, small.Customers+1),
		"cart cart cart checkout change cancel")

	b.customer(1).get(order).want(http.StatusNotFound).saying("no such order")
	c.submit("/logout").want(http.StatusOK).saying("Sign in")
	equal(t, "path", c.get("/orders").path, "/login")
}

func TestLoginForm(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	c := b.client()
	c.submit("/login", "email", "customer-1@example.com", "password", "wrong!").want(http.StatusUnauthorized).
		saying("email or password is wrong").saying(`value="customer-1@example.com"`)
	c.submit("/login", "email", "nobody@example.com", "password", "secret").want(http.StatusUnauthorized)
	for next, path := range map[string]string{"/orders": "/orders", "//evil.example/": "/", `/\evil.example`: "/", "https://evil.example/": "/"} {
		r := c.submit("/login", "email", "customer-1@example.com", "password", "secret", "next", next).want(http.StatusOK)
		equal(t, "path after next="+next, r.path, path)
	}
}

func TestShopWindow(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	b.exec(`update products set category = case when id % 2 = 0 then 'even' else 'odd' end, name = 'Thing ' || id, active = id <> 4`)
	b.exec(`update products set name = '100% wool' where id = 6`)
	c := b.client()
	c.get("/?category=even").want(http.StatusOK).saying("Thing 8")
	if body := c.get("/?category=even").body; strings.Contains(body, "Thing 7") || strings.Contains(body, "Thing 4<") {
		t.Error("the shop window shows products of another category, or not for sale")
	}
	c.get("/?q=thing+1").want(http.StatusOK).saying("Thing 13")
	c.get("/?after=nonsense").want(http.StatusBadRequest)
	c.get("/static/shop.css").want(http.StatusOK)
	c.get("/nowhere").want(http.StatusNotFound).saying(`{"error":`)

	c.get("/api/catalog/products?category=odd&limit=2").want(http.StatusOK).saying(`"name":"Thing 3"`).saying(`"next":3`)
	c.get("/api/catalog/products?category=odd&limit=2&after=17").want(http.StatusOK).saying(`"name":"Thing 19"`).saying(`"next":0`)
	equal(t, "found", c.get("/api/catalog/search?q=100%25").want(http.StatusOK).body[:20], `{"products":[{"id":6`)
	c.get("/api/catalog/search?q=100%25+c").want(http.StatusOK).saying(`{"products":[]`)
	c.get("/api/catalog/products/4").want(http.StatusNotFound)

	change := `{"name":"Renamed","price_cents":77}`
	c.call(http.MethodPut, "/api/catalog/products/8", change).want(http.StatusUnauthorized)
	b.service().call(http.MethodPut, "/api/catalog/products/8", change).want(http.StatusOK)
	b.service().call(http.MethodPut, "/api/catalog/products/8", `{"name":"Free"}`).want(http.StatusBadRequest)
	b.service().call(http.MethodPut, "/api/catalog/products/999", change).want(http.StatusNotFound)
	c.get("/api/catalog/products/8").want(http.StatusOK).saying(`"name":"Renamed"`).saying(`"price_cents":77`)
}

func TestAccountsAPI(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	c := b.client()
	c.get("/api/accounts/me").want(http.StatusUnauthorized)
	ann := `{"email":" Ann@example.com","name":"Ann","password":"secret"}`
	c.call(http.MethodPost, "/api/accounts/register", ann).want(http.StatusCreated).saying(`"email":"ann@example.com"`)
	c.call(http.MethodPost, "/api/accounts/register", ann).want(http.StatusConflict)
	c.call(http.MethodPost, "/api/accounts/register", `{"email":"x","name":"Ann","password":"secret"}`).want(http.StatusBadRequest)
	c.call(http.MethodPost, "/api/accounts/register", `{"email":"a@b","name":"Ann","password":"short"}`).want(http.StatusBadRequest)

	r := c.call(http.MethodPost, "/api/accounts/login", `{"email":"ann@example.com","password":"secret"}`).want(http.StatusOK)
	for _, attribute := range []string{"session=", "HttpOnly", "SameSite=Lax", "Path=/"} {
		if !strings.Contains(r.header.Get("Set-Cookie"), attribute) {
			t.Errorf("cookie %q lacks %s", r.header.Get("Set-Cookie"), attribute)
		}
	}
	c.call(http.MethodPut, "/api/accounts/profile", `{"name":"Anna"}`).want(http.StatusOK)
	c.get("/api/accounts/me").want(http.StatusOK).saying(fmt.Sprintf(`{"id":%d,"email":"ann@example.com","name":"Anna"}`, small.Customers+1))

	b.exec(`update sessions set expires_at = now()`)
	c.get("/api/accounts/me").want(http.StatusUnauthorized)
	c.call(http.MethodPost, "/api/accounts/login", `{"email":"ann@example.com","password":"secret"}`).want(http.StatusOK)
	c.call(http.MethodPost, "/api/accounts/logout", ``).want(http.StatusOK)
	c.get("/api/accounts/me").want(http.StatusUnauthorized)
	equal(t, "sessions that are not over", b.value(`select count(*) from sessions where expires_at > now()`), "0")
}
