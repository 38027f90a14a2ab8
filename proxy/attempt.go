package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"strangler/capability"
	"strangler/proxy/breaker"
	"strangler/proxy/edge"
	"strangler/proxy/pool"
)

var (
	errTimeout    = errors.New("the upstream did not answer in time")
	errNoEndpoint = errors.New("the upstream has no endpoint")
	errBusy       = errors.New("too many requests are there already")
	errShutdown   = errors.New("the proxy stops")
	errGarbage    = errors.New("the upstream answered something that is no status")
)

// gateHeader on a 503 says that a database's gate refused the write: the side is
// well, the write came at the wrong time.
const gateHeader = "X-Strangler-Gate"

// RoundTrip exchanges a request with the side it was assigned to, and with the
// other one where a read may fall back. It is the transport of the reverse proxy.
func (p *Proxy) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req.Context())
	res, err := x.exchange(req)
	if !x.fallsBack(req, res, err) {
		return res, err
	}
	ok, why := x.standsIn()
	if !ok {
		if why != "" && err != nil {
			return nil, behindError{err}
		}
		return res, err
	}
	// The other side is not asked for more than the budget allows at once, or a side that
	// fails partly would double onto it. Where nothing was sent, as while the breaker is
	// open, it is the first that is asked; who has had a retry has its place in the budget.
	if (err == nil || !unsent(err)) && x.retried == 0 && !x.retry() {
		return res, err
	}
	if res != nil {
		x.failure = fmt.Sprintf("%s answered %d", x.side, res.StatusCode)
		_ = res.Body.Close() // nobody will see it; a body that is still to come must keep nobody waiting
		x.clock.restart()
	} else {
		x.failure = err.Error()
	}
	x.side, x.reason = x.side.Other(), ReasonFallback
	return x.exchange(req)
}

// behindError is a failure of the chosen side where the other one would have
// shown older data.
type behindError struct{ error }

func (e behindError) Unwrap() error { return e.error }

// unsent reports whether an error means that nothing reached any side.
func unsent(err error) bool {
	var open *breaker.OpenError
	return errors.As(err, &open) || errors.Is(err, errNoEndpoint) || errors.Is(err, errBusy) ||
		errors.Is(err, pool.ErrUnreachable) || errors.Is(err, pool.ErrExhausted) || errors.Is(err, pool.ErrUnsent)
}

// fallsBack reports whether the other side should be asked: nothing was sent; or
// the exchange broke off, or ended in a gateway's error, for a request that can be
// sent again.
func (x *exchange) fallsBack(req *http.Request, res *http.Response, err error) bool {
	if x.class != capability.Read || x.route == nil || context.Cause(req.Context()) != nil {
		return false
	}
	switch {
	case err != nil && unsent(err):
		return x.rewind()
	case err != nil:
		return repeatable(req)
	}
	switch res.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return repeatable(req) && res.Header.Get(gateHeader) == ""
	}
	return false
}

// repeatable reports whether sending the request twice does what sending it once
// does. A POST that is classed as a read is asked again only if nothing was sent.
func repeatable(req *http.Request) bool {
	return req.Body == nil && (req.Method == http.MethodGet || req.Method == http.MethodHead || req.Method == http.MethodOptions)
}

// exchange sends the request to one side: through its breaker and its bulkhead,
// and again to another endpoint as long as that is safe. The breaker hears of it
// once, whatever became of single attempts: a side whose second endpoint answers
// is well, unless the body breaks off.
func (x *exchange) exchange(req *http.Request) (*http.Response, error) {
	to := x.reach()
	x.report = &report{}
	if to.breaker != nil {
		var err error
		if x.report.call, err = to.breaker.Admit(x.patience() + 2*bodyOfTrial + time.Second); err != nil {
			return nil, err
		}
		x.report.await(x.upload)
	}
	if err := to.bulkhead.Enter(req.Context()); err != nil {
		x.report.begun(breaker.Excluded(), 0, false)
		if req.Context().Err() != nil {
			return nil, x.ended(req, fmt.Errorf("%w: %w", errBusy, err))
		}
		return nil, fmt.Errorf("%w: %w", errBusy, err)
	}
	x.leaveBulkhead = to.bulkhead.Leave
	began, before := time.Now(), x.clock.ofClient()
	res, err := x.tries(req, to)
	took := max(0, time.Since(began)-(x.clock.ofClient()-before))
	x.report.begun(x.outcome(res, err, took), took, err == nil && !lasts(res))
	if err != nil {
		x.free()
	}
	return res, err
}

