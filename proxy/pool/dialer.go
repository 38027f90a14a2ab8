package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"strangler/capability"
)

const (
	dialFor      = 2 * time.Second
	handshakeFor = 5 * time.Second

	// heldPerStream is how many bytes of an HTTP/2 answer the proxy holds for a client
	// that does not take them. There is no lower bound for all streams of a connection:
	// slow clients would use it up, and the others' answers stand still.
	heldPerStream = 128 << 10
)

// dialer makes connections to one endpoint.
type dialer struct {
	address  string // host:port
	protocol capability.Protocol
	connect  func(ctx context.Context, network, address string) (net.Conn, error)
	identity *identity // nil: no TLS

	// Makers of connections from what dial has connected. Their own pools are never
	// used, nor do they know what lies beneath.
	http1, http2 *http.Transport
}

func newDialer(u capability.Upstream, to *url.URL) (*dialer, error) {
	tcp := net.Dialer{Timeout: dialFor, KeepAlive: 15 * time.Second}
	d := &dialer{protocol: u.Protocol, connect: tcp.DialContext}
	port := to.Port()
	switch to.Scheme {
	case "https":
		name := u.TLS.ServerName
		if name == "" {
			name = to.Hostname()
		}
		var err error
		if d.identity, err = newIdentity(u.TLS, name); err != nil {
			return nil, err
		}
		if port == "" {
			port = "443"
		}
	case "http":
		if port == "" {
			port = "80"
		}
	default:
		return nil, fmt.Errorf("scheme %q is neither http nor https", to.Scheme)
	}
	d.address = net.JoinHostPort(to.Hostname(), port)
	switch {
	case d.protocol == "":
		d.protocol = capability.ProtocolAuto
	case d.protocol == capability.ProtocolHTTP2 && d.identity == nil:
		return nil, errors.New("h2 is spoken over TLS: the endpoint must be https, or the protocol h2c")
	case d.protocol == capability.ProtocolH2C && d.identity != nil:
		return nil, errors.New("h2c is spoken without TLS: the endpoint must be http, or the protocol h2")
	}
	d.http1, d.http2 = makers(d.identity != nil)
	return d, nil
}

// makers returns the transports that turn connections into http.ClientConns.
func makers(encrypted bool) (http1, http2 *http.Transport) {
	base := http.Transport{
		Proxy:                  nil, // upstreams are reached directly, whatever the environment says
		DialContext:            handedOver,
		IdleConnTimeout:        idleFor, // of HTTP/2 connections
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true, // the client's encoding is between it and the upstream
		WriteBufferSize:        8 << 10,
		ReadBufferSize:         8 << 10,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:           15 * time.Second, // a dead peer is found after these two,
			PingTimeout:               5 * time.Second,  // and all its requests fail
			WriteByteTimeout:          30 * time.Second,
			MaxReceiveBufferPerStream: heldPerStream,
		},
	}
	http1, http2 = base.Clone(), base.Clone()
	http1.Protocols, http2.Protocols = new(http.Protocols), new(http.Protocols)
	http1.Protocols.SetHTTP1(true)
	if encrypted {
		http2.DialTLSContext = handedOver
		http2.Protocols.SetHTTP2(true)
	} else {
		http2.Protocols.SetUnencryptedHTTP2(true)
	}
	return http1, http2
}

// multiplexes reports whether connections may be HTTP/2.
func (d *dialer) multiplexes() bool {
	switch d.protocol {
	case capability.ProtocolHTTP2, capability.ProtocolH2C:
		return true
	case capability.ProtocolAuto:
		return d.identity != nil
	}
	return false
}

// dial makes a connection, and reports whether it is HTTP/2.
func (d *dialer) dial(ctx context.Context, upgrade bool) (*http.ClientConn, *wire, bool, error) {
	raw, err := d.connect(ctx, "tcp", d.address)
	if err != nil {
		return nil, nil, false, err
	}
	bare := newWire(raw)
	if d.identity == nil {
		shared := d.protocol == capability.ProtocolH2C && !upgrade
		maker := d.http1
		if shared {
			maker = d.http2
		}
		conn, err := d.hand(ctx, maker, "http", bare)
		return conn, bare, shared, err
	}
	secure, err := d.handshake(ctx, bare, upgrade)
	if err != nil {
		_ = raw.Close() // the handshake's error says more
		return nil, nil, false, err
	}
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		conn, err := d.hand(ctx, d.http2, "https", secure)
		return conn, bare, true, err
	}
	if d.protocol == capability.ProtocolHTTP2 && !upgrade {
		_ = secure.Close() // it will not be used
		return nil, nil, false, errors.New("the endpoint does not speak HTTP/2")
	}
	above := newWire(secure)
	conn, err := d.hand(ctx, d.http1, "http", above) // to net/http the encryption is part of the connection
	return conn, above, false, err
}

func (d *dialer) handshake(ctx context.Context, raw net.Conn, upgrade bool) (*tls.Conn, error) {
	config := d.identity.config()
	switch {
	case upgrade || d.protocol == capability.ProtocolHTTP1:
		config.NextProtos = []string{"http/1.1"}
	case d.protocol == capability.ProtocolHTTP2:
		config.NextProtos = []string{"h2"}
	default:
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, handshakeFor, errors.New("the handshake took too long"))
	defer cancel()
	secure := tls.Client(raw, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return secure, nil
}

// hand gives a connection to net/http.
func (d *dialer) hand(ctx context.Context, maker *http.Transport, scheme string, conn net.Conn) (*http.ClientConn, error) {
	client, err := maker.NewClientConn(context.WithValue(ctx, handedKey{}, conn), scheme, d.address)
	if err != nil {
		_ = conn.Close() // it was not taken
		return nil, err
	}
	return client, nil
}

type handedKey struct{}

// handedOver is the dial function of the makers: the connection is there already.
func handedOver(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, ok := ctx.Value(handedKey{}).(net.Conn)
	if !ok {
		return nil, errors.New("connections are made by the dialer alone")
	}
	return conn, nil
}
