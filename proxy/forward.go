package proxy

import (
	"context"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"strangler/proxy/edge"
	"strangler/proxy/pool"
)

// headerSide tells the client, and whoever debugs with curl, who answered.
const headerSide = "X-Strangler-Side"

// flushWithin bounds how long a piece of an answer waits in a buffer for the next
// one, and the headers for the first. It is for answers whose length is known but
// which trickle: event streams, and answers of unknown length as those of gRPC, are
// flushed with every piece. Doing that for all costs small answers, which else
// leave in one write with their headers, a second write and a fifth more time.
const flushWithin = 10 * time.Millisecond

// newReverseProxy makes the one reverse proxy of all requests. Side, endpoint and
// retries are the business of RoundTrip; here is what HTTP wants of any proxy.
func (p *Proxy) newReverseProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport:      p,
		Rewrite:        rewrite,
		ModifyResponse: modify,
		ErrorHandler:   p.answerFailure,
		FlushInterval:  flushWithin,
		BufferPool:     &buffers{},
		ErrorLog:       quiet(p.log),
	}
}

// rewrite makes the outgoing request: the path in the form that was matched, the
// query untouched (also where Go would not parse it, because legacy applications
// do), and forwarding headers of our own only.
func rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.In.Context())
	setWirePath(pr.Out.URL, x.path.Raw)
	pr.Out.URL.RawQuery, pr.Out.URL.ForceQuery = pr.In.URL.RawQuery, pr.In.URL.ForceQuery
	pr.Out.URL.Fragment = ""
	if strings.IndexByte(pr.In.URL.RawQuery, ';') >= 0 {
		x.tellOfSemicolon()
	}
	edge.Scrub(pr.Out.Header, x.client.Trusted, x.proxy.dropped)
	x.client.SetForwarded(pr.Out.Header, pr.In.Header)
	passOn(pr.Out.Header, pr.In)
	pr.Out.Header[headerRequestID] = []string{x.id}
	pr.Out.Header[headerTraceparent] = []string{traceparent(pr.In.Header)}
	if pr.Out.Body != nil {
		x.upload = x.newUpload(pr.Out.Body)
		x.body = pool.NewSpool(x.upload)
		pr.Out.Body = x.body
	}
}

// modify writes our headers into the upstream's answer rather than to the client
// directly, where forwarding a 1xx response would erase them. A 101 it carries to
// its end, in place of the reverse proxy, which knows neither halves nor idle times.
func modify(res *http.Response) error {
	x := exchangeOf(res.Request.Context())
	x.status = res.StatusCode
	dropAlternatives(res.Header)
	edge.ScrubOurs(res.Header, gateHeader)
	if res.StatusCode == http.StatusSwitchingProtocols {
		return x.carry(res)
	}
	x.mark(res.Header)
	return nil
}

// dropAlternatives removes Alt-Svc: a client that follows an upstream's goes to the
// upstream itself from then on, past routes, holds and marks, for as long as it
// remembers.
func dropAlternatives(h http.Header) { delete(h, "Alt-Svc") }

// mark sets the headers that every answer of the proxy carries.
func (x *exchange) mark(h http.Header) {
	h[headerRequestID] = []string{x.id}
	if x.closing() {
		h["Connection"] = []string{"close"}
	}
	if x.side != "" {
		h[headerSide] = []string{string(x.side)}
	}
	if x.subject.minted {
		h.Add("Set-Cookie", x.subject.cookieFor(x.client.Proto == "https"))
	}
}

// informational returns a context in which 1xx responses reach the client without
// the headers that belong to one connection, which httputil forwards as they are
// (go.dev/issue/81319), and without taking along what is already set for the final
// answer, which it would send too early and then erase (go.dev/issue/81207).
func (x *exchange) informational(ctx context.Context, hints *early) context.Context {
	outer := httptrace.ContextClientTrace(ctx)
	if outer == nil || outer.Got1xxResponse == nil {
		return ctx
	}
	return httptrace.WithClientTrace(untraced{ctx}, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			dropHopByHop(http.Header(h))
			dropAlternatives(http.Header(h))
			edge.ScrubOurs(http.Header(h), "")
			return hints.pass(x.writer.Header(), func() error { return outer.Got1xxResponse(code, h) })
		},
	})
}

// early passes 1xx answers on until the attempt is over: one that was given up may
// still read some, when the client's header is somebody else's already.
type early struct {
	mu   sync.Mutex
	over bool // guarded by mu
}

func (e *early) pass(header http.Header, forward func() error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return nil
	}
	set := maps.Clone(header)
	clear(header)
	err := forward()
	clear(header)
	maps.Copy(header, set)
	return err
}

func (e *early) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
}

// untraced hides the client trace of the context it wraps.
type untraced struct{ context.Context }

func (c untraced) Value(key any) any {
	v := c.Context.Value(key)
	if _, ok := v.(*httptrace.ClientTrace); ok {
		return nil
	}
	return v
}

func dropHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		delete(h, name)
	}
}

// buffers recycles the pieces in which bodies are copied.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// quiet takes what net/http has to say about single connections: noise, unless
// somebody looks for it.
func quiet(l *slog.Logger) *log.Logger {
	return slog.NewLogLogger(l.Handler(), slog.LevelDebug)
}
