package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"strangler/capability"
	"strangler/proxy/edge"
	"strangler/proxy/match"
	"strangler/proxy/pool"
)

// exchange is one request on its way through the steps.
type exchange struct {
	decision
	proxy   *Proxy
	request *http.Request // as the client sent it
	path    match.Path
	client  edge.Client
	origin  origin
	id      string // X-Request-Id
	started time.Time
	timeout time.Duration // 0: none
	clock   clock         // cancels the exchange with errTimeout

	upload   *upload              // the request's body; nil without one, or before it is forwarded
	body     *pool.Spool          // the same with its beginning kept; nil without one
	admitted *writeKey            // a counted write, until endWrite
	passed   capability.Effective // by which the hold let it through; zero: it had not to pass
	pin      *pin                 // of the write's subject, until endWrite
	// untouched is a write of which no byte was sent.
	untouched bool
	cancel    context.CancelCauseFunc // of the exchange
	lasting   *openStream             // nil, or the answer as one; guarded by giving
	over      bool                    // guarded by giving; it is none any more
	unfollow  func() bool             // nil, or ends the watch over the client of a stream
	report    *report                 // to the breaker; nil before there is one
	// leaveBulkhead gives back the place at the side; nil where none is held.
	leaveBulkhead func()
	retried       int  // retries taken from the budget
	earns         bool // counts in the budget, until spend

	writer  http.ResponseWriter // to the client; nil before the request is forwarded
	offered []string            // protocols that the upstream may change to

	moves   atomic.Bool // each byte of the answer that comes gives the side the whole timeout again
	replied atomic.Bool // a gRPC call's answer has begun
	stream  atomic.Bool // the call has shown to be a stream
	giving  sync.Mutex  // held while something is given back, which a clock may do too

	// What the record tells.
	endpoint string // that answered, or was tried last
	attempts int
	status   int
	failure  string     // the error in full
	grpc     grpcStatus // with which a gRPC call ended; empty: it did not, or is none
	answer   *watcher   // of the upstream's body; nil before it began
	cut      error      // by which reading the answer's body failed; nil: it did not
	carried  *carried   // nil, or the connection was upgraded
}

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
	x := &exchange{proxy: p, request: r, started: time.Now()}
	rec := &recorder{ResponseWriter: w, exchange: x}
	defer p.finish(x)
	x.openBody(rec)
	defer x.closeBody(rec)
	defer rec.rescue()
	x.client = p.options.Peers.Client(r)
	x.origin = origin{scheme: x.client.Proto, host: x.client.Host}
	x.id = requestID(r.Header)
	if rec.answerLast() {
		return
	}
	t := p.table.Load()
	if t == nil {
		rec.refuse(refusal{status: http.StatusServiceUnavailable, reason: ReasonNotReady, after: time.Second, message: "no routes are loaded yet"})
		return
	}
	if refused := x.decide(t); refused != nil {
		rec.refuse(*refused)
		return
	}
	if refused := x.bound(); refused != nil {
		rec.refuse(*refused)
		return
	}
	if x.route != nil {
		x.route.binding.lasting.budget.Begin()
		x.earns = true
	}
	if refused := x.admit(); refused != nil {
		rec.refuse(*refused)
		return
	}
	p.forward(x, rec)
}

// decide finds the path's normal form, the route and the side.
func (x *exchange) decide(t *table) *refusal {
	if x.request.Method == http.MethodConnect {
		return &refusal{status: http.StatusBadRequest, reason: ReasonPath, message: "CONNECT is not served"}
	}
	if err := x.find(t); err != nil {
		return &refusal{status: http.StatusBadRequest, reason: ReasonPath, message: err.Error()}
	}
	x.timeout = x.proxy.options.LegacyTimeout
	allowed := x.proxy.allowed
	if x.route != nil {
		x.timeout, allowed = x.route.timeout(), x.route.allowed
	}
	if odd := x.path.Odd.Without(allowed); odd != 0 {
		x.side = "" // nobody's
		return &refusal{status: http.StatusBadRequest, reason: ReasonPath, message: refusedPath(odd)}
	}
	return nil
}

