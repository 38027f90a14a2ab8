package edge

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// between is the time between two lines of one kind that clients can bring about.
const between = 10 * time.Second

// Seldom lets one of many lines through: how much is logged is not for clients to
// choose. The zero value is ready.
type Seldom struct {
	mu   sync.Mutex
	next time.Time // guarded by mu
	left int       // guarded by mu; lines left out since the last one
}

// Log writes a line, or leaves it out and says so in the next one.
func (s *Seldom) Log(to *slog.Logger, level slog.Level, message string, attrs ...slog.Attr) {
	s.mu.Lock()
	now := time.Now()
	if now.Before(s.next) {
		s.left++
		s.mu.Unlock()
		return
	}
	left := s.left
	s.next, s.left = now.Add(between), 0
	s.mu.Unlock()
	if left > 0 {
		attrs = append(attrs, slog.Int("left_out", left))
	}
	to.LogAttrs(context.Background(), level, message, attrs...)
}
