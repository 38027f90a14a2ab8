package edge

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// stall watches one direction of one HTTP/2 stream, as the wire and the guard
// watch a connection: the connection may be well while the client takes nothing
// of this stream. It uses a timer and not net/http's stream deadlines, which cost
// a turn of the connection's loop each time they are moved.
type stall struct {
	limit time.Duration
	after func() // ends the stream

	mu    sync.Mutex
	timer *time.Timer // guarded by mu; nil until the first use
	since time.Time   // guarded by mu; zero while nobody waits
}

func newStall(s *Server, end func(time.Time) error, limit time.Duration) *stall {
	return &stall{limit: limit, after: func() {
		s.counters.stalls.Add(1)
		_ = end(past()) // it cannot fail on a stream that somebody waits for
	}}
}

// begin says that a wait for the client begins; over, that it has ended. Nil is
// a stall that nobody watches.
func (t *stall) begin() *stall {
	if t == nil || t.limit <= 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Now()
	if t.timer == nil {
		t.timer = time.AfterFunc(t.limit, t.fire)
	} else {
		t.timer.Reset(t.limit)
	}
	return t
}

func (t *stall) over() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Time{}
	t.timer.Stop()
}

// fire holds mu, so that the handler cannot return under it: the stream must not
// be touched after that. It may have been on its way since an earlier wait.
func (t *stall) fire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.since.IsZero() && time.Since(t.since) >= t.limit {
		t.after()
	}
}

// slowBody is an HTTP/2 request's body whose reads end when the client stalls, and
// which is malformed when more than most bytes of trailer follow it.
type slowBody struct {
	io.ReadCloser
	stall   *stall
	trailer http.Header // filled in at the end of the body
	most    int
}

func (b *slowBody) Read(p []byte) (int, error) {
	defer b.stall.begin().over()
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && listSize(b.trailer) > b.most { //nolint:errorlint // a body wraps no io.EOF
		err = fmt.Errorf("%w: its trailer is too large", ErrMalformed)
	}
	return n, err
}

// newStalls returns the watches over a stream's answer and over its body.
func (s *Server) newStalls(w http.ResponseWriter) (write, read *stall) {
	rc := http.NewResponseController(w)
	return newStall(s, rc.SetWriteDeadline, s.limits.WriteStall), newStall(s, rc.SetReadDeadline, s.limits.BodyStall)
}
