package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"strangler/proxy/edge"
	"strangler/proxy/pool"
)

// refusing is a proxy that has a reason to refuse whatever is asked for.
func refusing(t *testing.T) *rig {
	t.Helper()
	r := pairing{fronts[0], backs[0], pool.Standard}.before(t, nil, nobody(t), touchy(20*time.Second), func(o *Options, d *capability.Document) {
		o.Hold, o.Legacy.Endpoints = HoldLimits{Requests: 1, Bytes: 1, Age: time.Millisecond}, d.Extracted.Endpoints
		d.Routes = append(d.Routes, capability.Route{Path: "/api/orders/bound", Class: capability.Read, Body: 10, Line: 5},
			capability.Route{Path: "/api/orders/held", Class: capability.Write, Line: 6})
	})
	r.limits = edge.Limits{BodyStall: 20 * time.Second}
	r.open(testCertificate(t))
	r.set(switching(state(2, capability.Legacy, 0)))
	return r
}

var refusals = []struct {
	path   string
	status int
}{{"/api/orders/bound", 413}, {"/api/orders/..%2fx", 400}, {"/api/orders/held", 503}, {"/api/orders/search", 503}}

// A client that goes on and on sending a body hears at once that nobody wants it,
// and cannot keep its connection.
func TestRefusalsDoNotWaitForTheBody(t *testing.T) {
	r := refusing(t)
	for _, c := range refusals {
		for _, framing := range []string{"Content-Length: 1000000\r\n\r\na", "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"} {
			t.Run(c.path+" "+framing[:10], func(t *testing.T) {
				if c.status == 413 && framing[0] == 'T' {
					t.Skip("what is not announced is not refused before it comes")
				}
				conn := connect(t, r.address)
				_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\n%s", c.path, framing)
				_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second)) // and body_stall is 20 s
				in := bufio.NewReader(conn)
				res, err := http.ReadResponse(in, nil)
				if err != nil || res.StatusCode != c.status || !res.Close {
					t.Fatalf("%+v %v", res, err)
				}
				piece := framing[strings.LastIndex(strings.TrimSuffix(framing, "\r\n"), "\n")+1:] // goes on for ever
				if framing[0] == 'T' {
					piece = "1\r\na\r\n"
				}
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for deadline := time.Now().Add(10 * time.Second); ; {
					if _, err = io.WriteString(conn, piece); err != nil {
						break
					}
					if time.Now().After(deadline) {
						t.Fatal("it can go on sending")
					}
					<-tick.C
				}
				if b, err := io.ReadAll(res.Body); !strings.Contains(string(b), "request_id") || err != nil {
					t.Errorf("%q %v", b, err)
				}
			})
		}
	}
}

// Whoever has sent all of its request keeps its connection, refused or not.
func TestRefusalsOfSmallBodiesKeepTheConnection(t *testing.T) {
	r := refusing(t)
	conn := connect(t, r.address)
	in := bufio.NewReader(conn)
	for _, c := range refusals {
		for _, framing := range []string{"Content-Length: 12\r\n\r\ntwelve bytes", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"} {
			if c.status == 413 && framing[0] == 'T' {
				continue
			}
			_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\n%s", c.path, framing)
			res, err := http.ReadResponse(in, nil)
			if err != nil || res.StatusCode != c.status || res.Close {
				t.Fatalf("%s: %+v %v", c.path, res, err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
		}
	}
	// It is not cut off afterwards either.
	_ = conn.SetReadDeadline(time.Now().Add(2 * lingering))
	if _, err := in.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection ended: %v", err)
	}
}

// Nobody asks for a body that is refused.
func TestRefusalsAskForNoBody(t *testing.T) {
	r := refusing(t)
	for _, c := range refusals {
		conn := connect(t, r.address)
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n", c.path)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != c.status || !res.Close {
			t.Errorf("%s: %+v %v", c.path, res, err)
		}
	}
}
