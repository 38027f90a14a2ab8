package edge

import "sync/atomic"

// Stats counts since the server was made, except Open.
type Stats struct {
	Open       int64  // connections, upgraded ones included
	Turned     uint64 // connections closed at once because Limits.Connections were open
	Handshakes uint64 // TLS handshakes that failed
	Malformed  uint64 // HTTP/1 connections refused by the guard, and HTTP/2 requests
	TooLarge   uint64 // requests refused because of Limits.HeaderBytes
	Stalled    uint64 // connections and HTTP/2 streams given up because their client stalled
}

type counters struct {
	open                                            atomic.Int64
	turned, handshakes, malformed, tooLarge, stalls atomic.Uint64
}

// Stats returns the counts of now.
func (s *Server) Stats() Stats {
	c := &s.counters
	return Stats{c.open.Load(), c.turned.Load(), c.handshakes.Load(), c.malformed.Load(), c.tooLarge.Load(), c.stalls.Load()}
}
