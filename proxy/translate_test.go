package proxy

import (
	"net/http"
	"net/url"
	"testing"

	"strangler/capability"
)

func TestRewritePaths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ prefix, to, public, own string }{
		{"/api/orders", "/v1", "/api/orders/17", "/v1/17"},
		{"/api/orders", "/v1", "/api/orders", "/v1"},
		{"/api/orders", "/v1", "/api/ordersX", "/api/ordersX"},
		{"/api/orders", "/", "/api/orders/17", "/17"},
		{"/api/orders", "/", "/api/orders/", "/"},
		{"/api/orders/", "/v1/", "/api/orders/a%2Fb", "/v1/a%2Fb"},
		{"/", "/shop", "/cart", "/shop/cart"},
		{"/a b", "/c d", "/a%20b/x", "/c%20d/x"},
	} {
		r := newTranslation(capability.Rewrite{Prefix: c.prefix, To: c.to})
		if got := r.path(c.public); got != c.own {
			t.Errorf("%s → %s: %s becomes %s, want %s", c.prefix, c.to, c.public, got, c.own)
		}
		if got := r.public(c.own); got != c.public {
			t.Errorf("%s → %s: %s comes back as %s, want %s", c.prefix, c.to, c.own, got, c.public)
		}
	}
	if got := (translation{}).path("/api"); got != "/api" {
		t.Errorf("nothing is rewritten to %s", got)
	}
}

func TestRewriteAnswers(t *testing.T) {
	t.Parallel()
	endpoint := &url.URL{Scheme: "http", Host: "10.0.0.7:9003"}
	client := origin{"https", "shop.example.com"}
	r := newTranslation(capability.Rewrite{Prefix: "/api/orders", To: "/v1", Host: "orders.internal"})
	for given, want := range map[string]string{
		"/v1/17?x=1#top":                  "/api/orders/17?x=1#top",
		"/elsewhere":                      "/elsewhere",
		"17":                              "17",
		"?page=2":                         "?page=2",
		"http://10.0.0.7:9003/v1/17":      "https://shop.example.com/api/orders/17",
		"http://orders.internal/v1":       "https://shop.example.com/api/orders",
		"http://orders.internal":          "https://shop.example.com",
		"//orders.internal/v1/1":          "//shop.example.com/api/orders/1",
		"http://pay.example.net/v1":       "http://pay.example.net/v1",
		"mailto:a@b":                      "mailto:a@b",
		"http://orders.internal/v1/a%2Fb": "https://shop.example.com/api/orders/a%2Fb",
		"http://[::1":                     "http://[::1",
	} {
		h := http.Header{"Location": {given}}
		r.answer(h, endpoint, client)
		if got := h.Get("Location"); got != want {
			t.Errorf("%s becomes %s, want %s", given, got, want)
		}
	}
	for _, c := range []struct{ domain, given, want string }{
		{"", "a=1; Path=/v1; HttpOnly", "a=1; Path=/api/orders; HttpOnly"},
		{"", "a=1; path=/; domain=.orders.internal; Secure", "a=1; Path=/; Secure"},
		{"", "a=1; Domain=10.0.0.7", "a=1"},
		{"", "a=1; Domain=example.com", "a=1; Domain=example.com"},
		{"shop.example.com", "a=1; Domain=orders.internal", "a=1; Domain=shop.example.com"},
		{"", "a=1=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "a=1=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"},
	} {
		r.domain = c.domain
		h := http.Header{"Set-Cookie": {c.given}}
		r.answer(h, endpoint, client)
		if got := h.Get("Set-Cookie"); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.given, got, c.want)
		}
	}
	untouched := http.Header{"Location": {"http://10.0.0.7:9003/v1"}}
	(translation{}).answer(untouched, endpoint, client)
	if untouched.Get("Location") != "http://10.0.0.7:9003/v1" {
		t.Error("a side without a rewrite was rewritten")
	}
}
