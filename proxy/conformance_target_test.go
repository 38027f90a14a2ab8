package proxy

import (
	"testing"

	"strangler/capability"
)

// OPTIONS * asks the server as a whole, which is the monolith: no route claims it,
// whatever the weights.
func TestConformOptionsOfTheServer(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		h, got := keeper()
		r := c.start(t, h)
		r.set(state(2, capability.Legacy, 10_000))
		req := r.request("OPTIONS", "/", nil)
		req.URL.Path = "*"
		a, _ := r.send(req)
		if a.err != nil || a.status != 200 || a.header.Get(headerSide) != "legacy" {
			t.Fatalf("%d %v %s\n%s", a.status, a.err, a.body, r.log)
		}
		if up := <-got; up.Method != "OPTIONS" || up.RequestURI != "*" || up.Header.Get("X-Forwarded-For") == "" {
			t.Errorf("arrived as %s %s, %v", up.Method, up.RequestURI, up.Header)
		}
		req = r.request("GET", "/", nil)
		req.URL.Path = "*"
		if a, _ := r.send(req); a.err != nil || a.status != 400 {
			t.Errorf("GET *: %d %v %s", a.status, a.err, a.body)
		}
	})
}

// An absolute target without a path is the root (RFC 9110, section 4.2.3), or for
// OPTIONS the server as a whole (RFC 9112, section 3.2.4).
func TestConformAbsoluteFormWithoutPath(t *testing.T) {
	conformWhere(t, fromHTTP1, func(t *testing.T, c pairing) {
		h, got := keeper()
		r := c.start(t, h)
		for line, want := range map[string]string{
			"GET http://shop.example": "/", "GET http://shop.example?x=1": "/?x=1", "OPTIONS http://shop.example": "*",
			"OPTIONS http://shop.example?x=1": "/?x=1", "OPTIONS http://shop.example/": "/",
		} {
			a := r.talk(line + " HTTP/1.1\r\nHost: shop.example\r\n\r\n")
			if a.err != nil || a.status != 200 {
				t.Errorf("%s: %d %v %s", line, a.status, a.err, a.body)
				continue
			}
			if up := <-got; up.RequestURI != want || up.Host != "shop.example" {
				t.Errorf("%s arrived as %s at %s", line, up.RequestURI, up.Host)
			}
		}
	})
}
