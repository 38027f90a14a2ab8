package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// inbox is the one listener that net/http sees. Behind it are all listeners of the
// server, the bound on connections, the TLS handshakes, and the guards.
type inbox struct {
	server    *Server
	listeners []net.Listener
	ready     chan net.Conn
	accepting sync.WaitGroup // accept loops and handshakes
	closing   chan struct{}
	// shaking is the context of all handshakes; it ends a while after closing.
	shaking context.Context
	end     context.CancelFunc
}

func newInbox(s *Server, listeners []net.Listener) *inbox {
	in := &inbox{server: s, listeners: listeners, ready: make(chan net.Conn), closing: make(chan struct{})}
	in.shaking, in.end = context.WithCancel(context.Background())
	return in
}

// start accepts. The channel it returns takes the first failure of a listener.
func (in *inbox) start() <-chan error {
	failed := make(chan error, 1)
	for _, l := range in.listeners {
		in.accepting.Go(func() {
			if err := in.accept(l); err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	return failed
}

// accept returns nil when the listener was closed by stop. Errors that pass, as
// too many open files, make it wait a moment.
func (in *inbox) accept(l net.Listener) error {
	pause := time.Duration(0)
	for {
		c, err := l.Accept()
		if err == nil {
			pause = 0
			in.admit(c)
			continue
		}
		if errors.Is(err, net.ErrClosed) && in.server.draining.Load() {
			return nil
		}
		var passing interface{ Temporary() bool }
		if !errors.As(err, &passing) || !passing.Temporary() {
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		in.server.log.Warn("accept clients", slog.Any("error", err), slog.Duration("again_in", pause))
		select {
		case <-time.After(pause):
		case <-in.closing:
			return nil
		}
	}
}

// admit takes a connection in, or closes it when there are too many.
func (in *inbox) admit(c net.Conn) {
	s := in.server
	if s.counters.open.Add(1) > int64(s.limits.Connections) {
		s.counters.open.Add(-1)
		s.turnedAway(c.RemoteAddr().String())
		_ = c.Close() // it was never used
		return
	}
	w := &wire{Conn: c, stall: s.limits.WriteStall, counters: &s.counters}
	if s.tls == nil {
		g := s.newGuard(w, w)
		g.framing.h2c = s.http.Protocols.UnencryptedHTTP2()
		in.ready <- g
		return
	}
	in.accepting.Go(func() { in.handshake(w) })
}

// handshake is done here, where no other client waits for it, because net/http
// takes HTTP/2 from a *tls.Conn only, and HTTP/1 has to go through a guard.
func (in *inbox) handshake(w *wire) {
	s := in.server
	ctx := in.shaking
	if t := s.limits.HeaderTime; t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t)
		defer cancel()
	}
	c := tls.Server(w, s.tls.config())
	if err := c.HandshakeContext(ctx); err != nil {
		s.counters.handshakes.Add(1)
		s.log.Debug("TLS handshake", slog.String("peer", w.RemoteAddr().String()), slog.Any("error", err))
		answerPlain(err)
		_ = w.Close() // there is nobody left to tell
		return
	}
	if c.ConnectionState().NegotiatedProtocol == "h2" {
		in.ready <- c
		return
	}
	in.ready <- guardTLS{s.newGuard(c, w)}
}

// answerPlain tells a client that speaks HTTP to our TLS what is wrong.
func answerPlain(err error) {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) || record.Conn == nil {
		return
	}
	switch string(record.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		const text = "Client sent an HTTP request to an HTTPS server.\n"
		_, _ = io.WriteString(record.Conn, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\n"+text) // a courtesy
	}
}

// stop closes the listeners and returns when every connection that was accepted
// has been handed to net/http, or has failed its handshake. It is called once.
func (in *inbox) stop() {
	close(in.closing)
	for _, l := range in.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			in.server.log.Warn("close listener", slog.Any("error", err))
		}
	}
	late := time.AfterFunc(settling, in.end)
	in.accepting.Wait()
	late.Stop()
	in.end()
	close(in.ready)
}

// discard closes what nobody takes any more.
func (in *inbox) discard() {
	for c := range in.ready {
		_ = c.Close() // it was never used
	}
}

// Accept returns connections whose protocol is known.
func (in *inbox) Accept() (net.Conn, error) {
	c, ok := <-in.ready
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close is stop's business.
func (in *inbox) Close() error { return nil }

// Addr is that of the first listener.
func (in *inbox) Addr() net.Addr { return in.listeners[0].Addr() }

type guardKey struct{}
type streamsKey struct{}

func connContext(ctx context.Context, c net.Conn) context.Context {
	switch c := c.(type) {
	case *guard:
		return context.WithValue(ctx, guardKey{}, c)
	case guardTLS:
		return context.WithValue(ctx, guardKey{}, c.guard)
	}
	return context.WithValue(ctx, streamsKey{}, &streams{})
}

func (s *Server) connState(c net.Conn, state http.ConnState) {
	switch c := c.(type) {
	case *guard:
		c.connState(state)
	case guardTLS:
		c.connState(state)
	}
}
