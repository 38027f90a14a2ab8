package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"strangler/proxy/edge"
)

// Why a request's body does not come in whole, besides its client having gone and
// edge.ErrMalformed.
var (
	errTooLarge = errors.New("the request's body is larger than is taken here")
	errStalled  = errors.New("the rest of the request's body did not come in time")
	errShort    = errors.New("the request's body ended early")
)

// upload is a request's body on its way to an upstream. It knows whether the
// client broke it off, and how to end: the transport may go
// on reading after the answer, but not after the request is over, when net/http
// reads the connection itself. While it waits for the client the exchange's clock
// stands, and each piece gives the side the whole timeout again.
type upload struct {
	body      io.ReadCloser
	announced int64 // -1: not announced
	most      int64 // bytes; 0: any number
	clock     *clock
	failure   atomic.Pointer[error] // nil until it broke off
	complete  atomic.Bool           // all of it was read
	trailer   http.Header           // of the client's request; filled in at the end of the body

	mu   sync.Mutex // held while reading
	over bool       // guarded by mu
	read int64      // guarded by mu
}

func (x *exchange) newUpload(body io.ReadCloser) *upload {
	return &upload{body: body, announced: x.request.ContentLength, most: x.largest(), clock: &x.clock, trailer: x.request.Trailer}
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		return 0, http.ErrBodyReadAfterClose
	}
	whole := u.complete.Load()
	if !whole {
		u.clock.wait()
	}
	n, err := u.body.Read(p)
	if !whole {
		u.clock.goOn(true)
	}
	u.read += int64(n)
	switch {
	case u.most > 0 && u.read > u.most:
		u.fail(errTooLarge)
		return 0, errTooLarge
	case errors.Is(err, io.EOF):
		scrubTrailer(u.trailer)
		u.complete.Store(true)
	case u.announced >= 0 && u.read >= u.announced:
		u.complete.Store(true)
	case err != nil:
		u.fail(brokenOff(err))
	}
	return n, err
}

// brokenOff says what a failure to read a request's body means. net/http exports
// those of HTTP/2 in no other way than their text.
func brokenOff(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errStalled
	case errors.Is(err, edge.ErrMalformed), strings.HasPrefix(err.Error(), "sender tried to send more than declared"):
		return edge.ErrMalformed
	case errors.Is(err, io.ErrUnexpectedEOF), strings.HasPrefix(err.Error(), "request declared a Content-Length"):
		return errShort
	}
	return fmt.Errorf("read request body: %w", errClientGone)
}

func (u *upload) fail(err error) { u.failure.CompareAndSwap(nil, &err) }

// broken is why the body does not come in whole, or nil. A nil upload is a request
// without one.
func (u *upload) broken() error {
	if u == nil {
		return nil
	}
	if err := u.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// verdictDue bounds the wait of why.
const verdictDue = time.Second

// why is broken for a request whose context has ended. net/http ends that of HTTP/1
// before it returns the failed read that ended it: who asks at once hears that the
// client has gone, where it has only stalled or ended early, and would be there for
// the answer.
func (u *upload) why() error {
	if u == nil || u.complete.Load() || u.failure.Load() != nil {
		return u.broken()
	}
	if !u.mu.TryLock() {
		ended := make(chan struct{})
		go func() {
			u.mu.Lock()
			close(ended)
			u.mu.Unlock()
		}()
		due := time.NewTimer(verdictDue)
		defer due.Stop()
		select {
		case <-ended:
		case <-due.C:
		}
		return u.broken()
	}
	u.mu.Unlock()
	return u.broken()
}

// Close leaves the client's body alone, which net/http ends by itself: an endpoint
// that could not be reached must not end what another one may still be sent.
func (u *upload) Close() error { return nil }

// drain reads what can be read at once, and reports whether that was the rest.
func (u *upload) drain() bool {
	if !u.mu.TryLock() {
		return false
	}
	defer u.mu.Unlock()
	if _, err := io.Copy(io.Discard, u.body); err == nil {
		u.complete.Store(true)
	}
	return u.complete.Load()
}

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

// openBody comes before anything is answered. Without it net/http swallows up to
// 256 KiB of a body that is still coming when the answer begins: a refusal waits for
// it, and the upstream takes the rest for the whole. A writer that cannot do it says
// so, and has no such habit.
func (x *exchange) openBody(rec *recorder) {
	if x.request.ContentLength != 0 && x.request.ProtoMajor == 1 {
		_ = http.NewResponseController(rec).EnableFullDuplex()
	}
}

// lingering is for how long a client that goes on sending behind its answer is
// heard, so that the end of its connection does not take the answer along.
const lingering = 500 * time.Millisecond

// closeBody ends the upload before the handler returns. The interrupt is fatal for
// the connection, which closes after an answer to half an upload anyway. Deadlines
// fail where they are not supported: there a read ends with the connection.
func (x *exchange) closeBody(rec *recorder) {
	rc := http.NewResponseController(rec)
	if x.upload != nil {
		x.upload.stop(func() { _ = rc.SetReadDeadline(time.Now()) })
	}
	if x.closing() {
		_ = rc.SetReadDeadline(time.Now().Add(lingering))
	}
}

// closing reports whether the client's connection cannot be used again, because
// the answer goes out before the request has come in.
func (x *exchange) closing() bool {
	if x.request.ProtoMajor != 1 {
		return false
	}
	if x.upload == nil {
		return x.request.ContentLength != 0
	}
	return !x.upload.complete.Load()
}

// swallow takes what lies here already of a body that nobody wants. A client whose
// small body came with its head keeps its connection.
func (x *exchange) swallow(rec *recorder) {
	if !x.closing() || len(x.request.Header["Expect"]) > 0 || x.upload.broken() != nil {
		return
	}
	if x.upload == nil {
		x.upload = x.newUpload(x.request.Body)
	}
	rc := http.NewResponseController(rec)
	if rc.SetReadDeadline(time.Unix(1, 0)) == nil && x.upload.drain() {
		_ = rc.SetReadDeadline(time.Time{}) // as above
	}
}
