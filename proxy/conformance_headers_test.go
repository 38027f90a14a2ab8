package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/proxy/edge"
)

// talk sends bytes on a connection of its own, and reads the answer.
func (r *rig) talk(request string) answer {
	r.t.Helper()
	conn := connect(r.t, r.address)
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		r.t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		line, _, _ := strings.Cut(request, "\r\n")
		return answer{err: fmt.Errorf("the answer to %s: %w", line, err)}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b), err}
}

// keeper hands on requests as the upstream got them.
func keeper() (http.HandlerFunc, chan *http.Request) {
	got := make(chan *http.Request, 1)
	return func(_ http.ResponseWriter, r *http.Request) { got <- r.Clone(context.WithoutCancel(r.Context())) }, got
}

// What a client says about its own connection is not for the upstream. Empty
// elements of Connection are nothing, and naming our headers takes none of them
// away (go.dev/issue/50580, 46313).
func TestConformRequestHopByHop(t *testing.T) {
	conformWhere(t, fromHTTP1, func(t *testing.T, c pairing) {
		h, got := keeper()
		r := c.start(t, h)
		for _, connection := range []string{
			"Connection: X-Mine, X-Forwarded-For, X-Real-Ip, X-Request-Id, Traceparent, X-Forwarded-Proto\r\n",
			"Connection: ,, X-Mine ,\r\nConnection: \r\nConnection: keep-alive, x-forwarded-for\r\n",
		} {
			a := r.talk("GET /api/orders/1 HTTP/1.1\r\nHost: shop.example\r\n" + connection +
				"X-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authenticate: a\r\nProxy-Authorization: b\r\nTe: deflate\r\nUpgrade-Insecure-Requests: 1\r\nX-Stays: 1\r\n\r\n")
			if a.err != nil || a.status != 200 {
				t.Fatalf("%d %v %s", a.status, a.err, a.body)
			}
			up := <-got
			for _, name := range []string{"X-Mine", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Connection"} {
				if v, there := up.Header[name]; there {
					t.Errorf("%q: %s arrived as %q", connection, name, v)
				}
			}
			for name, want := range map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Proto": "http",
				"X-Forwarded-Host": "shop.example", "Upgrade-Insecure-Requests": "1", "X-Stays": "1"} {
				if v := up.Header.Get(name); v != want {
					t.Errorf("%q: %s arrived as %q, want %q", connection, name, v, want)
				}
			}
			if up.Header.Get(headerRequestID) == "" || up.Header.Get(headerTraceparent) == "" {
				t.Errorf("%q took our headers away: %v", connection, up.Header)
			}
		}
	})
}

// What the upstream says about its connection is not for the client, and cannot
// take our own headers away.
func TestConformAnswerHopByHop(t *testing.T) {
	conformWhere(t, toHTTP1, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h["Connection"] = []string{"X-Secret, ,", "X-Strangler-Side, x-request-id"}
			for _, name := range []string{"X-Secret", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Upgrade"} {
				h.Set(name, "secret")
			}
			h.Set("X-Stays", "1")
			_, _ = io.WriteString(w, "body")
		})
		for _, path := range []string{"/api/orders/1", "/unclaimed"} {
			a, _ := r.get("GET", path, 200, nil)
			for name, v := range a.header {
				if slices.Contains(v, "secret") || name == "Connection" {
					t.Errorf("%s came through as %q", name, v)
				}
			}
			if a.body != "body" || a.header.Get("X-Stays") != "1" || a.header.Get(headerSide) != "legacy" || a.header.Get(headerRequestID) == "" {
				t.Errorf("answer: %q %v", a.body, a.header)
			}
		}
	})
}

