package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options is what a server is made of. Handler, Listeners and Log are required.
type Options struct {
	Handler   http.Handler
	Listeners []net.Listener // Run closes them
	TLS       *TLS           // nil: plain
	// HTTP2 is negotiated with TLS (ALPN). Without, it is by prior knowledge (h2c).
	HTTP2  bool
	Limits Limits
	Drain  Drain
	// OnDrain is told first when the server stops, while everything is still open:
	// the place to stop being ready. Nil: nobody needs to know.
	OnDrain func()
	// Streams waits for what net/http does not know any more, as upgraded
	// connections, and closes the rest when ctx, which ends with the grace, does. It
	// returns how many it closed. Nil: there are none.
	Streams func(ctx context.Context) int
	Log     *slog.Logger
	Metrics prometheus.Registerer // shows Stats; nil: none
}

// Drain is how a server stops.
type Drain struct {
	// Delay is how long listeners stay open after OnDrain, so that balancers see the
	// lost readiness, and clients hear "Connection: close" (HTTP/2: GOAWAY) with their
	// next answer. Without it a request can meet the end of the idle connection it is
	// sent on, and be lost if the client cannot repeat it: also a hand-over of
	// listeners wants a few hundred milliseconds.
	Delay time.Duration
	// Grace is how long requests in flight may take after that. 0: 10 s.
	Grace time.Duration
}

// Server serves clients. It is used once.
type Server struct {
	handler  http.Handler
	tls      *TLS
	limits   Limits
	drain    Drain
	onDrain  func()
	streams  func(ctx context.Context) int
	log      *slog.Logger
	http     *http.Server
	inbox    *inbox
	draining atomic.Bool
	counters counters
	started  atomic.Bool

	requests  atomic.Int64 // handlers that run
	upgraded  atomic.Int64 // handlers that run and have taken their connection over
	lingering atomic.Int64 // refused connections that wait for their client to read why

	mu     sync.Mutex
	guards map[*guard]bool // guarded by mu; open HTTP/1 connections
}

// New makes a server of o, and reads the certificates of TLS.
func New(o Options) (*Server, error) {
	if o.Handler == nil || len(o.Listeners) == 0 || o.Log == nil {
		return nil, errors.New("make server: Handler, Listeners and Log are required")
	}
	if o.Drain.Grace <= 0 {
		o.Drain.Grace = 10 * time.Second
	}
	s := &Server{
		handler: o.Handler, tls: o.TLS, limits: o.Limits.withDefaults(), drain: o.Drain,
		onDrain: o.OnDrain, streams: o.Streams, log: o.Log, guards: map[*guard]bool{},
	}
	if s.tls != nil {
		if err := s.tls.load(o.HTTP2, o.Log); err != nil {
			return nil, fmt.Errorf("make server: %w", err)
		}
	}
	if o.Metrics != nil {
		if err := o.Metrics.Register(metrics{s}); err != nil {
			return nil, fmt.Errorf("make server: register metrics: %w", err)
		}
	}
	s.inbox = newInbox(s, o.Listeners)
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: s.limits.HeaderTime,
		IdleTimeout:       s.limits.Idle,
		MaxHeaderBytes:    s.limits.decoded(),
		HTTP2:             s.limits.http2(),
		Protocols:         new(http.Protocols),
		ConnContext:       connContext,
		ConnState:         s.connState,
		ErrorLog:          log.New(noise{o.Log}, "", 0),

		DisableGeneralOptionsHandler: true, // OPTIONS * is the handler's to answer
	}
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetHTTP2(o.HTTP2 && o.TLS != nil)
	s.http.Protocols.SetUnencryptedHTTP2(o.HTTP2 && o.TLS == nil)
	return s, nil
}

// noise takes what net/http says about single connections, which nobody wants to see
// unless he looks for it, and panics, which everybody has to see.
type noise struct{ log *slog.Logger }

func (n noise) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.Contains(line, []byte("panic serving")) {
		level = slog.LevelError
	}
	n.log.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}

// Run serves until ctx ends and then drains: see Options and Drain for the order.
// It returns nil after an orderly stop, also when the grace ran out, and an
// error when a listener fails.
func (s *Server) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("serve clients: a server runs once")
	}
	// The requests' contexts outlive ctx: they are to finish within the grace.
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	s.http.BaseContext = func(net.Listener) context.Context { return base }
	failed := s.inbox.start()
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.inbox) }()
	for _, l := range s.inbox.listeners {
		s.log.Info("serving clients", slog.String("address", l.Addr().String()))
	}
	var failure error
	select {
	case failure = <-failed:
	case failure = <-served: // net/http would not have it, and takes no more connections
		go s.inbox.discard()
		served <- net.ErrClosed
	case <-ctx.Done():
	}
	s.stop(ctx, cut, served)
	if failure != nil {
		return fmt.Errorf("serve clients: %w", failure)
	}
	return nil
}

// ErrEndOfGrace is the cause of the end of a request's context that was cut off
// because the server stops.
var ErrEndOfGrace = errors.New("the server stops and its grace is over")
