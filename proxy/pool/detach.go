package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// patience is how long a request whose connection or stream has ended may take to
// bring its answer, which may be there already.
const patience = 250 * time.Millisecond

var errLeft = errors.New("the exchange ended in the middle of the upload")

// outcome of one RoundTrip.
type outcome struct {
	res *http.Response
	err error
}

// roundTrip is net/http's, but does not wait for the client. That one returns only
// when its read of the request's body has, however long ago the connection broke,
// the stream was reset or the context ended. The read waits for a client who may
// have nothing to say for the time being, so that neither a failure nor a timeout
// in the middle of an upload would be told before the upload's next byte. Here the
// body is taken away from the attempt, which then ends behind the caller's back: at
// the latest when the caller ends the read.
func (l *line) roundTrip(req *http.Request, body *parcel) (*http.Response, error) {
	if body == nil {
		return l.conn.RoundTrip(req)
	}
	done, left := make(chan outcome), make(chan struct{})
	if !l.shared {
		l.body.Store(body)
		defer l.body.Store(nil) // or an idle connection would keep what was read of it
	}
	go func() {
		res, err := l.conn.RoundTrip(req)
		select {
		case done <- outcome{res, err}:
		case <-left:
			if err == nil {
				_ = res.Body.Close() // nobody wants it any more
			}
		}
	}()
	select {
	case o := <-done:
		return o.res, o.err
	case <-body.stuck:
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case o := <-done:
			return o.res, o.err
		case <-req.Context().Done():
		case <-timer.C:
		}
	case <-req.Context().Done():
		if !body.abandon() {
			o := <-done
			return o.res, o.err
		}
	}
	close(left)
	if err := context.Cause(req.Context()); err != nil {
		return nil, fmt.Errorf("%w: %w", errLeft, err)
	}
	return nil, errLeft
}

// broken hears that nothing can be read from the connection any more. Over
// HTTP/1.1 it is one request's, and over HTTP/2 net/http closes all bodies itself.
func (l *line) broken() {
	if body := l.body.Load(); body != nil && l.wire.written.Load() > body.before {
		body.abandon()
	}
}

// detachable returns the request with a way to leave it, which is the one thing that
// closing an answer of HTTP/2 does not wait behind a read of the request's body.
func detachable(req *http.Request) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithCancel(req.Context())
	return req.WithContext(ctx), cancel
}

// detached is an answer's body that lets go of the request before it is closed.
type detached struct {
	io.ReadCloser
	letGo context.CancelFunc
}

func (d *detached) Close() error {
	d.letGo()
	return d.ReadCloser.Close()
}
