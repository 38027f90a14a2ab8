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

// lastWords is how long a request that was cut off may take to be answered before
// its connection closes: no upstream is waited for any more.
const lastWords = 250 * time.Millisecond

// unwinding bounds the wait for handlers whose requests were cut off.
const unwinding = 5 * time.Second

// stop ends the server, in the order of Options: nothing is taken from a client
// before there was a chance to say so.
func (s *Server) stop(ctx context.Context, cut context.CancelCauseFunc, served <-chan error) {
	begun := time.Now()
	s.draining.Store(true)
	s.log.Info("draining", slog.Int64("requests", s.requests.Load()), slog.Int64("upgraded", s.upgraded.Load()),
		slog.Int64("connections", s.counters.open.Load()), slog.Duration("delay", s.drain.Delay), slog.Duration("grace", s.drain.Grace))
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
	_ = s.http.Shutdown(grace)                                 // it fails with the grace
	wait(grace, func() bool { return s.requests.Load() == 0 }) // also for those whose HTTP/2 client has left
	cutOff, closed := s.requests.Load(), 0
	if s.streams != nil {
		closed = s.streams(grace)
	}
	cut(ErrEndOfGrace)
	s.partFrom(ctx)
	s.unwind(ctx)
	level, how := slog.LevelInfo, "drained: every request was answered"
	if cutOff > 0 {
		level, how = slog.LevelWarn, "drained: requests were cut off at the end of the grace"
	}
	s.log.Log(ctx, level, how, slog.Int64("cut_off", cutOff), slog.Int("closed_upgraded", closed), slog.Duration("took", time.Since(begun)))
}

// partFrom closes the connections once what was cut off has been answered.
// Connections close by themselves then, because the server stops.
func (s *Server) partFrom(ctx context.Context) {
	moment, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	_ = s.http.Shutdown(moment) // it fails with the moment
	if err := s.http.Close(); err != nil {
		s.log.Warn("close connections", slog.Any("error", err))
	}
}

// settle lets idle connections go, and waits for what has begun: net/http drops
// requests that it reads after Shutdown was called, without an answer.
func (s *Server) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	for _, g := range s.open() {
		g.retire()
	}
	wait(ctx, func() bool { return !s.unsettled() })
}

// unsettled reports whether an HTTP/1 connection has yet to send its first request,
// or is about to send another one.
func (s *Server) unsettled() bool {
	for _, g := range s.open() {
		if g.opaque.Load() {
			continue // HTTP/2 says goodbye by itself
		}
		switch http.ConnState(g.state.Load()) {
		case http.StateNew, http.StateIdle:
			return true
		}
	}
	return false
}

// unwind waits for the handlers, and for refused connections.
func (s *Server) unwind(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unwinding)
	defer cancel()
	handlers := func() int64 { return s.requests.Load() + s.upgraded.Load() }
	if !wait(ctx, func() bool { return handlers() == 0 && s.lingering.Load() == 0 }) {
		s.log.Error("handlers do not end though their requests did", slog.Int64("count", handlers()))
	}
}

// wait returns when done is true, or false when ctx ends before.
func wait(ctx context.Context, done func() bool) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
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
