package edge

import (
	"log/slog"
	"sync/atomic"
)

// Stats counts since the server was made, except Open.
type Stats struct {
	Open       int64  // connections, upgraded ones included
	Turned     uint64 // connections closed at once because Limits.Connections were open
	Handshakes uint64 // TLS handshakes that failed
	Malformed  uint64 // requests refused because two servers could read them differently
	TooLarge   uint64 // requests refused because of Limits.HeaderBytes
	Stalled    uint64 // connections and HTTP/2 streams given up because their client stalled
	Resets     uint64 // HTTP/2 requests that their clients took back before they were answered
}

// counters counts what clients do, and logs it now and then.
type counters struct {
	open                                                    atomic.Int64
	turned, handshakes, malformed, tooLarge, stalls, resets atomic.Uint64

	lines struct{ turned, malformed, tooLarge, leaving Seldom }
}

// Stats returns the counts of now.
func (s *Server) Stats() Stats {
	c := &s.counters
	return Stats{Open: c.open.Load(), Turned: c.turned.Load(), Handshakes: c.handshakes.Load(), Malformed: c.malformed.Load(),
		TooLarge: c.tooLarge.Load(), Stalled: c.stalls.Load(), Resets: c.resets.Load()}
}

func (s *Server) malformed(peer string, err error) {
	s.counters.malformed.Add(1)
	s.counters.lines.malformed.Log(s.log, slog.LevelInfo, "refused a malformed request", slog.String("peer", peer), slog.Any("error", err))
}

func (s *Server) tooLarge(peer string) {
	s.counters.tooLarge.Add(1)
	s.counters.lines.tooLarge.Log(s.log, slog.LevelInfo, "refused a request whose header is too large",
		slog.String("peer", peer), slog.Int("most", s.limits.HeaderBytes))
}

func (s *Server) turnedAway(peer string) {
	s.counters.turned.Add(1)
	s.counters.lines.turned.Log(s.log, slog.LevelWarn, "turned a client away: too many connections are open",
		slog.String("peer", peer), slog.Int("most", s.limits.Connections))
}