// refusedPath names what is odd about a path, and how a route takes it.
func refusedPath(odd match.Odd) string {
	return fmt.Sprintf("refused path: it holds %s, which two servers may read differently; a route takes it with allow: %v", odd, odd.Names())
}

// bound refuses a body that is announced larger than it may be; one that is not
// announced is cut off while it is read.
func (x *exchange) bound() *refusal {
	if most := x.largest(); most > 0 && x.request.ContentLength > most {
		return &refusal{status: http.StatusRequestEntityTooLarge, reason: ReasonTooLarge, message: errTooLarge.Error()}
	}
	return nil
}

// largest is how many bytes the request's body may have; 0: any number.
func (x *exchange) largest() int64 {
	if x.route != nil && x.route.Body > 0 {
		return x.route.Body
	}
	return x.proxy.options.Body
}

// admit takes a write past the hold, counts it, decides its side by the very
// state that let it through, and pins its subject before anything is sent.
func (x *exchange) admit() *refusal {
	switch {
	case x.route == nil:
		return nil
	case x.class == capability.Read:
		return x.outwait()
	}
	if refused := x.pass(x.upgrades); refused != nil {
		return refused
	}
	key := x.key()
	x.admitted = &key
	if e := x.passed; e.HasData && e.Retired.IsZero() { // or there is nothing that could lack the write
		x.pin = x.route.binding.lasting.marks.begin(x.subject.value)
	}
	return nil
}

// pass waits out a hold, and leaves the exchange counted in it.
func (x *exchange) pass(stream bool) *refusal {
	l := x.route.binding.lasting
	waited := time.Now()
	held := x.route.binding.effective.Phase == capability.Switching
	e, err := l.hold.pass(x.request.Context(), x.key(), x.request.ContentLength, stream)
	if held {
		x.proxy.metrics.held(l.name, time.Since(waited), err)
	}
	if errors.Is(err, errClientGone) && errors.Is(context.Cause(x.request.Context()), edge.ErrEndOfGrace) {
		err = errShutdown
	}
	if err != nil {
		return holdRefusal(err)
	}
	x.passed = e
	x.assign(e)
	return nil
}

