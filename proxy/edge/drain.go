package edge

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// settling bounds the wait for the first request of connections that were accepted
// just before the listeners closed. Browsers open some for later; most send at once.
const settling = time.Second

// unwinding bounds the wait for handlers whose requests were cut off.
const unwinding = 5 * time.Second

// stop ends the server, in the order of Options: nothing is taken from a client
// before there was a chance to say so.
func (s *Server) stop(ctx context.Context, cut context.CancelCauseFunc, served <-chan error) {
	s.draining.Store(true)
	if s.onDrain != nil {
		s.onDrain()
	}
	if ctx.Err() != nil { // else a listener failed, and nobody comes any more
		<-time.After(s.drain.Delay)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.drain.Grace)
	defer cancel()
	s.inbox.stop()
	if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
		s.log.Warn("serve clients", slog.Any("error", err))
	}
	s.settle(grace)
	if err := s.http.Shutdown(grace); err != nil {
		s.log.Warn("requests were cut off at the end of the grace", slog.Any("error", err))
	}
	if s.streams != nil {
		if n := s.streams(grace); n > 0 {
			s.log.Info("closed upgraded connections", slog.Int("count", n))
		}
	}
	cut(ErrEndOfGrace)
	if err := s.http.Close(); err != nil {
		s.log.Warn("close connections", slog.Any("error", err))
	}
	s.unwind()
}

// settle lets idle connections go, and waits for what has begun: net/http drops
// requests that it reads after Shutdown was called, without an answer.
func (s *Server) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	for _, g := range s.open() {
		g.retire()
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for s.unsettled() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// unsettled reports whether a connection has yet to send its first request, or is
// about to send another one.
func (s *Server) unsettled() bool {
	for _, g := range s.open() {
		switch http.ConnState(g.state.Load()) {
		case http.StateNew, http.StateIdle:
			return true
		}
	}
	return false
}

// unwind waits for the handlers, and for refused connections.
func (s *Server) unwind() {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(unwinding)
	for s.handlers.Load() > 0 || s.lingering.Load() > 0 {
		select {
		case <-tick.C:
		case <-end:
			s.log.Error("handlers do not end though their requests did", slog.Int64("count", s.handlers.Load()))
			return
		}
	}
}

func (s *Server) newGuard(c net.Conn, w *wire) *guard {
	g := &guard{Conn: c, wire: w, server: s, framing: framing{most: s.limits.HeaderBytes}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guards[g] = true
	return g
}

func (s *Server) forget(g *guard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.guards, g)
}

// open returns the HTTP/1 connections.
func (s *Server) open() []*guard {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := make([]*guard, 0, len(s.guards))
	for g := range s.guards {
		open = append(open, g)
	}
	return open
}

func (s *Server) malformed(g *guard, err error) {
	s.counters.malformed.Add(1)
	s.log.Info("refused a malformed request", slog.String("peer", g.RemoteAddr().String()), slog.Any("error", err))
}
