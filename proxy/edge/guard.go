package edge

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ErrMalformed is what the body of a request returns when its framing turned out
// to be malformed under way. The connection closes; the client deserves a 400.
var ErrMalformed = errors.New("the request's body is malformed")

// answerTooLarge is net/http's own, which the guard gives in its place.
const answerTooLarge = "HTTP/1.1 431 Request Header Fields Too Large\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n431 Request Header Fields Too Large"

// guard is an HTTP/1 connection between the wire, or TLS, and net/http. It lets no
// request pass that two servers could read differently, and knows when a client
// owes it a piece of a body.
//
// net/http stays the parser. The guard follows what it reads; a line that is
// refused does not get to its end: bytes that net/http answers with 400 come in
// its place, then the end of the input. So earlier requests on the connection are
// answered, the bad one reaches no handler, and nothing behind it is read. A head
// that is too large the guard answers itself.
type guard struct {
	net.Conn // as TLS or the wire gave it
	wire     *wire
	server   *Server
	framing  framing
	streams  streams // if it turns out to be HTTP/2
	served   int     // requests given to the handler

	rest    []byte // read ahead, behind a request that may upgrade the connection
	peeked  bool   // one byte of rest, or from the wire, was given out undecided
	poison  []byte // to be read instead
	told    bool   // the client was told that a head is too large
	refused atomic.Pointer[refusal]
	free    atomic.Bool // upgraded
	opaque  atomic.Bool // HTTP/2
	state   atomic.Int32

	mu      sync.Mutex
	user    time.Time // guarded by mu; the read deadline that was asked for
	armed   time.Time // guarded by mu; the one that is set, if by us
	quit    bool      // guarded by mu; close when idle
	stalled bool      // guarded by mu; counted already
}

// refusal is why, and in which request of the connection.
type refusal struct {
	err    error
	number int
}

// guardTLS has the method by which net/http finds the request's TLS state.
type guardTLS struct{ *guard }

func (g guardTLS) ConnectionState() tls.ConnectionState {
	if c, ok := g.Conn.(*tls.Conn); ok {
		return c.ConnectionState()
	}
	return tls.ConnectionState{}
}

// Read is called by one goroutine at a time, like that of any net/http connection.
func (g *guard) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r := g.refused.Load(); r != nil {
		return g.instead(p, r.err)
	}
	if g.free.Load() {
		return g.take(p)
	}
	if g.framing.step == stepUndecided {
		if len(p) == 1 && !g.peeked {
			return g.peek(p)
		}
		// A second read, or a larger one, and the connection was not taken over: net/http
		// wants the next request.
		if g.decide(); len(g.poison) > 0 {
			return g.Read(p)
		}
	}
	n, err := g.take(p)
	if n == 0 {
		return 0, err
	}
	return g.pass(p, n, err)
}

// pass returns what of the n bytes in p may be seen.
func (g *guard) pass(p []byte, n int, err error) (int, error) {
	ok, bad := g.framing.follow(p[:n])
	switch {
	case g.framing.step == stepOpaque:
		g.opaque.Store(true)
		return n, err
	case bad != nil:
		g.refuse(bad)
		if ok == 0 {
			return g.Read(p)
		}
		return ok, nil
	case ok < n:
		g.rest = append(append([]byte(nil), p[ok:n]...), g.rest...)
		return ok, nil
	}
	return n, err
}

// peek gives net/http the byte by which it watches, while the handler runs, that
// the client is still there. Whether it begins a request shows later.
func (g *guard) peek(p []byte) (int, error) {
	n, err := g.take(p)
	if n == 1 {
		g.peeked = true
		g.framing.line = append(g.framing.line[:0], p[0])
	}
	return n, err
}

// decide goes on watching behind a request that asked for an upgrade and got none.
func (g *guard) decide() {
	g.framing.step = stepRequest
	if !g.peeked {
		return
	}
	g.peeked = false
	seen := g.framing.line
	g.framing.line = nil
	if _, bad := g.framing.follow(seen); bad != nil {
		g.refuse(bad)
	}
}

func (g *guard) refuse(err error) {
	g.poison = g.framing.poison()
	g.rest = nil
	g.refused.Store(&refusal{err, g.framing.number})
	if errors.Is(err, errHeadTooLarge) {
		g.server.tooLarge(g.RemoteAddr().String())
	} else {
		g.server.malformed(g.RemoteAddr().String(), err)
	}
}

// instead is what is read where a line was refused. While an earlier request is
// being answered net/http reads one byte, to watch over the client; behind that it
// reads the request in question.
func (g *guard) instead(p []byte, why error) (int, error) {
	if errors.Is(why, errHeadTooLarge) && http.ConnState(g.state.Load()) != http.StateActive {
		if !g.told {
			g.told = true
			_, _ = io.WriteString(g.Conn, answerTooLarge) // whatever fails here fails for a client that is gone
		}
		return 0, &net.OpError{Op: "read", Err: why} // to which net/http answers nothing
	}
	if len(g.poison) == 0 {
		return 0, io.EOF
	}
	n := copy(p, g.poison)
	g.poison = g.poison[n:]
	return n, nil
}

// take reads what was read ahead, then the connection.
func (g *guard) take(p []byte) (int, error) {
	if len(g.rest) > 0 {
		n := copy(p, g.rest)
		if g.rest = g.rest[n:]; len(g.rest) == 0 {
			g.rest = nil
		}
		return n, nil
	}
	for {
		if g.leave() {
			return 0, io.EOF
		}
		g.arm()
		n, err := g.Conn.Read(p)
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && g.woken() {
			continue
		}
		return n, err
	}
}

// CloseWrite ends our half of the connection.
func (g *guard) CloseWrite() error { return closeWrite(g.Conn) }

// farewell bounds how long a refused client may take to read why.
const farewell = 500 * time.Millisecond

// Close takes its time, in the background, behind a refusal and whenever the client
// has sent more than was read: closing a connection on which bytes lie unread
// resets it, and the client could lose the last answer.
func (g *guard) Close() error {
	g.server.forget(g)
	if g.free.Load() || g.refused.Load() == nil && !waiting(g.wire.Conn) {
		return g.Conn.Close()
	}
	g.server.lingering.Add(1)
	go func() {
		defer g.server.lingering.Add(-1)
		_ = g.CloseWrite() // whatever fails here fails for a client that is gone
		_ = g.wire.Conn.SetDeadline(time.Now().Add(farewell))
		_, _ = io.CopyN(io.Discard, g.wire.Conn, 256<<10)
		_ = g.Conn.Close()
	}()
	return nil
}

// release gives the connection to whoever upgraded it.
func (g *guard) release() {
	g.free.Store(true)
	g.wire.release()
}

// connState is told by net/http what it does with the connection.
func (g *guard) connState(state http.ConnState) {
	g.state.Store(int32(state))
	if state == http.StateHijacked {
		g.server.forget(g)
		g.release()
	}
}
