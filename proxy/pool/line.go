package pool

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// line is one connection to an endpoint.
type line struct {
	lines  *lines
	conn   *http.ClientConn
	wire   *wire
	shared bool // HTTP/2: carries many requests at once
	used   atomic.Bool
	// uploaded: a request had a body, of which the end may still be on its way.
	uploaded atomic.Bool
	// awaited counts requests whose answer net/http has not handed over. Of one without a
	// body it says before that the connection is free: who closed it then would take the
	// answer along. due says that it is to be closed behind that.
	awaited atomic.Int32
	due     atomic.Bool
	body    atomic.Pointer[parcel] // HTTP/1.1: of the request that waits for its answer; nil without

	generation int       // of HTTP/1.1: by which it is closed instead of parked
	parked     bool      // guarded by lines.mu
	idleSince  time.Time // guarded by lines.mu
	leaving    bool      // HTTP/2: takes no more requests; guarded by lines.mu
	claims     int       // HTTP/2: reservations being made; guarded by lines.mu
}

// exchange sends the request and waits for the answer. The line is reserved.
func (l *line) exchange(req *http.Request, body *carried) (*http.Response, error) {
	before := l.wire.written.Load()
	l.used.Store(true)
	if body != nil {
		l.uploaded.Store(true)
	}
	out, letGo := body.request(req, before), func() {}
	if l.shared && body != nil {
		out, letGo = detachable(out)
	}
	if !l.shared {
		l.wire.tell(arrivals(req.Context()))
	}
	l.awaited.Add(1)
	res, err := l.roundTrip(out, body.parcel())
	if l.awaited.Add(-1) == 0 && l.due.Swap(false) {
		defer retire(l)
	}
	if err == nil {
		body.answered()
		res.Request = req
		if l.shared && body != nil {
			res.Body = &detached{res.Body, letGo}
		}
		return res, nil
	}
	letGo()
	body.failed()
	switch {
	case flawed(err):
		return nil, fmt.Errorf("%w: %w", ErrUnwritable, err)
	case l.shared && beyond(err):
		return nil, fmt.Errorf("%w: %w", ErrTooLarge, err)
	case l.wire.written.Load() == before, l.shared && unprocessed(err):
		return nil, fmt.Errorf("%w: %w", ErrUnsent, err)
	}
	return nil, err
}

// changed hears of every change of the connection: a request has ended, or it is
// closed.
func (l *line) changed(conn *http.ClientConn) {
	mark := l.wire.mark()
	switch {
	case conn.Err() != nil:
		l.lines.drop(l)
		if !l.shared && foundMore(conn.Err()) {
			l.lines.caught()
		}
	case l.shared:
		l.lines.leave(l)
	case conn.Available() > 0:
		l.wire.end(mark)
		l.lines.park(l)
	}
}

// streamError is what net/http's HTTP/2 stream errors are copied into by
// errors.As: the fields of golang.org/x/net/http2.StreamError.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprintf("stream %d: code %d", e.StreamID, e.Code) }

// unprocessed reports whether HTTP/2 says that the peer did not look at the
// request: its stream was refused (RFC 9113, 8.7), lies above the last one of a
// GOAWAY, or was never opened. net/http exports these errors in no other way
// than their text; one that is not recognised counts as sent.
func unprocessed(err error) bool {
	if errors.As(err, new(streamError)) {
		return refused(err)
	}
	switch err.Error() {
	case "http2: Transport received Server's graceful shutdown GOAWAY",
		"http2: client conn not usable",
		"http2: client conn could not be established":
		return true
	}
	return false
}

// refused reports whether the peer refused this one stream, because it has too
// much to do (REFUSED_STREAM).
func refused(err error) bool {
	const refusedStream = 0x7
	var stream streamError
	return errors.As(err, &stream) && stream.Code == refusedStream
}
