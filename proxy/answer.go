package proxy

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"strangler/capability"
	"strangler/proxy/pool"
)

// watch puts a watcher around an answer's body: the endpoint is busy, and a write
// in flight, until the body ended.
//
// A timeout runs until the answer begins. After that it bounds the pauses
// between two pieces of a read's body, and the whole of a write's, less the time
// for which the client takes nothing. Event streams and upgraded connections may be
// silent for as long as they like, and so may calls of gRPC: with their second message, or
// when the timeout passes behind their first piece, they are streams as well.
func (x *exchange) watch(req *http.Request, res *http.Response, e *pool.Endpoint) {
	said, why := x.verdict(res, nil)
	stream, trailer := lasts(res), trailing(res)
	if stream {
		if res.StatusCode != http.StatusSwitchingProtocols { // of which carry takes care
			if x.admitted != nil {
				x.follow()
			}
			x.enlistAnswer()
			x.endWrite()
		}
		// A stream is bounded by its connection, not by the places of requests, and earns
		// its capability no retries for as long as it lasts.
		x.free()
		x.spend()
		x.clock.stop()
	}
	if conn, ok := res.Body.(io.ReadWriteCloser); ok && res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = &leased{conn, sync.OnceFunc(func() { e.End(said, why) })}
		return
	}
	if isGRPC(x.request) {
		res.Body = &callBody{ReadCloser: res.Body, exchange: x, answer: res}
	}
	w := &watcher{ReadCloser: res.Body, clock: &x.clock, anew: x.class == capability.Read, since: time.Now()}
	w.end = func(err error) {
		if errors.Is(err, io.EOF) {
			trailer()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			x.cut = x.ended(req, err)
		}
		if !stream && (errors.Is(err, io.EOF) || !x.stream.Load()) {
			broke := x.brokeOff(req, w, err)
			if broke != "" && said != pool.Failed {
				said, why = pool.Failed, broke
			}
			if errors.Is(err, io.EOF) {
				broke, said, why = x.concluded(res, said, why)
			}
			x.report.ended(broke)
		}
		e.End(said, why)
		x.endWrite()
		x.free()
	}
	// The side is at work on a write until its answer ends, whether or not the client
	// is still there to hear it.
	w.counted, w.stream = x.admitted != nil, &x.stream
	x.replied.Store(isGRPC(x.request) && res.StatusCode == http.StatusOK)
	w.forClient()
	x.moves.Store(w.anew)
	res.Body, x.answer = w, w
}

// concluded is for the end of an answer that came in whole: a call of gRPC has its status
// there, which may say that it failed, and whose failure that is.
func (x *exchange) concluded(res *http.Response, said pool.Outcome, why string) (string, pool.Outcome, string) {
	if res.Header.Get("Grpc-Status") != "" {
		return "", said, why // it was heard with the header
	}
	x.hearGRPC(res.Trailer)
	if x.grpc == "" || x.late() || errors.Is(context.Cause(res.Request.Context()), errMoved) {
		return "", said, why
	}
	said, why = x.verdict(res, nil)
	if status, broke := x.standing(res); status >= http.StatusInternalServerError {
		return broke, said, why
	}
	return "", said, why
}

// lasts reports whether an answer is one that goes on for as long as both ends
// like. Nothing is learnt from how it ends: many servers end one by hanging up.
func lasts(res *http.Response) bool {
	return res.StatusCode == http.StatusSwitchingProtocols || res.StatusCode < http.StatusMultipleChoices && isEventStream(res)
}

// brokeOff says how the side broke its answer off, or nothing where it did not, or
// something else was to blame: this proxy, its client, or a client that took so
// little that the side lost its patience. Clients must not be able to close a side.
// A timeout is the side's where it bounds a pause, as of a read: the clock stands while
// the client is waited for. A write's bounds the whole of its answer, which may just be long.
func (x *exchange) brokeOff(req *http.Request, w *watcher, err error) string {
	if err == nil || errors.Is(err, io.EOF) {
		return ""
	}
	if err = x.ended(req, err); ours(err) || w.slowTaker() {
		return ""
	}
	if errors.Is(err, errTimeout) {
		if !w.anew {
			return ""
		}
		return "its answer stood still for " + x.timeout.String()
	}
	return "broke off its answer: " + err.Error()
}

func isEventStream(res *http.Response) bool {
	base, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return err == nil && base == "text/event-stream"
}

// watcher calls end once, when the body is read to its end, fails or is closed.
type watcher struct {
	io.ReadCloser
	clock   *clock
	anew    bool         // each piece gives the side the whole timeout again
	end     func(error)  // of the read that failed, or io.EOF; nil if it was closed before. Nil once called
	counted bool         // of a write in flight: Close waits for the end
	stream  *atomic.Bool // or not, if it turned out to be a stream
	waits   bool         // for the client, until the next read

	since time.Time     // the answer began, or the last read ended
	read  time.Duration // spent reading, in all
	other time.Duration // spent between two reads: the client took what was there
}

func (w *watcher) Read(p []byte) (int, error) {
	w.forSide()
	began := time.Now()
	n, err := w.ReadCloser.Read(p)
	w.other += began.Sub(w.since)
	w.since = time.Now()
	w.read += w.since.Sub(began)
	if err != nil {
		w.finish(err)
	} else {
		w.forClient()
	}
	return n, err
}

func (w *watcher) forClient() {
	w.waits = true
	w.clock.wait()
}

func (w *watcher) forSide() {
	if w.waits {
		w.waits = false
		w.clock.goOn(w.anew)
	}
}

// slowTaker reports whether the side had to wait for the client most of the time.
func (w *watcher) slowTaker() bool { return w.other > time.Second && w.other > w.read }

// Close blocks for a write whose answer has not ended: until it has, or the write's
// timeout ends the exchange.
func (w *watcher) Close() error {
	var err error
	w.forSide()
	if w.counted && !w.stream.Load() && w.end != nil {
		_, err = io.Copy(io.Discard, w.ReadCloser) // nobody hears it
	}
	w.finish(err)
	return w.ReadCloser.Close()
}

// abandon is Close for an answer that may not be read any more.
func (w *watcher) abandon() {
	w.finish(nil)
	_ = w.ReadCloser.Close() // nobody will see it
}

func (w *watcher) finish(err error) {
	if w.end != nil {
		w.end(err)
		w.end = nil
	}
}
