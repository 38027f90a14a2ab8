package pool

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// errUnasked says that an idle connection ended, or that the peer sent bytes on
// it: whose they are, nobody can say.
var errUnasked = errors.New("the peer wrote to an idle connection, or closed it")

// phase is where an HTTP/1.1 connection stands between two requests.
type phase int

const (
	busy    phase = iota // new, or between a request's first byte and its answer's last; HTTP/2: always
	ended                // the answer was read to its end; net/http may hold more than that
	idle                 // net/http waits for bytes and holds none
	spoiled              // a byte came, or the end, while it was idle; or it was closed meanwhile
)

// wire counts what is written to a connection. Under TLS and HTTP/1.1 it lies
// above the encryption, so that alerts do not count as a request's bytes; under
// HTTP/2 it is the bare connection, and says only that nobody wrote anything.
//
// It also keeps answers apart. A peer that sends more than it has announced sends
// what net/http takes for the answer to the next request, if that is there before
// net/http looks. So no request is written to a connection until net/http has come
// back to read: only then is its buffer empty. What comes from then on, before
// the first byte of a request leaves, is for no request, and never gets to net/http.
type wire struct {
	net.Conn
	written atomic.Int64
	broken  atomic.Pointer[func()] // is told of every failure to read; nil: nobody is
	caught  atomic.Pointer[func()] // is told of bytes for which nobody has asked; nil: nobody is

	mu      sync.Mutex
	settled *sync.Cond // on mu: the phase is not ended any more
	phase   phase      // guarded by mu
	reading bool       // guarded by mu
	begun   int        // requests that were begun on it since it was idle first; guarded by mu
	arrived func()     // is told of bytes of the present answer; nil: nobody is; guarded by mu
}

func newWire(conn net.Conn) *wire {
	w := &wire{Conn: conn}
	w.settled = sync.NewCond(&w.mu)
	return w
}

// mark tells one request from the next: see end.
func (w *wire) mark() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun
}

// end hears that an answer was read to its end. The mark is from before that was
// looked at: a notice that comes late, when the next request has begun, is not
// about that one.
func (w *wire) end(mark int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.phase != busy || w.begun != mark:
	case w.reading: // net/http was faster, or nothing was sent
		w.phase, w.arrived = idle, nil
	default:
		w.phase, w.arrived = ended, nil
	}
}

// tell has arrived called from now on until the answer is read to its end.
func (w *wire) tell(arrived func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arrived = arrived
}

// clean reports whether a request may be written to a connection that was parked.
// It waits, for no longer than net/http takes to look into its buffer: then it
// reads or closes.
func (w *wire) clean() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.phase == ended {
		w.settled.Wait()
	}
	return w.phase == idle || w.phase == busy && w.written.Load() == 0
}

func (w *wire) Read(p []byte) (int, error) {
	w.beginRead()
	n, err := w.Conn.Read(p)
	ours, arrived := w.endRead(n, err)
	if n > 0 && arrived != nil {
		arrived()
	}
	if !ours {
		if tell := w.caught.Load(); tell != nil && !isFarewell(p[:n]) {
			(*tell)()
		}
		n, err = 0, errUnasked
	}
	if err != nil {
		if tell := w.broken.Load(); tell != nil {
			(*tell)()
		}
	}
	return n, err
}

func (w *wire) beginRead() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reading = true
	if w.phase == ended {
		w.phase = idle
		w.settled.Broadcast()
	}
}

// endRead reports whether what was read is for a request, or is an error, and who is to
// be told of it.
func (w *wire) endRead(n int, err error) (ours bool, arrived func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reading = false
	if w.phase == idle && (n > 0 || err != nil) {
		w.phase = spoiled
	}
	return n == 0 || w.phase != spoiled, w.arrived
}

func (w *wire) Write(p []byte) (int, error) {
	if !w.begin() {
		return 0, errUnasked
	}
	n, err := w.Conn.Write(p)
	w.written.Add(int64(n))
	return n, err
}

// begin reports whether bytes may be written.
func (w *wire) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == spoiled {
		return false
	}
	if w.phase != busy {
		w.phase = busy
		w.begun++
	}
	return true
}

// Close also lets go who waits for a connection to be clean.
func (w *wire) Close() error {
	w.mu.Lock()
	if w.phase != busy {
		w.phase = spoiled
		w.settled.Broadcast()
	}
	w.mu.Unlock()
	return w.Conn.Close()
}

// CloseWrite ends one direction, as upgraded connections need.
func (w *wire) CloseWrite() error {
	half, ok := w.Conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("close one direction: %w", errors.ErrUnsupported)
	}
	return half.CloseWrite()
}