// No upstream says for us what only we say, in no spelling, early or late: who trusts
// the side that an answer names must not have been told by the side. That a gate has
// refused is an upstream's to say, and for a proxy in front of this one to hear.
func TestConformAnswersCannotSpeakForTheProxy(t *testing.T) {
	forged := []string{"X-Strangler-Foo", "X-Strangler-Side", "X_strangler_side", "x.strangler.side", "X_Strangler-Gate", "X-strangler~x", "X-STRANGLER-"}
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			for _, name := range forged {
				w.Header()[name] = []string{"forged"}
			}
			w.Header()["X-Stranglers"] = []string{"stays"}
			w.WriteHeader(103)
			w.Header()[gateHeader] = []string{"closed"}
			w.WriteHeader(503)
		}, func(_ *Options, d *capability.Document) { d.Resilience.Fallback = false })
		for _, path := range []string{"/api/orders/1", "/unclaimed"} {
			var early []http.Header
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
				early = append(early, http.Header(h))
				return nil
			}})
			a, _ := r.send(r.request("GET", path, nil).WithContext(ctx))
			if a.err != nil || a.status != 503 || len(early) != 1 {
				t.Fatalf("%d %v, %d early answers", a.status, a.err, len(early))
			}
			for i, h := range append(early, a.header) {
				for name, values := range h {
					if slices.Contains(values, "forged") {
						t.Errorf("%s: %s came through, early %v", path, name, i == 0)
					}
				}
				if h.Get("X-Stranglers") != "stays" {
					t.Errorf("%s: what is nobody's is gone: %v", path, h)
				}
			}
			if !slices.Equal(a.header[headerSide], []string{"legacy"}) || a.header.Get(gateHeader) != "closed" {
				t.Errorf("%s: %v", path, a.header)
			}
		}
	})
}

func TestConformForwardingHeaders(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		for _, trusted := range []bool{false, true} {
			h, got := keeper()
			r := c.start(t, h, func(o *Options, _ *capability.Document) {
				o.DropHeaders = []string{"X-Tenant"}
				if trusted {
					o.Peers = loopback(t)
				}
			})
			r.get("GET", "/api/orders/1", 200, nil, "Client-Ip", "9.9.9.9", "X-Ssl-Client-Cert", "c", "X-Tenant", "u",
				"X_Strangler_Gate", "g", "X_Request_Id", "i", "X-Forwarded-For", "9.9.9.9", "X-Forwarded-For", "8.8.8.8",
				"X-Forwarded-Proto", "https", "X-Forwarded-Host", "outside.example", "X-Real-Ip", "9.9.9.9", "X-Forwarded-Prefix", "/shop", "Forwarded", "for=9.9.9.9",
				"X_Forwarded_For", "7.7.7.7")
			up := <-got
			proto := "http"
			if c.front.tls {
				proto = "https"
			}
			want := map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": proto, "X-Forwarded-Host": r.address,
				"X-Real-Ip": "127.0.0.1", "X-Forwarded-Prefix": ""}
			if trusted {
				want = map[string]string{"X-Forwarded-For": "9.9.9.9, 8.8.8.8, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "outside.example",
					"X-Real-Ip": "8.8.8.8", "X-Forwarded-Prefix": "/shop", "Client-Ip": "9.9.9.9", "X-Ssl-Client-Cert": "c", "X-Tenant": "u"}
			}
			for _, name := range []string{"Forwarded", "X_forwarded_for", "X_strangler_gate", "X_request_id", "Client-Ip", "X-Ssl-Client-Cert", "X-Tenant"} {
				want[name] += "" // nothing, if nothing is said above
			}
			for name, value := range want {
				if v := strings.Join(up.Header[name], "|"); v != value {
					t.Errorf("trusted %v: %s arrived as %q, want %q", trusted, name, v, value)
				}
			}
		}
	})
}

func loopback(t *testing.T) edge.Peers {
	t.Helper()
	peers, err := edge.ParsePeers([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return peers
}

// The query is the upstream's to read, to the byte: Go would not parse some of
// these, and legacy applications do.
func TestConformQueryIsKept(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		h, got := keeper()
		r := c.start(t, h)
		for _, query := range []string{"?", "?a=1;b=2", "?a=%zz&b=%", "?a&a=&=", "?a=1&b=%3B%20+%41", "?q=%ff%00", "?a?b/c:@", "?a=[1]&b={}|^`", ""} {
			r.get("GET", "/api/orders/1"+query, 200, nil)
			if up := <-got; up.RequestURI != "/api/orders/1"+query {
				t.Errorf("%q arrived as %q", query, up.RequestURI)
			}
		}
	})
}

