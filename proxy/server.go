package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Server listens for clients and serves them by a Proxy.
type Server struct {
	Proxy    *Proxy
	Address  string       // host:port; unused with Listener
	Listener net.Listener // nil: made from Address
	TLS      *tls.Config  // nil: plain HTTP
	Grace    time.Duration
	Log      *slog.Logger
}

// defaultGrace is how long requests in flight may take after the server was told
// to stop.
const defaultGrace = 10 * time.Second

// Run serves until ctx ends. Then the proxy is not ready any more, the listener
// closes, requests in flight may finish within the grace (10 s by default), and
// upgraded connections that are still open at its end are closed. It returns nil
// after an orderly stop, also when the grace ran out.
func (s *Server) Run(ctx context.Context) error {
	listener := s.Listener
	if listener == nil {
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address); err != nil {
			return fmt.Errorf("listen for clients: %w", err)
		}
	}
	if s.TLS != nil {
		listener = tls.NewListener(listener, s.TLS)
	}
	server := &http.Server{
		Handler:           s.Proxy,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          quiet(s.Log),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	s.Log.Info("serving clients", slog.String("address", listener.Addr().String()))
	select {
	case err := <-served:
		return fmt.Errorf("serve clients: %w", err)
	case <-ctx.Done():
	}
	s.drain(ctx, server)
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve clients: %w", err)
	}
	return nil
}

func (s *Server) drain(ctx context.Context, server *http.Server) {
	s.Proxy.draining.Store(true)
	grace := s.Grace
	if grace <= 0 {
		grace = defaultGrace
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		s.Log.Warn("requests were cut off at the end of the grace", slog.Any("error", err))
		if err := server.Close(); err != nil {
			s.Log.Warn("close connections", slog.Any("error", err))
		}
	}
	if n := s.Proxy.Streams(ctx); n > 0 {
		s.Log.Info("closed upgraded connections", slog.Int("count", n))
	}
}
