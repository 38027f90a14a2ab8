package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"strangler/proxy/edge"
)

// errTooLarge ends a body that is larger than its route takes.
var errTooLarge = errors.New("the request's body is larger than is taken here")

// upload is a request's body on its way to an upstream. It knows whether the
// client broke it off, and how to end: the transport may go
// on reading after the answer, but not after the request is over, when net/http
// reads the connection itself.
type upload struct {
	body      io.ReadCloser
	announced int64       // -1: not announced
	most      int64       // bytes; 0: any number
	failed    atomic.Bool // by the client
	malformed atomic.Bool // by its framing
	tooLarge  atomic.Bool
	complete  atomic.Bool // all of it was read
	trailer   http.Header // of the client's request; filled in at the end of the body

	mu   sync.Mutex // held while reading
	over bool       // guarded by mu
	read int64      // guarded by mu
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := u.body.Read(p)
	u.read += int64(n)
	switch {
	case u.most > 0 && u.read > u.most:
		u.tooLarge.Store(true)
		return 0, errTooLarge
	case errors.Is(err, io.EOF):
		scrubTrailer(u.trailer)
		u.complete.Store(true)
	case u.announced >= 0 && u.read >= u.announced:
		u.complete.Store(true)
	case errors.Is(err, edge.ErrMalformed):
		u.malformed.Store(true)
	case err != nil:
		u.failed.Store(true)
	}
	return n, err
}

// scrubTrailer takes out of a trailer what may not be said there: a client could
// speak for others in it as well as in the header, and some servers read the one
// as the other.
func scrubTrailer(trailer http.Header) {
	edge.Scrub(trailer, false, nil)
	dropHopByHop(trailer)
	for _, name := range []string{headerRequestID, headerTraceparent, "Host", "Content-Length", "Authorization", "Cookie"} {
		delete(trailer, name)
	}
}

// Close leaves the client's body alone, which net/http ends by itself: an endpoint
// that could not be reached must not end what another one may still be sent.
func (u *upload) Close() error { return nil }

// stop returns when no read is under way and none will begin. A read that waits
// for the rest of an incomplete body is woken by interrupt.
func (u *upload) stop(interrupt func()) {
	if !u.mu.TryLock() {
		if !u.complete.Load() {
			interrupt()
		}
		u.mu.Lock()
	}
	u.over = true
	u.mu.Unlock()
}

// stopUpload ends the upload before the handler returns. The interrupt is fatal
// for the connection, which closes after an answer to half an upload anyway.
func (x *exchange) stopUpload(rec *recorder) {
	if x.upload == nil {
		return
	}
	x.upload.stop(func() {
		// Where deadlines are not supported, the read ends with the connection.
		_ = http.NewResponseController(rec).SetReadDeadline(time.Now())
	})
}

// closing reports whether the client's connection cannot be used again, because
// the answer goes out before the request has come in.
func (x *exchange) closing() bool {
	return x.upload != nil && !x.upload.complete.Load() && x.request.ProtoMajor == 1
}
