package pool

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"strangler/capability"
)

// Leg carries one request at a time, many at once, to one endpoint and brings the
// answer back. It is safe for concurrent use.
//
// RoundTrip follows http.RoundTripper, with one promise more: once a byte of the
// request has left, it is never sent again, whatever its method. Its errors are
// ErrUnreachable, ErrExhausted, ErrUnsent and ErrUnwritable where nothing was sent;
// after any other the endpoint may have done what it was asked.
//
// CloseIdleConnections closes what is idle. Connections that are in use at that
// moment should be closed when their requests end.
type Leg interface {
	RoundTrip(*http.Request) (*http.Response, error)
	CloseIdleConnections()
}

// NewLeg makes the leg to one endpoint, whose address is to: scheme and host.
type NewLeg func(u capability.Upstream, to *url.URL) (Leg, error)

var (
	// ErrUnreachable says that no connection could be made, or not before the request
	// was given up: nothing was sent. The beginning of the body may have been read if
	// another connection had broken before; see Spool.
	ErrUnreachable = errors.New("no connection could be made")

	// ErrUnsent says that a connection was there and broke before one byte of this
	// request left, or that the peer declared that it did not look at it (HTTP/2's
	// REFUSED_STREAM and GOAWAY). The beginning of the body may have been read; see
	// Spool.
	ErrUnsent = errors.New("the connection broke before anything was sent")

	// ErrExhausted says that no connection could be made because this machine has no
	// descriptor, port or memory left for it: that is nobody's fault over there.
	ErrExhausted = errors.New("this machine has nothing left for another connection")

	// ErrUnwritable says that the request cannot be written to any connection: a name
	// or a value in it is none.
	ErrUnwritable = errors.New("the request cannot be sent")

	// ErrTooLarge says that the header, or the trailer, is larger than the endpoint has
	// said that it takes, over HTTP/2.
	ErrTooLarge = errors.New("the request's header is larger than the endpoint takes")
)

// How many connections one request is taken to before ErrUnsent goes to the
// caller, who may know another endpoint. One that was idle is dead by chance; one
// that refuses a stream is busy. A server that leaves may send each stream of a
// burst to a connection of its own.
const (
	attempts        = 3
	attemptsLeaving = 10
)

// standard is the leg over the standard library's connections.
//
// It takes single connections from net/http (http.ClientConn) and pools them
// itself. http.Transport's own pool sends a GET, or whatever carries an
// Idempotency-Key, a second time when its connection dies before the answer. A
// GET can be a write here, and how often a request is tried is for the caller's
// retry budget to say.
type standard struct {
	lines *lines
}

// Standard makes a leg of HTTP/1.1 or HTTP/2, as u.Protocol says. Upgrades always
// go by HTTP/1.1. It fails if the protocol does not fit the scheme or a file of
// u.TLS cannot be read.
func Standard(u capability.Upstream, to *url.URL) (Leg, error) {
	d, err := newDialer(u, to)
	if err != nil {
		return nil, fmt.Errorf("make the leg to %s: %w", to, err)
	}
	return &standard{lines: newLines(d)}, nil
}

// RoundTrip sends the request on an idle connection or a new one. A connection
// that turns out dead before a byte left is replaced without telling anyone, as
// long as what was read of the body can be put back.
func (s *standard) RoundTrip(req *http.Request) (*http.Response, error) {
	body := spoolOf(req)
	for try := 1; ; try++ {
		l, reused, err := s.lines.take(req.Context(), wanted{upgrade: upgrades(req), fresh: try > 1})
		if err != nil {
			body.close()
			return nil, unreachable(err)
		}
		res, err := l.exchange(req, body)
		if err == nil {
			return res, nil
		}
		if !errors.Is(err, ErrUnsent) {
			body.close()
			return nil, err
		}
		again := (reused || l.shared) && try < attempts || l.shared && !refused(err) && try < attemptsLeaving
		if !again || req.Context().Err() != nil || !body.rewind() {
			body.close()
			return nil, err
		}
	}
}

func (s *standard) CloseIdleConnections() { s.lines.closeIdle() }