// endWrite says that the write is over: answered in full, or known to stay
// without an answer. It may be called again.
func (x *exchange) endWrite() {
	x.giving.Lock()
	defer x.giving.Unlock()
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

// free gives back what the exchange holds at a side. It may be called again.
func (x *exchange) free() {
	x.giving.Lock()
	defer x.giving.Unlock()
	if x.leaveBulkhead != nil {
		x.leaveBulkhead()
		x.leaveBulkhead = nil
	}
}

// spend takes the exchange and its retries out of the budget. It may be called
// again.
func (x *exchange) spend() {
	x.giving.Lock()
	defer x.giving.Unlock()
	for ; x.retried > 0; x.retried-- {
		x.route.binding.lasting.budget.EndRetry()
	}
	if x.earns {
		x.route.binding.lasting.budget.End()
		x.earns = false
	}
}

// capability is the name of the one that claims the request; empty: none does.
func (x *exchange) capability() string {
	if x.route == nil {
		return ""
	}
	return x.route.binding.document.Name
}

// finish runs whatever way the request ended.
func (p *Proxy) finish(x *exchange) {
	x.delistAnswer()
	x.endWrite()
	x.free()
	x.spend()
	broke := recover()
	if broke != nil && x.status < http.StatusInternalServerError && x.reason != ReasonGone && x.reason != ReasonPanic {
		x.reason = x.brokenBy()
	}
	p.record(x)
	if broke != nil {
		panic(broke)
	}
}

// brokenBy is why an answer broke off that had begun.
func (x *exchange) brokenBy() Reason {
	ctx, why := x.request.Context(), x.cut
	if why == nil && ctx.Err() != nil {
		why = x.upload.why()
	} else if why == nil {
		why = x.upload.broken()
	}
	switch {
	case errors.Is(context.Cause(ctx), edge.ErrEndOfGrace):
		return ReasonShutdown
	case errors.Is(why, errMoved):
		return ReasonMoved
	case errors.Is(why, edge.ErrMalformed):
		return ReasonMalformed
	case errors.Is(why, errStalled):
		return ReasonStalled
	case ctx.Err() != nil, x.cut == nil, errors.Is(why, errClientGone), errors.Is(why, errShort):
		return ReasonGone // without a cut the answer was there, and the client did not take it
	case errors.Is(why, errTimeout):
		return ReasonTimeout
	}
	return ReasonBroken
}

// patience bounds what a timeout of none does not: a trial, and a write whose client
// has gone.
func (x *exchange) patience() time.Duration {
	if x.timeout == 0 && x.route != nil {
		return x.route.usual()
	}
	return x.timeout
}

// limit is how long a side may take until its answer begins. Who calls by gRPC says so
// himself; a counted write goes on behind that, for as long as others.
func (x *exchange) limit() time.Duration {
	deadline, ok := grpcTimeout(x.request.Header.Get("Grpc-Timeout"))
	switch {
	case !ok || !isGRPC(x.request):
		return x.timeout
	case x.admitted != nil:
		return max(deadline, x.timeout)
	}
	return deadline
}

// expire ends the exchange, unless it is a call of gRPC whose answer has begun: one
// that takes that long is a stream.
func (x *exchange) expire() {
	switch {
	case x.replied.Load():
		x.goesOn()
	case x.overdue():
		x.cancel(errOverdue)
	default:
		x.cancel(errTimeout)
	}
}

// arrived hears of every byte that comes from the side over HTTP/1.1.
func (x *exchange) arrived() {
	if x.moves.Load() {
		x.clock.restart()
	}
}

// goesOn takes a call of gRPC for a stream from now on, which is over for a switch, holds
// no place and may be silent, like an event stream. It may be called again.
func (x *exchange) goesOn() {
	if x.stream.Swap(true) {
		return
	}
	x.clock.stop()
	x.follow()
	x.enlistAnswer()
	x.endWrite()
	x.free()
	x.spend()
}

// follow ties a write that is answered by a stream, and so is over, to its client
// again: nobody else would end the stream.
func (x *exchange) follow() {
	x.giving.Lock()
	defer x.giving.Unlock()
	client := x.request.Context()
	x.unfollow = context.AfterFunc(client, func() { x.cancel(context.Cause(client)) })
}

// forward exchanges the request with its side. A counted write that has begun is
// not broken off because its client went away: a switch that waits for it, and
// the mark of its subject, need to know when it is over. Its timeout bounds it, and
// the end of the grace, which a client that is still there has to be told.
func (p *Proxy) forward(x *exchange, rec *recorder) {
	client := x.request.Context()
	ctx := client
	if x.admitted != nil {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, exchangeKey{}, x))
	defer cancel(nil)
	x.cancel = cancel
	if x.admitted != nil {
		defer context.AfterFunc(client, func() {
			if cause := context.Cause(client); errors.Is(cause, edge.ErrEndOfGrace) {
				cancel(cause)
			}
			x.clock.within(x.patience()) // nobody else ends it now
		})()
	}
	defer func() {
		x.giving.Lock()
		defer x.giving.Unlock()
		if x.unfollow != nil {
			x.unfollow()
		}
	}()
	x.clock.start(x.limit(), x.expire)
	defer x.clock.stop()
	if x.request.Trailer == nil && x.request.ContentLength < 0 && x.request.ProtoMajor == 1 {
		// Where net/http puts what comes behind the body without having been announced.
		x.request.Trailer = http.Header{}
	}
	x.writer = rec
	r := x.request.WithContext(pool.WithArrivals(ctx, x.arrived))
	x.offer(r)
	p.reverse.ServeHTTP(rec, r)
}
