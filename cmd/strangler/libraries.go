package main

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"sync"
	"time"
)

// betweenLines is the time between two lines of libraries that are logged: how many
// there are is for peers to choose.
const betweenLines = 10 * time.Second

// redirect sends what libraries print through Go's own logger to ours. net/http says
// so when a side sends more than it has announced, and quotes it.
func redirect(to *slog.Logger) {
	log.SetFlags(0)
	log.SetOutput(&libraries{to: to})
}

// libraries logs what is written to it, one write a line, without what is quoted in
// it: bytes of requests and answers are not for a log.
type libraries struct {
	to *slog.Logger

	mu   sync.Mutex
	next time.Time // guarded by mu
	left int       // guarded by mu; lines left out since the last one
}

func (l *libraries) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.next) {
		l.left++
		return len(line), nil
	}
	said, _, _ := bytes.Cut(line, []byte(`"`))
	attrs := []slog.Attr{slog.String("what", string(bytes.TrimSpace(said)))}
	if l.left > 0 {
		attrs = append(attrs, slog.Int("left_out", l.left))
	}
	l.next, l.left = now.Add(betweenLines), 0
	l.to.LogAttrs(context.Background(), slog.LevelWarn, "a library says", attrs...)
	return len(line), nil
}