func TestConformHostIsKept(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		h, got := keeper()
		r := c.start(t, h)
		for _, host := range []string{"shop.example", "shop.example:8443", "SHOP.example"} {
			req := r.request("GET", "/api/orders/1", nil)
			req.Host = host
			if a, _ := r.send(req); a.err != nil || a.status != 200 {
				t.Fatalf("%d %v %s", a.status, a.err, a.body)
			}
			if up := <-got; up.Host != host || up.Header.Get("X-Forwarded-Host") != host {
				t.Errorf("%s arrived as %s, X-Forwarded-Host %s", host, up.Host, up.Header.Get("X-Forwarded-Host"))
			}
		}
	})
}

// A target in absolute form names its host, and that one counts (RFC 9112, 3.2.2).
func TestConformAbsoluteForm(t *testing.T) {
	conformWhere(t, fromHTTP1, func(t *testing.T, c pairing) {
		h, got := keeper()
		r := c.start(t, h)
		a := r.talk("GET http://shop.example/api/orders/7?x=1 HTTP/1.1\r\nHost: shop.example\r\n\r\n")
		if a.err != nil || a.status != 200 || a.header.Get(headerSide) != "legacy" {
			t.Fatalf("%d %v %s", a.status, a.err, a.body)
		}
		if up := <-got; up.RequestURI != "/api/orders/7?x=1" || up.Host != "shop.example" {
			t.Errorf("arrived as %s at %s", up.RequestURI, up.Host)
		}
	})
}

// TE tells whether trailers are read, which gRPC servers insist on. No other
// encoding of transfers is ours to pass on.
func TestConformTeTrailers(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		h, got := keeper()
		r := c.start(t, h)
		r.get("GET", "/api/orders/1", 200, nil, "Te", "trailers")
		if up := <-got; strings.Join(up.Header["Te"], "|") != "trailers" {
			t.Errorf("Te arrived as %q", up.Header["Te"])
		}
		if c.front.major == 1 {
			r.get("GET", "/api/orders/1", 200, nil, "Te", "deflate;q=0.5, Trailers", "Connection", "TE")
			if up := <-got; strings.ToLower(strings.Join(up.Header["Te"], "|")) != "trailers" {
				t.Errorf("Te arrived as %q", up.Header["Te"])
			}
		}
	})
}

// Cookies are the application's, also those that are against the book.
func TestConformSetCookieIsUntouched(t *testing.T) {
	lines := []string{"a=1; Path=/; HttpOnly", `b="x y"; Domain=.shop.example; Max-Age=0`, "c=ä; SameSite=Odd; Unknown", "__Host-d=; Secure; Path=/", "a=2; expires=Thu, 01-Jan-70 00:00:00 GMT"}
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Set-Cookie"] = lines
			w.Header().Set("Location", "http://elsewhere.example/x?y=1;z=2")
			w.WriteHeader(302)
		})
		a, _ := r.get("GET", "/api/orders/1", 302, nil)
		if !slices.Equal(a.header["Set-Cookie"], lines) || a.header.Get("Location") != "http://elsewhere.example/x?y=1;z=2" {
			t.Errorf("cookies %q, location %q", a.header["Set-Cookie"], a.header.Get("Location"))
		}
		if a.header.Get("Date") == "" || len(a.header["Date"]) != 1 {
			t.Errorf("dates: %q", a.header["Date"])
		}
	})
}

func TestConformLargeHeaders(t *testing.T) {
	large := strings.Repeat("x", 7<<10)
	conform(t, func(t *testing.T, c pairing) {
		r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
			n := 0
			for i := range 6 {
				n += len(r.Header.Get(fmt.Sprint("X-Large-", i)))
				w.Header().Set(fmt.Sprint("X-Large-", i), large)
			}
			_, _ = fmt.Fprint(w, n)
		})
		var header []string
		for i := range 6 {
			header = append(header, fmt.Sprint("X-Large-", i), large)
		}
		a, _ := r.get("GET", "/api/orders/1", 200, nil, header...)
		if a.body != fmt.Sprint(6*len(large)) {
			t.Errorf("%s bytes arrived", a.body)
		}
		for i := range 6 {
			if v := a.header.Get(fmt.Sprint("X-Large-", i)); v != large {
				t.Errorf("%d bytes came back", len(v))
			}
		}
	})
}
