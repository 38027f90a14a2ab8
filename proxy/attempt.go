package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"strangler/capability"
)

var (
	errTimeout     = errors.New("the upstream did not answer in time")
	errNoEndpoint  = errors.New("the upstream has no endpoint")
	errUnreachable = errors.New("no connection could be made")
)

// openError is a breaker that lets nothing through.
type openError struct{ after time.Duration }

func (e openError) Error() string { return "the breaker is open" }

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
	if res != nil {
		x.failure = fmt.Sprintf("%s answered %d", x.side, res.StatusCode)
		discard(res)
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

// fallsBack reports whether the other side should be asked: the breaker is open
// or nothing was sent; or the exchange broke off, or ended in a gateway's error,
// for a request that can be sent again.
func (x *exchange) fallsBack(req *http.Request, res *http.Response, err error) bool {
	if x.class != capability.Read || x.route == nil {
		return false
	}
	var open openError
	switch {
	case errors.As(err, &open), errors.Is(err, errUnreachable), errors.Is(err, errNoEndpoint):
		return !bodyTouched(req)
	case err != nil:
		return repeatable(req) && context.Cause(req.Context()) == nil
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

// exchange sends the request to one side: through its breaker, and again to
// another endpoint as long as that is safe.
func (x *exchange) exchange(req *http.Request) (*http.Response, error) {
	b, up := x.sides()
	var tried []*endpoint
	for {
		done, after, ok := admitBy(b, x.timeout)
		if !ok {
			return nil, openError{after}
		}
		e := up.pick(tried)
		if e == nil && x.class == capability.Read {
			e = up.pick(nil) // the only endpoint once more: its pool may have held a dead connection
		}
		if e == nil {
			done(errExcluded)
			if len(tried) > 0 {
				return nil, errUnreachable
			}
			return nil, errNoEndpoint
		}
		res, err := x.attempt(req, e)
		done(outcome(x.class, res, err))
		tried = append(tried, e)
		if err == nil || !x.mayRetry(req, err, len(tried)) {
			return res, err
		}
	}
}

// sides returns the breaker and the endpoints of the side; unclaimed requests
// have no breaker.
func (x *exchange) sides() (*breaker, *upstream) {
	if x.route == nil {
		return nil, x.proxy.legacy
	}
	return x.route.binding.breakers[x.side], x.route.binding.upstreams[x.side]
}

func admitBy(b *breaker, timeout time.Duration) (done func(error), after time.Duration, ok bool) {
	if b == nil {
		return func(error) {}, 0, true
	}
	return b.admit(timeout + time.Second)
}

// mayRetry reports whether the same side may be tried again: a write, and a read
// with a body, only when no connection was made at all; another read after any
// failure to get an answer, as often as its document says.
func (x *exchange) mayRetry(req *http.Request, err error, tries int) bool {
	if context.Cause(req.Context()) != nil || bodyTouched(req) {
		return false
	}
	if errors.Is(err, errUnreachable) && x.class == capability.Write {
		_, up := x.sides()
		return tries < len(up.endpoints())
	}
	retries := 0
	if x.route != nil {
		retries = x.route.binding.document.Resilience.Retries
	}
	return x.class == capability.Read && tries <= retries && (errors.Is(err, errUnreachable) || repeatable(req))
}

// attempt exchanges the request with one endpoint.
func (x *exchange) attempt(req *http.Request, e *endpoint) (*http.Response, error) {
	out := req.WithContext(informational(req.Context()))
	u := *req.URL
	u.Scheme, u.Host = e.url.Scheme, e.url.Host
	out.URL = &u
	if req.Body != nil {
		out.Body = keepOpen{req.Body}
	}
	x.endpoint = e.address
	x.attempts++
	e.inflight.Add(1)
	res, err := e.leg.RoundTrip(out)
	if err != nil {
		e.inflight.Add(-1)
		return nil, x.explainFailure(req, e, err)
	}
	x.watch(res, e)
	return res, nil
}

// explainFailure turns a transport's error into one of ours, the cause kept.
func (x *exchange) explainFailure(req *http.Request, e *endpoint, err error) error {
	if cause := context.Cause(req.Context()); errors.Is(cause, errTimeout) {
		return fmt.Errorf("%s: %w", e.address, errTimeout)
	} else if cause != nil {
		return errClientGone
	}
	if body, ok := req.Body.(*upload); ok && body.failed.Load() {
		return fmt.Errorf("read request body: %w", errClientGone)
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		e.failedAt.Store(time.Now().UnixNano())
		return fmt.Errorf("%w: %w", errUnreachable, err)
	}
	return fmt.Errorf("exchange with %s: %w", e.address, err)
}

// outcome is what an attempt says about its side. Failures are connections that
// cannot be made or break, timeouts, and answers of 500 and above. No evidence
// either way are clients that went away, refusals by a gate, and a write's 503
// that says when to come back.
func outcome(class capability.Class, res *http.Response, err error) error {
	switch {
	case errors.Is(err, errClientGone):
		return errExcluded
	case err != nil:
		return err
	case res.StatusCode < http.StatusInternalServerError:
		return nil
	case res.StatusCode == http.StatusServiceUnavailable &&
		(res.Header.Get(gateHeader) != "" || class == capability.Write && res.Header.Get("Retry-After") != ""):
		return errExcluded
	}
	return fmt.Errorf("answered %d", res.StatusCode)
}

// discard frees the connection of an answer that nobody will see.
func discard(res *http.Response) {
	const enough = 16 << 10
	_, _ = io.CopyN(io.Discard, res.Body, enough) // a longer or broken body costs the connection, no more
	_ = res.Body.Close()
}
