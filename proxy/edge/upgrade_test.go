package edge

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestUpgradedConnectionsAreLeftAlone(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "root")
	files := a.files("server")
	a.write(files, "x")
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/declined" {
			_, _ = io.WriteString(w, "no")
			return
		}
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
		b, err := io.ReadAll(rw) // until the client closes its half
		if err != nil {
			t.Error(err)
		}
		_, _ = c.Write(bytes.ToUpper(b))
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	limits := Limits{BodyStall: short, WriteStall: short, HeaderTime: short, Idle: short}
	plain := run(t, Options{Handler: handler, HTTP2: true, Limits: limits})
	secret := run(t, Options{Handler: handler, Limits: limits, TLS: &TLS{Certificates: []CertificateFiles{files}}})
	const ask = "GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"
	for name, dialer := range map[string]func() net.Conn{
		"plain": func() net.Conn { return dial(t, plain.address) },
		"TLS":   func() net.Conn { return dialTLS(t, secret.address, a.config("x")) },
	} {
		for _, early := range []string{"", "e", "early\nand \rodd\x00\r\n"} {
			c := dialer()
			send(t, c, ask+early)
			r := bufio.NewReader(c)
			if res, _ := answerOf(t, r); res.StatusCode != 101 {
				t.Fatalf("%s: %v", name, res)
			}
			<-time.After(2 * short) // none of the limits holds any more
			send(t, c, "late\n\r\x00")
			if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Error(err)
			}
			if b, err := io.ReadAll(r); err != nil || string(b) != strings.ToUpper(early+"late\n\r\x00") {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		}
	}
}

// Behind an upgrade that was declined, the guard goes on.
func TestDeclinedUpgradesAreWatched(t *testing.T) {
	t.Parallel()
	s := run(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path)
	})})
	const ask = "GET /declined HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"
	const good = "GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	const bad = "POST /bad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \rchunked\r\n\r\n"
	for what, c := range map[string]struct {
		raw  string
		want string
	}{
		"a good request":      {ask + good, "200 200"},
		"twice":               {ask + ask + good, "200 200 200"},
		"a bad one":           {ask + bad + good, "200 400"},
		"twice, then bad":     {ask + ask + bad + good, "200 200 400"},
		"bad from the start":  {ask + "\n" + good, "200 400"},
		"bad with two":        {ask + "\x00" + good, "200 400"},
		"a bad line end only": {ask + "GET / HTTP/1.1\n" + good, "200 400"},
	} {
		for _, cut := range cuts(0, len(c.raw)) {
			if got := strings.Join(exchange(t, what, s.address, c.raw, cut), " "); got != c.want {
				t.Errorf("%s, cut at %d: %s, want %s", what, cut, got, c.want)
			}
		}
	}
}
