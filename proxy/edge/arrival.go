package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
)

// serve is the handler that net/http sees.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	a := &answer{ResponseWriter: w, server: s, request: r, old: !r.ProtoAtLeast(1, 1)}
	defer a.over()
	g, _ := r.Context().Value(guardKey{}).(*guard)
	http1 := g != nil && r.ProtoMajor == 1
	switch {
	case http1:
		a.guard, a.number = g, g.served
		g.served++
		if a.old && r.Host == "" {
			r.Host = ownHost(r)
		}
	case r.Method == "PRI":
		a.guard = g // it began like HTTP/2 and went on as something else
	default:
		a.streams, _ = r.Context().Value(streamsKey{}).(*streams)
		if g != nil {
			a.streams = &g.streams
		}
		a.streams.begun.Add(1)
	}
	if err := wellFormed(r); err != nil {
		a.refuse(err)
		return
	}
	if http1 && r.ContentLength < 0 {
		if a.malformed() {
			http.Error(a, "400 Bad Request", http.StatusBadRequest)
			return
		}
		r.Body = &chunked{r.Body, a}
	}
	if !http1 && s.prepare(a, r) {
		return
	}
	s.handler.ServeHTTP(a, r)
	a.end()
}

// chunked is a body that says why it broke off.
type chunked struct {
	io.ReadCloser
	answer *answer
}

func (c *chunked) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil && err != io.EOF && c.answer.malformed() { //nolint:errorlint // a body wraps no io.EOF
		return n, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return n, err
}

// answer is the ResponseWriter of a handler. It ends the connection behind an
// answer that is given while the server stops, or to a malformed request.
type answer struct {
	http.ResponseWriter
	server  *Server
	request *http.Request
	guard   *guard   // of HTTP/1; nil else
	number  int      // of the request on its connection
	old     bool     // HTTP/1.0
	streams *streams // of HTTP/2; nil else
	stall   *stall   // of HTTP/2; nil else
	wrote   bool
	closes  bool // the client was told that the connection ends, or has it for itself
	taken   bool // the connection was given away
	trails  bool // a trailer was announced over HTTP/2
}

// malformed reports whether the request's body is, as far as it has been read.
func (a *answer) malformed() bool {
	if a.guard == nil {
		return false
	}
	r := a.guard.refused.Load()
	return r != nil && r.number == a.number
}

// refuse answers a malformed request, over HTTP/1 for the last time on its
// connection. Over HTTP/2 there is no body, which the client might refuse to take.
func (a *answer) refuse(err error) {
	a.server.malformed(a.request.RemoteAddr, err)
	if a.guard == nil {
		a.WriteHeader(http.StatusBadRequest)
		return
	}
	a.guard.refused.Store(&refusal{err, a.number})
	http.Error(a, "400 Bad Request", http.StatusBadRequest)
}

func (a *answer) WriteHeader(code int) {
	switch {
	case code < 200 && a.old:
		return // HTTP/1.0 has none, and a client would take it for the answer (RFC 9110, 15.2)
	case code >= 200:
		a.begin()
	case code == http.StatusSwitchingProtocols:
		a.wrote, a.closes = true, true // its Connection header says something else
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) begin() {
	if a.wrote {
		return
	}
	a.wrote = true
	if a.closes = a.takenBack() || a.server.draining.Load() || a.malformed(); a.closes {
		a.Header().Set("Connection", "close") // HTTP/2 makes a GOAWAY of it
	}
}

func (a *answer) Write(p []byte) (n int, err error) {
	a.begin()
	if a.stall == nil {
		return a.ResponseWriter.Write(p)
	}
	for err == nil && n < len(p) {
		k := 0
		k, err = a.writePiece(p[n:min(n+piece, len(p))])
		n += k
	}
	return n, err
}

// piece is what an HTTP/2 stream is given at once, in bytes; the wait for the client
// is renewed behind each. Half of it costs a stream a third of its speed.
const piece = 8 << 10

func (a *answer) writePiece(p []byte) (int, error) {
	defer a.stall.begin().over()
	return a.ResponseWriter.Write(p)
}

// ReadFrom leaves the copy to net/http, which has buffers for it, where nobody has
// to watch the single writes.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	if a.stall != nil {
		return io.Copy(struct{ io.Writer }{a}, r)
	}
	a.begin()
	return io.Copy(a.ResponseWriter, r)
}

// FlushError sends what was written.
func (a *answer) FlushError() error {
	a.begin()
	defer a.stall.begin().over()
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Flush is FlushError for those who do not want to know.
func (a *answer) Flush() { _ = a.FlushError() }

// Hijack gives the connection away, which HTTP/2 does not.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err == nil {
		a.wrote, a.closes, a.taken = true, true, true
		a.server.upgraded.Add(1)
		a.server.requests.Add(-1)
	}
	return c, rw, err
}

// over says that the handler is.
func (a *answer) over() {
	if a.trails {
		a.streams.trailing.Add(-1)
	}
	if a.taken {
		a.server.upgraded.Add(-1)
	} else {
		a.server.requests.Add(-1)
	}
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// end is for handlers that wrote nothing, and for answers that had begun when the
// request turned out to be malformed: only the end of the connection is left to
// say so.
func (a *answer) end() {
	a.begin()
	if !a.closes && a.malformed() {
		panic(http.ErrAbortHandler)
	}
}