// tries sends the request until one endpoint has answered or nobody may be asked
// any more.
func (x *exchange) tries(req *http.Request, to reach) (*http.Response, error) {
	var tried []*pool.Endpoint
	var last error
	for {
		e := to.pool.Pick(tried)
		if e == nil && last == nil {
			return nil, errNoEndpoint
		}
		if e == nil && x.class == capability.Read {
			e = to.pool.Pick(nil) // the only endpoint once more
		}
		if e == nil {
			return nil, last
		}
		res, err := x.attempt(req, e, to)
		if err == nil || !x.mayRetry(req, err, to, len(tried)+1) {
			return res, err
		}
		tried, last = append(tried, e), err
	}
}

// reach returns how the side is reached; unclaimed requests have no breaker.
func (x *exchange) reach() reach {
	if x.route == nil {
		return x.proxy.unclaimed
	}
	return x.route.binding.reach[x.side]
}

// mayRetry reports whether another endpoint of the same side may be tried, and
// takes that from the capability's budget. Anything is tried again if not one byte
// of it has left, once at each endpoint; a read without a body also after any
// other failure to get an answer, as often as its document says.
func (x *exchange) mayRetry(req *http.Request, err error, to reach, tries int) bool {
	if context.Cause(req.Context()) != nil {
		return false
	}
	untouched := unsent(err) && x.rewind() && tries < to.pool.Size()
	again := x.class == capability.Read && repeatable(req) && x.route != nil && tries <= x.route.retries()
	if !untouched && !again {
		return false
	}
	return x.route == nil || x.retry()
}

// rewind reports whether the body can be sent from its beginning.
func (x *exchange) rewind() bool { return x.body == nil || x.body.Rewind() }

// retry takes one retry from the budget until the request is over.
func (x *exchange) retry() bool {
	budget := x.route.binding.lasting.budget
	if !budget.TryRetry() {
		x.proxy.metrics.exhausted(x.route.binding.document.Name)
		return false
	}
	x.retried++
	return true
}

// attempt exchanges the request with one endpoint.
func (x *exchange) attempt(req *http.Request, e *pool.Endpoint, to reach) (*http.Response, error) {
	hints := &early{}
	defer hints.end()
	out := x.addressed(req, e, to.rewrite, hints)
	x.endpoint = e.Address()
	x.attempts++
	x.moves.Store(false) // a head has to come within the timeout
	e.Begin()
	panics := true
	defer func() {
		if panics {
			e.End(pool.Neutral, "")
		}
	}()
	res, err := e.Leg().RoundTrip(out)
	panics = false
	if err == nil && !isStatus(res.StatusCode) {
		_ = res.Body.Close() // it is no answer
		err = fmt.Errorf("%w: %03d", errGarbage, res.StatusCode)
	}
	if !errors.Is(err, pool.ErrUnreachable) && !errors.Is(err, pool.ErrExhausted) {
		e.Reached()
	}
	if err != nil {
		err = x.ended(req, err)
		e.End(x.verdict(nil, err))
		return nil, fmt.Errorf("exchange with %s: %w", e.Address(), err)
	}
	x.hearGRPC(res.Header)
	empty(res)
	to.rewrite.answer(res.Header, e.URL(), x.origin, base{public: x.request.URL.EscapedPath(), own: out.URL.EscapedPath()})
	x.watch(req, res, e)
	return res, nil
}

// isStatus reports whether a number can be the status of an answer: net/http panics
// over others.
func isStatus(n int) bool { return 100 <= n && n <= 999 }

