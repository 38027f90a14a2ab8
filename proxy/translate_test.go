package proxy

import (
	"io"
	"net/http"
	"net/url"
	"testing"

	"strangler/capability"
	"strangler/proxy/match"
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
		// A prefix ends at a segment's end, so no dot segment comes to be; one that a route
		// allows stays what it is.
		{"/api/orders", "/v1", "/api/orders../admin", "/api/orders../admin"},
		{"/api/orders", "/", "/api/orders/..x/.y", "/..x/.y"},
		{"/", "/v1", "/..x", "/v1/..x"},
		{"/api/orders", "/v1", "/api/orders/%2E%2E/admin", "/v1/%2E%2E/admin"},
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
	asked := base{public: "/api/orders/5", own: "/v1/5"}
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
		r.answer(h, endpoint, client, asked)
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
		r.answer(h, endpoint, client, asked)
		if got := h.Get("Set-Cookie"); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.given, got, c.want)
		}
	}
	untouched := http.Header{"Location": {"http://10.0.0.7:9003/v1"}}
	(translation{}).answer(untouched, endpoint, client, asked)
	if untouched.Get("Location") != "http://10.0.0.7:9003/v1" {
		t.Error("a side without a rewrite was rewritten")
	}
}

// A relative reference is resolved against the path that the side was asked for (RFC
// 3986, 5.2), and is written anew where the client would get to another place.
func TestRewriteRelativeReferences(t *testing.T) {
	t.Parallel()
	endpoint := &url.URL{Scheme: "http", Host: "10.0.0.7:9003"}
	client := origin{"https", "shop.example.com"}
	for _, c := range []struct{ prefix, to, asked, given, want string }{
		// Below the prefix both agree.
		{"/api/orders", "/v1", "/api/orders/5", "9", "9"},
		{"/api/orders", "/v1", "/api/orders/5", "./9?x=1#top", "./9?x=1#top"},
		{"/api/orders", "/v1", "/api/orders/5/items/2", "../../9", "../../9"},
		{"/api/orders", "/v1", "/api/orders/5/", "../9", "../9"},
		{"/api/orders", "/v1", "/api/orders/5", "?page=2", "?page=2"},
		{"/api/orders", "/v1", "/api/orders/5", "#top", "#top"},
		{"/api/orders", "/v1", "/api/orders/5", "", ""},
		// Up to the prefix itself they do not where the two are of different depth.
		{"/api/orders", "/v1", "/api/orders/5", "../v1/9", "/api/orders/9"},
		{"/api/orders", "/v1", "/api/orders", "v1/9", "/api/orders/9"},
		{"/api/orders", "/v1", "/api/orders", "./v1?x=1#top", "/api/orders?x=1#top"},
		{"/api/orders", "/v1", "/api/orders/5/2", "../../v1/a%2Fb", "/api/orders/a%2Fb"},
		{"/orders", "/shop/v1", "/orders/5", "../v1/9", "/orders/9"},
		{"/orders", "/shop/v1", "/orders", "v1/9", "/orders/9"},
		{"/api/orders", "/", "/api/orders/5", "../9", "/api/orders/9"},
		{"/api/orders", "/", "/api/orders/5", "9", "9"},
		{"/api/orders", "/", "/api/orders", "9", "/api/orders/9"},
		{"/api/orders", "/", "/api/orders", "?x=1", "?x=1"},
		{"/api/orders", "/", "/api/orders/5", "..", "/api/orders/"},
		{"/api/orders", "/", "/api/orders/5", "../../../9", "/api/orders/9"},
		// What the rewrite does not reach stays as the side wrote it.
		{"/api/orders", "/v1", "/api/orders/5", "../9", "../9"},
		{"/api/orders", "/v1", "/api/orders", "9", "9"},
		{"/api/orders", "/v1", "/api/orders/5", "../v10/9", "../v10/9"},
		{"/api/orders", "/v1", "/other/5", "6", "6"},
		{"", "", "/api/orders/5", "../9", "../9"},
		{"", "", "/api/orders/5", "../ü|9", "../ü|9"},
		// Slashes that were merged on the way.
		{"/api/orders", "/v1", "/api//orders/5/2", "../9", "/api/orders/9"},
		// Absolute paths and addresses have their dots taken out first, as the client does.
		{"/api/orders", "/v1", "/api/orders/5", "/v1/a/../9", "/api/orders/9"},
		{"/api/orders", "/v1", "/api/orders/5", "/v1/../9", "/v1/../9"},
		{"/api/orders", "/v1", "/api/orders/5", "http://10.0.0.7:9003/x/../v1/9", "https://shop.example.com/api/orders/9"},
	} {
		r := newTranslation(capability.Rewrite{Prefix: c.prefix, To: c.to, Host: "orders.internal"})
		path, err := match.Normalise(c.asked)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Location", "Content-Location"} {
			h := http.Header{name: {c.given}}
			r.answer(h, endpoint, client, base{public: c.asked, own: r.path(path.Raw)})
			if got := h.Get(name); got != c.want {
				t.Errorf("%s → %s, asked for %s: %q becomes %q, want %q", c.prefix, c.to, c.asked, c.given, got, c.want)
			}
		}
	}
}

// A client that follows them gets to where the side meant.
func TestRedirectsOfARewrittenSide(t *testing.T) {
	s := serve(t, onExtracted(), nil, func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, r.URL.RequestURI())
	}, func(_ *Options, d *capability.Document) {
		d.Extracted.Rewrite = capability.Rewrite{Prefix: "/api/orders", To: "/"}
	})
	s.client.CheckRedirect = nil
	for _, c := range []struct{ from, to, want string }{
		{"/api/orders", "9", "/9"},
		{"/api/orders/5", "9", "/9"},
		{"/api/orders/5", "../9", "/9"},
		{"/api/orders/5/2", "../9%3Fx", "/9%3Fx"},
		{"/api/orders/5", "?page=2", "/5?page=2"},
		{"/api/orders/5", "/9", "/9"},
		{"/api/orders/5", s.extracted.URL + "/9", "/9"},
	} {
		if a := s.get(c.from+"?to="+url.QueryEscape(c.to), "u"); a.err != nil || a.body != c.want {
			t.Errorf("%s redirects to %s: the side got %q (%d, %v), want %q", c.from, c.to, a.body, a.status, a.err, c.want)
		}
	}
}
