package proxy

import (
	"io"
	"mime"
	"net/http"
	"sync"

	"strangler/capability"
	"strangler/proxy/pool"
)

// watch puts a watcher around an answer's body: the endpoint is busy, and a write
// in flight, until the body ended.
//
// A timeout runs until the answer begins. After that it bounds the pauses
// between two pieces of a read's body, and the whole of a write's. Event streams
// and upgraded connections may be silent for as long as they like.
func (x *exchange) watch(res *http.Response, e *pool.Endpoint) {
	stream := res.StatusCode == http.StatusSwitchingProtocols || res.StatusCode < http.StatusMultipleChoices && isEventStream(res)
	said, why := verdict(res, nil)
	if stream {
		if x.admitted != nil && res.StatusCode != http.StatusSwitchingProtocols {
			x.follow()
		}
		x.endWrite()
		// A stream is bounded by its connection, not by the places of requests, and earns
		// its capability no retries for as long as it lasts.
		x.free()
		x.spend()
		if x.timer != nil {
			x.timer.Stop()
		}
	}
	if conn, ok := res.Body.(io.ReadWriteCloser); ok && res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = &leased{conn, sync.OnceFunc(func() { e.End(said, why) })}
		return
	}
	w := &watcher{ReadCloser: res.Body, end: func() {
		e.End(said, why)
		x.endWrite()
		x.free()
	}}
	// The side is at work on a write until its answer ends, whether or not the client
	// is still there to hear it.
	w.counted = x.admitted != nil
	if !stream && x.class == capability.Read && x.timer != nil {
		x.timer.Reset(x.timeout)
		w.progress = func() { x.timer.Reset(x.timeout) }
	}
	res.Body = w
}

func isEventStream(res *http.Response) bool {
	base, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return err == nil && base == "text/event-stream"
}

// watcher calls end once, when the body is read to its end, fails or is closed.
type watcher struct {
	io.ReadCloser
	progress func() // nil, or called after each read
	end      func() // nil once called
	counted  bool   // of a write in flight: Close waits for the end
}

func (w *watcher) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil {
		w.finish()
	} else if w.progress != nil {
		w.progress()
	}
	return n, err
}

// Close blocks for a write whose answer has not ended: until it has, or the write's
// timeout ends the exchange.
func (w *watcher) Close() error {
	if w.counted && w.end != nil {
		_, _ = io.Copy(io.Discard, w.ReadCloser) // nobody hears it
	}
	w.finish()
	return w.ReadCloser.Close()
}

func (w *watcher) finish() {
	if w.end != nil {
		w.end()
		w.end = nil
	}
}
