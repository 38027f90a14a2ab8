package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// grace is how long after a withdrawal has been served a request may still be on its way to the endpoint.
const grace = time.Second

// server is one upstream's endpoint, for HTTP/1.1 and for HTTP/2 without TLS.
type server struct {
	name, side string
	address    string // http://127.0.0.1:port
	http       *http.Server
	withdrawn  atomic.Int64 // unix nanoseconds; 0: it is, or may be, in use
	requests   atomic.Int64
	ended      chan error

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu
}

func startServer(name, side string, answer func(*server) http.Handler) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start upstream %s: %w", name, err)
	}
	s := &server{name: name, side: side, address: "http://" + listener.Addr().String(), ended: make(chan error, 1), conns: map[net.Conn]struct{}{}}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{Handler: answer(s), Protocols: protocols, ConnState: s.changed, ReadHeaderTimeout: time.Minute}
	go func() { s.ended <- s.http.Serve(listener) }()
	return s, nil
}

func (s *server) changed(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateClosed, http.StateHijacked:
		delete(s.conns, conn)
	default:
		s.conns[conn] = struct{}{}
	}
}

// hangUp closes all connections, once nothing is in flight on them: the proxy would keep them for half a minute.
func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close() // the server notices
	}
}

// open is how many connections there are, upgraded ones not counted.
func (s *server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// late says that a request comes although the endpoint is withdrawn.
func (s *server) late() (since time.Duration, late bool) {
	at := s.withdrawn.Load()
	if at == 0 {
		return 0, false
	}
	since = time.Since(time.Unix(0, at))
	return since, since > grace
}

func (s *server) stop() error {
	err := s.http.Close()
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	if err != nil {
		return fmt.Errorf("stop upstream %s: %w", s.name, err)
	}
	return nil
}
