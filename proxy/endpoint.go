package proxy

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// leg carries one request to one endpoint and brings back the answer.
// *http.Transport is one.
type leg interface {
	RoundTrip(*http.Request) (*http.Response, error)
	CloseIdleConnections()
}

// endpoint is one address of an upstream, with a connection pool of its own, so
// that a withdrawn endpoint's idle connections can be closed alone.
type endpoint struct {
	address  string // as written: http://127.0.0.1:9003
	url      *url.URL
	leg      leg
	inflight atomic.Int64
	failedAt atomic.Int64 // unix nanoseconds of the last connection that could not be made
}

// avoidFor is how long an endpoint that refused a connection is used only when
// there is no other. It takes no traffic away from a pool of one.
const avoidFor = 2 * time.Second

func newEndpoint(address string, newLeg func() leg) (*endpoint, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("parse endpoint: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("parse endpoint: %q is not http://host:port or https://host:port", address)
	}
	return &endpoint{address: address, url: u, leg: newLeg()}, nil
}

func (e *endpoint) suspect(now time.Time) bool {
	at := e.failedAt.Load()
	return at != 0 && now.UnixNano()-at < int64(avoidFor)
}

// newTransport makes the standard leg.
//
// Idle connections are dropped after 30 s, which is below what HTTP servers
// keep them (Go: 60 s or more by convention, nginx 75 s, Apache must be set):
// a write sent on a connection that the server just closed fails without being
// repeatable, so the proxy must be the one who closes first.
func newTransport() leg {
	dialer := &net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                  nil, // upstreams are reached directly, whatever the environment says
		DialContext:            dialer.DialContext,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    5 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true, // the client's encoding is between it and the upstream
		WriteBufferSize:        8 << 10,
		ReadBufferSize:         8 << 10,
	}
}
