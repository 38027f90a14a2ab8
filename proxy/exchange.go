package proxy

import (
	"context"
	"net/http"
	"time"

	"strangler/capability"
)

// exchange is one request on its way through the steps.
type exchange struct {
	decision
	proxy   *Proxy
	request *http.Request // as the client sent it
	path    string        // normal form, decoded: what was matched
	raw     string        // the same for the wire: what is forwarded
	id      string        // X-Request-Id
	started time.Time
	timeout time.Duration // 0: none
	timer   *time.Timer   // cancels the exchange with errTimeout; nil without a timeout

	upload   *upload   // the request's body; nil without one, or before it is forwarded
	admitted *writeKey // a counted write, until endWrite
	pin      *pin      // of the write's subject, until endWrite
	// untouched is a write of which no byte was sent.
	untouched bool

	// What the record tells.
	endpoint string // that answered, or was tried last
	attempts int
	status   int
	failure  string // the error in full
}

// defaultTimeout bounds claimed requests whose document says nothing. A write
// without a bound would let a switch wait for ever.
const defaultTimeout = 30 * time.Second

type exchangeKey struct{}

// exchangeOf returns the exchange that forward has put into the context.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// ServeHTTP takes one request through all steps. It panics with
// http.ErrAbortHandler, as net/http wants it, when an answer broke off halfway:
// the client must not take half an answer for a whole one.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{proxy: p, request: r, id: requestID(r.Header), started: time.Now()}
	rec := &recorder{ResponseWriter: w, exchange: x}
	defer p.finish(x)
	t := p.table.Load()
	if t == nil {
		rec.refuse(refusal{status: http.StatusServiceUnavailable, reason: ReasonNotReady, after: time.Second, message: "no routes are loaded yet"})
		return
	}
	var err error
	if x.path, x.raw, err = normalise(r.URL.EscapedPath()); err != nil || r.Method == http.MethodConnect {
		message := "CONNECT is not served"
		if err != nil {
			message = err.Error()
		}
		rec.refuse(refusal{status: http.StatusBadRequest, reason: ReasonPath, message: message})
		return
	}
	x.decision = decide(t, r, x.path)
	x.timeout = p.options.LegacyTimeout
	if x.route != nil {
		x.timeout = x.route.timeout()
	}
	if x.class == capability.Write && x.route != nil {
		if refused := x.admit(); refused != nil {
			rec.refuse(*refused)
			return
		}
	}
	p.forward(x, rec)
}

func (r *route) timeout() time.Duration {
	for _, t := range []time.Duration{r.Timeout, r.binding.document.Resilience.Timeout} {
		if t > 0 {
			return t
		}
	}
	return defaultTimeout
}

// admit takes a write past the hold, counts it, decides its side by the very
// state that let it through, and pins its subject before anything is sent.
func (x *exchange) admit() *refusal {
	l := x.route.binding.lasting
	key := writeKey{x.request.Method, x.route.Path}
	waited := time.Now()
	held := x.route.binding.effective.Phase == capability.Switching
	e, err := l.hold.enter(x.request.Context(), key, x.request.ContentLength)
	if held {
		x.proxy.metrics.held(l.name, time.Since(waited), err)
	}
	if err != nil {
		return holdRefusal(err)
	}
	x.admitted = &key
	x.assign(e)
	if e.HasData {
		x.pin = l.marks.begin(x.subject.value)
	}
	return nil
}

// endWrite says that the write is over: answered in full, or known to stay
// without an answer. It may be called again.
func (x *exchange) endWrite() {
	if x.admitted == nil {
		return
	}
	l := x.route.binding.lasting
	switch {
	case x.pin == nil:
	case x.untouched:
		l.marks.untouched(x.pin)
	default:
		l.marks.end(x.pin)
	}
	x.pin = nil
	l.hold.leave(*x.admitted)
	x.admitted = nil
}

// finish runs whatever way the request ended.
func (p *Proxy) finish(x *exchange) {
	x.endWrite()
	broke := recover()
	if broke != nil && x.status < http.StatusInternalServerError && x.reason != ReasonGone {
		x.reason = ReasonBroken
		if x.request.Context().Err() != nil {
			x.reason = ReasonGone
		}
	}
	p.record(x)
	if broke != nil {
		panic(broke)
	}
}

// forward exchanges the request with its side. A counted write that has begun is
// not broken off because its client went away: a switch that waits for it, and
// the mark of its subject, need to know when it is over. Its timeout bounds it.
func (p *Proxy) forward(x *exchange, rec *recorder) {
	ctx := x.request.Context()
	if x.admitted != nil {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, exchangeKey{}, x))
	defer cancel(nil)
	if x.timeout > 0 {
		x.timer = time.AfterFunc(x.timeout, func() { cancel(errTimeout) })
		defer x.timer.Stop()
	}
	defer func() {
		x.stopUpload(rec)
		p.tunnels.remove(rec.tunnel)
	}()
	if x.request.ContentLength != 0 && x.request.ProtoMajor == 1 {
		// Without it net/http swallows up to 256 KiB of a body that is still being
		// read when the answer begins, and the upstream takes the rest for the whole.
		// A writer that cannot do it says so, and has no such habit.
		_ = http.NewResponseController(rec).EnableFullDuplex()
	}
	p.reverse.ServeHTTP(rec, x.request.WithContext(ctx))
}
