package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"strangler/capability"
)

// server answers over HTTP/1.1 or h2c, and takes so many bytes of a header.
func server(t *testing.T, protocol capability.Protocol, header int) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(protocol == capability.ProtocolHTTP1)
	s.Config.Protocols.SetUnencryptedHTTP2(protocol == capability.ProtocolH2C)
	s.Config.MaxHeaderBytes = header
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// A request that no connection would take says nothing about the one it was to go
// by, which goes on.
func TestARequestThatCannotBeWritten(t *testing.T) {
	for _, protocol := range []capability.Protocol{capability.ProtocolHTTP1, capability.ProtocolH2C} {
		for name, spoil := range map[string]func(*http.Request){
			"header name":   func(r *http.Request) { r.Header["a b"] = []string{"x"} },
			"header value":  func(r *http.Request) { r.Header["A"] = []string{"x\ny"} },
			"trailer name":  func(r *http.Request) { r.Trailer = http.Header{"a b": nil} },
			"trailer value": func(r *http.Request) { r.Trailer = http.Header{"A": {"\x00"}} },
			"method":        func(r *http.Request) { r.Method = "A B" },
			"host":          func(r *http.Request) { r.Host = "xn--é" },
		} {
			t.Run(fmt.Sprint(protocol, " ", name), func(t *testing.T) {
				to := parse(t, server(t, protocol, 0))
				leg := legTo(t, to, capability.Upstream{Protocol: protocol})
				for _, body := range []string{"", "body"} {
					req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to.String(), strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					if body == "" {
						req.Body = nil
					}
					spoil(req)
					if res, err := leg.RoundTrip(req); !errors.Is(err, ErrUnwritable) || errors.Is(err, ErrUnsent) {
						t.Errorf("%v, %v", res, err)
					}
					if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err != nil {
						t.Errorf("the next one: %v", err)
					}
				}
			})
		}
	}
}

// What an HTTP/2 server says that it takes is kept to, and is its own affair.
func TestAHeaderThatIsTooLargeForThePeer(t *testing.T) {
	to := parse(t, server(t, capability.ProtocolH2C, 4<<10))
	leg := legTo(t, to, capability.Upstream{Protocol: capability.ProtocolH2C})
	for range 2 {
		_, _, err := exchange(t, leg, http.MethodGet, to, nil, "X-Large", strings.Repeat("a", 20<<10))
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v", err)
		}
		if _, _, err := exchange(t, leg, http.MethodGet, to, nil); err != nil {
			t.Errorf("the next one: %v", err)
		}
	}
}

// Whose want it is that no connection is made.
func TestWhoseWantItIs(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, c := range []struct {
		err  error
		want error
	}{
		{refused, ErrUnreachable},
		{context.DeadlineExceeded, ErrUnreachable},
		{&net.DNSError{Err: "no such host", Name: "x"}, ErrUnreachable},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}, ErrExhausted},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.ENFILE)}, ErrExhausted},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}, ErrExhausted},
		{&net.DNSError{Err: "dial udp 127.0.0.53:53: socket: too many open files", Name: "x"}, ErrExhausted},
		{&os.PathError{Op: "open", Path: "ca.pem", Err: syscall.EMFILE}, ErrExhausted},
	} {
		if err := unreachable(fmt.Errorf("connect: %w", c.err)); !errors.Is(err, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}

// A check that cannot be made is none.
func TestChecksThatCannotBeMade(t *testing.T) {
	checks := make(chan struct{}, 100)
	legs := &fakeLegs{answer: func(string, *http.Request) (*http.Response, error) {
		checks <- struct{}{}
		return nil, fmt.Errorf("%w: %w", ErrExhausted, syscall.EMFILE)
	}}
	p, _ := poolOf(capability.Upstream{Check: capability.Check{Path: "/", Every: time.Millisecond, Timeout: time.Minute, Unhealthy: 1, Healthy: 1}},
		Options{NewLeg: legs.make}, some(1)...)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for range 5 {
		<-checks
	}
	stop()
	if err := <-done; err != nil || states(p) != "e0 healthy" {
		t.Errorf("%s %v", states(p), err)
	}
}