// addressed is the request as one endpoint gets it.
func (x *exchange) addressed(req *http.Request, e *pool.Endpoint, r translation, hints *early) *http.Request {
	out := req.WithContext(x.informational(req.Context(), hints))
	scrubTrailer(x.request.Trailer) // what is announced; the end of the body fills it in, and it is scrubbed again
	out.Trailer = x.request.Trailer // httputil's is a copy, which is never filled in
	u := *req.URL
	u.Scheme, u.Host = e.URL().Scheme, e.URL().Host
	setWirePath(&u, r.path(x.path.Raw))
	out.URL = &u
	if r.host != "" {
		out.Host = r.host
	}
	return out
}

// ended turns a transport's error into one of ours where the exchange was ended
// from this end, the cause kept.
func (x *exchange) ended(req *http.Request, err error) error {
	if cause := context.Cause(req.Context()); errors.Is(cause, errTimeout) {
		return errTimeout
	} else if errors.Is(cause, errOverdue) {
		return errOverdue
	} else if errors.Is(cause, errMoved) {
		return errMoved
	} else if errors.Is(cause, edge.ErrEndOfGrace) {
		return fmt.Errorf("%w: %w", errShutdown, err)
	} else if cause != nil {
		if why := x.upload.why(); why != nil {
			return why
		}
		return errClientGone
	} else if broken := x.upload.broken(); broken != nil {
		return broken
	}
	if !unsent(err) && x.overdue() {
		return fmt.Errorf("%w: %w", errOverdue, err)
	}
	return err
}

// outcome is what an attempt says about its side. Failures are connections that
// cannot be made or break, timeouts, answers of 500 and above, and calls of gRPC that end likewise. No evidence
// either way are clients that went away, refusals by a gate, and a write's 503
// that says when to come back. A client that gave up after the side was slow has
// shown just that: without it a side that hangs would look well for as long as no
// client is as patient as the timeout.
func (x *exchange) outcome(res *http.Response, err error, took time.Duration) breaker.Outcome {
	late := err == nil && x.late()
	if (late || errors.Is(err, errClientGone)) && x.route != nil {
		if slow := x.route.binding.document.Resilience.Breaker.Slow; slow > 0 && took > slow {
			return breaker.Success()
		}
	}
	switch {
	case late, ours(err), errors.Is(err, errNoEndpoint):
		return breaker.Excluded()
	case err != nil:
		return breaker.Failure(err.Error())
	}
	status, said := x.standing(res)
	switch {
	case status < http.StatusInternalServerError:
		return breaker.Success()
	case status == http.StatusServiceUnavailable && x.held(res):
		return breaker.Excluded()
	}
	return breaker.Failure(said)
}

// ours reports whether an error came from this end, and tells nothing of the other:
// of the client, its request, or this machine.
func ours(err error) bool {
	for _, own := range []error{errClientGone, errTooLarge, errStalled, errShort, edge.ErrMalformed, errShutdown, errMoved,
		pool.ErrExhausted, pool.ErrUnwritable, pool.ErrTooLarge} {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}

// held reports whether a 503 says that the request came at the wrong time, to a side
// that is well: a gate refused it, or it is a write that is told when to come back.
func (x *exchange) held(res *http.Response) bool {
	return res.Header.Get(gateHeader) != "" || x.class == capability.Write && res.Header.Get("Retry-After") != ""
}

// verdict is what an attempt says about its endpoint: like outcome, but an answer
// of 500 speaks of the application, which is the same everywhere; only a gateway's
// errors speak of the endpoint.
func (x *exchange) verdict(res *http.Response, err error) (pool.Outcome, string) {
	switch {
	case ours(err):
		return pool.Neutral, ""
	case errors.Is(err, pool.ErrUnreachable):
		return pool.Unreachable, err.Error()
	case err != nil:
		return pool.Failed, err.Error()
	}
	status, said := x.standing(res)
	switch {
	case x.late(), status == http.StatusServiceUnavailable && x.held(res):
		return pool.Neutral, ""
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return pool.Failed, said
	}
	return pool.OK, ""
}
