package pool

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// spooled is how much of a body's beginning is kept, in bytes. Over HTTP/1.1 next
// to nothing is read before the head has left; over HTTP/2 as much as the peer's
// window takes before it says that it did not look at the request.
const spooled = 64 << 10

// Spool is a request's body that remembers its first 64 KiB, so that they can be
// put back when a connection breaks before one byte was sent. Whoever means to
// go to another endpoint after ErrUnsent makes the body a Spool first; a leg
// then uses it and adds none of its own.
//
// Close closes the body underneath, which must stand that if it is to be read
// again after Rewind.
type Spool struct {
	body io.ReadCloser
	done atomic.Bool // nothing will be put back any more

	mu   sync.Mutex // held while reading
	kept []byte     // guarded by mu: what was read, from the first byte on
	next int        // guarded by mu: of kept, below len(kept) after a Rewind
	lost bool       // guarded by mu: more was read than is kept
	lent *parcel    // guarded by mu: the one attempt that may read; nil: whoever has the Spool itself
}

// NewSpool returns a Spool of the body.
func NewSpool(body io.ReadCloser) *Spool { return &Spool{body: body} }

// Read reads what was put back, then the body.
func (s *Spool) Read(p []byte) (int, error) { return s.readFor(nil, p) }

// readFor reads for one attempt. One that was given up may come late, after the
// body was put back for the next, which must get every byte: it is refused.
func (s *Spool) readFor(attempt *parcel, p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if attempt != s.lent {
		return 0, http.ErrBodyReadAfterClose
	}
	if s.next < len(s.kept) {
		n := copy(p, s.kept[s.next:])
		s.next += n
		return n, nil
	}
	n, err := s.body.Read(p)
	switch {
	case n == 0:
	case s.lost:
	case s.done.Load() || len(s.kept)+n > spooled:
		s.lost, s.kept, s.next = true, nil, 0
	default:
		s.kept = append(s.kept, p[:n]...)
		s.next = len(s.kept)
	}
	return n, err
}

// Close closes the body.
func (s *Spool) Close() error { return s.body.Close() }

// lend lets one attempt read, and nobody else. It waits for a read that is under
// way.
func (s *Spool) lend(attempt *parcel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lent = attempt
}

// Rewind puts back what was read, and reports whether it could: not if that was
// more than is kept, an answer has come, or a read is under way. Reads of attempts
// from before fail from then on.
func (s *Spool) Rewind() bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	return s.putBack()
}

// putBack is called with mu held.
func (s *Spool) putBack() bool {
	if s.lost || s.done.Load() {
		return false
	}
	s.next, s.lent = 0, nil
	return true
}

// carried is the body of one RoundTrip. Its nil pointer is a request without one.
type carried struct {
	spool   *Spool
	current *parcel // the attempt that may read
}

func spoolOf(req *http.Request) *carried {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	s, ok := req.Body.(*Spool)
	if !ok {
		s = NewSpool(req.Body)
	}
	return &carried{spool: s}
}

// close ends the body after a failure, as an http.RoundTripper must.
func (c *carried) close() {
	if c != nil {
		_ = c.spool.Close() // what it was good for is over either way
	}
}

func (c *carried) rewind() bool { return c == nil || c.spool.Rewind() }

// request returns the request with a body for one attempt, whose connection had
// written so many bytes before.
func (c *carried) request(req *http.Request, before int64) *http.Request {
	if c == nil {
		return req
	}
	c.current = &parcel{spool: c.spool, before: before, stuck: make(chan struct{})}
	c.spool.lend(c.current)
	out := req.WithContext(req.Context())
	out.Body, out.GetBody = c.current, nil
	return out
}

// parcel returns the body of the present attempt.
func (c *carried) parcel() *parcel {
	if c == nil {
		return nil
	}
	return c.current
}

// answered ends the spooling: the request has arrived.
func (c *carried) answered() {
	if c == nil {
		return
	}
	c.spool.done.Store(true)
	c.current.settle()
}

// failed takes the body away from an attempt.
func (c *carried) failed() {
	if c != nil {
		_ = c.current.Close() // only detaches
	}
}

// parcel is the body as one attempt sees it. The transport closes it also where
// another attempt follows, so that closing reaches the body only once an answer
// has come.
type parcel struct {
	spool  *Spool
	before int64         // what its connection had written
	stuck  chan struct{} // closed when the attempt has ended without an answer while a read is under way

	mu      sync.Mutex
	closed  bool // by the transport, or abandoned; guarded by mu
	settled bool // this attempt was answered; guarded by mu
	reading bool // guarded by mu
	told    bool // stuck is closed; guarded by mu
}

func (p *parcel) Read(b []byte) (int, error) {
	p.mu.Lock()
	closed := p.closed
	p.reading = !closed
	p.mu.Unlock()
	if closed {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := p.spool.readFor(p, b)
	p.mu.Lock()
	p.reading = false
	p.mu.Unlock()
	return n, err
}

// abandon takes the body away from the attempt unless that was answered, and
// reports whether a read is under way.
func (p *parcel) abandon() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.settled {
		return false
	}
	p.closed = true
	return p.tell()
}

// tell is called with mu held.
func (p *parcel) tell() bool {
	if p.reading && !p.told {
		p.told = true
		close(p.stuck)
	}
	return p.reading
}

func (p *parcel) Close() error {
	p.mu.Lock()
	through := p.settled && !p.closed
	if !p.settled {
		p.tell()
	}
	p.closed = true
	p.mu.Unlock()
	if through {
		return p.spool.Close()
	}
	return nil
}

func (p *parcel) settle() {
	p.mu.Lock()
	through := p.closed && !p.settled
	p.settled = true
	p.mu.Unlock()
	if through {
		_ = p.spool.Close() // the transport had no use for the result
	}
}
