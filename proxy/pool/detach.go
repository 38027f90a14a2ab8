package pool

import (
	"context"
	"io"
	"net/http"
	"time"
)

// patience is how long an attempt whose body the transport has given up may take
// to bring its answer, which may be there already.
const patience = 250 * time.Millisecond

// detachable returns the request with a way to leave it. net/http's HTTP/2 waits
// for a read of the request's body to return before it tells that a stream was
// reset, and before it closes an answer. That read waits for the client, who may
// have nothing more to say, so that a refusal in the middle of an upload would
// arrive with the upload's next byte. The end of the context is what it does not
// wait behind.
func detachable(req *http.Request, body *parcel) (out *http.Request, letGo context.CancelFunc) {
	ctx, cancel := context.WithCancel(req.Context())
	body.mu.Lock()
	body.stuck = func() *time.Timer { return time.AfterFunc(patience, cancel) }
	body.mu.Unlock()
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
