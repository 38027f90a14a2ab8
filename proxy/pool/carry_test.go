package pool

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"testing"

	"strangler/capability"
)

// serveHTTP1 starts a TLS server that does not offer HTTP/2.
func serveHTTP1(t *testing.T, c *census) (*url.URL, capability.Upstream) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = c.watch
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	return parse(t, server.URL), capability.Upstream{TLS: capability.UpstreamTLS{CA: writePEM(t, "CERTIFICATE", server.Certificate().Raw)}}
}

// everywhere runs a test against a server of every protocol.
func everywhere(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, leg Leg, to *url.URL)) {
	for _, c := range spoken {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			to, u := serve(t, c.tls, nil, handler)
			u.Protocol = c.protocol
			test(t, legTo(t, to, u), to)
		})
	}
}

func TestTrailersPassBothWays(t *testing.T) {
	everywhere(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Back")
		io.WriteString(w, "body")
		w.Header().Set("X-Back", r.Trailer.Get("X-There")+"!")
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	}, func(t *testing.T, leg Leg, to *url.URL) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, to.String(), streamOf("body"))
		req.Trailer = http.Header{"X-There": {"there"}}
		res, err := leg.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		io.Copy(io.Discard, res.Body)
		if res.Trailer.Get("X-Back") != "there!" || res.Trailer.Get("X-Late") != "late" {
			t.Errorf("trailers %v", res.Trailer)
		}
		if res.Request != req {
			t.Error("the answer is to another request")
		}
	})
}

func TestInformationalAnswersPass(t *testing.T) {
	everywhere(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Link", "</b.css>")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "body")
	}, func(t *testing.T, leg Leg, to *url.URL) {
		var seen []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				seen = append(seen, fmt.Sprint(code, header.Get("Link")))
				return nil
			},
		})
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
		res, err := leg.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := strings.Join(seen, " "); got != "103</a.css> 103</b.css>" {
			t.Errorf("seen %q", got)
		}
	})
}

// A server that refuses before it reads is answered without the body being sent.
func TestExpectContinue(t *testing.T) {
	everywhere(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		io.Copy(w, r.Body)
	}, func(t *testing.T, leg Leg, to *url.URL) {
		for path, want := range map[string]string{"/yes": "200 body false", "/no": "417  true"} {
			body := &struct{ *strings.Reader }{strings.NewReader("body")}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, to.String()+path, body)
			req.ContentLength = 4
			req.Header.Set("Expect", "100-continue")
			res, err := leg.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if got := fmt.Sprint(res.StatusCode, " ", string(text), " ", body.Len() == 4); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	})
}

// Each side waits for the other's line before it says its next one.
func TestFullDuplex(t *testing.T) {
	everywhere(t, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		control.EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		control.Flush()
		in := bufio.NewScanner(r.Body)
		for in.Scan() {
			fmt.Fprintln(w, "echo", in.Text())
			control.Flush()
		}
	}, func(t *testing.T, leg Leg, to *url.URL) {
		body, say := io.Pipe()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, to.String(), body)
		res, err := leg.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		hear := bufio.NewScanner(res.Body)
		for n := range 50 {
			line := fmt.Sprint(n, strings.Repeat("x", 3_000))
			fmt.Fprintln(say, line)
			if !hear.Scan() || hear.Text() != "echo "+line {
				t.Fatalf("heard %.20q: %v", hear.Text(), hear.Err())
			}
		}
		say.Close()
		if hear.Scan() {
			t.Errorf("heard %.20q at the end", hear.Text())
		}
	})
}

// Upgrades go by HTTP/1.1 whatever is spoken otherwise, and each direction can
// end alone.
func TestUpgrades(t *testing.T) {
	everywhere(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo" || r.ProtoMajor != 1 {
			io.WriteString(w, r.Proto)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(conn, rw)
		io.WriteString(conn, " and goodbye")
	}, func(t *testing.T, leg Leg, to *url.URL) {
		for range 2 {
			if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err != nil {
				t.Fatal(err)
			}
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, to.String(), nil)
			req.Header.Set("Connection", "keep-alive, Upgrade")
			req.Header.Set("Upgrade", "echo")
			res, err := leg.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			conn, ok := res.Body.(io.ReadWriteCloser)
			if res.StatusCode != http.StatusSwitchingProtocols || !ok {
				t.Fatalf("status %d, a body of %T", res.StatusCode, res.Body)
			}
			io.WriteString(conn, "hello")
			if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatalf("close one direction: %v", err)
			}
			if text, err := io.ReadAll(conn); string(text) != "hello and goodbye" {
				t.Errorf("heard %q, %v", text, err)
			}
			conn.Close()
		}
	})
}

func TestTheHostIsTheRequests(t *testing.T) {
	everywhere(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host+" "+r.Header.Get("Accept-Encoding"))
	}, func(t *testing.T, leg Leg, to *url.URL) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, to.String(), nil)
		req.Host = "shop.example.com"
		res, err := leg.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if text, _ := io.ReadAll(res.Body); string(text) != "shop.example.com " {
			t.Errorf("the server saw %q", text)
		}
	})
}
