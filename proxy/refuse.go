package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"strangler/capability"
	"strangler/proxy/breaker"
	"strangler/proxy/edge"
	"strangler/proxy/pool"
)

// refusal is an answer of the proxy's own.
type refusal struct {
	status  int
	reason  Reason
	after   time.Duration // Retry-After; 0: none
	message string
}

// statusGone is what the access log and the metrics show for clients that went away,
// after nginx; nobody receives it.
const statusGone = 499

// refuse answers in JSON, and gRPC in its own way. Nothing was sent to any side, or
// what was sent is lost. If the client has gone it panics with http.ErrAbortHandler:
// there is nobody to answer.
func (rec *recorder) refuse(f refusal) {
	x := rec.exchange
	x.status, x.reason = f.status, f.reason
	if x.failure == "" {
		x.failure = f.message
	}
	if f.status == statusGone && !x.overdue() { // whose deadline has passed may listen still
		panic(http.ErrAbortHandler)
	}
	x.swallow(rec)
	h := rec.Header()
	x.mark(h)
	h.Set("Cache-Control", "no-store")
	if f.after > 0 {
		h.Set("Retry-After", strconv.Itoa(int(max(1, math.Ceil(f.after.Seconds())))))
	}
	if isGRPC(x.request) {
		rec.refuseGRPC(f)
		return
	}
	h.Set("Content-Type", "application/json")
	rec.WriteHeader(f.status)
	// The client may be gone; there is nobody to tell.
	_ = json.NewEncoder(rec).Encode(map[string]string{"error": f.message, "request_id": x.id})
}

func holdRefusal(err error) *refusal {
	f := &refusal{status: http.StatusServiceUnavailable, reason: ReasonHeld, after: time.Second,
		message: "the owner of this data is changing; the request has touched nothing: " + err.Error()}
	if errors.Is(err, errShutdown) {
		f.reason = ReasonShutdown
	}
	if errors.Is(err, errClientGone) {
		return &refusal{status: statusGone, reason: ReasonGone, message: err.Error()}
	}
	return f
}

// answerFailure is called by the reverse proxy when there is no answer to pass on.
func (p *Proxy) answerFailure(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errCarried) {
		return
	}
	x := exchangeOf(r.Context())
	x.failure = err.Error()
	f := x.describe(err)
	x.untouched = unsent(err)
	x.endWrite()
	if rec, ok := w.(*recorder); ok {
		rec.refuse(f)
		return
	}
	w.WriteHeader(f.status)
}

// describe chooses the answer to a failure. 503 promises that nothing was
// touched; 502 and 504 on a write say that its outcome is not known.
func (x *exchange) describe(err error) refusal {
	var open *breaker.OpenError
	var behind behindError
	name := string(x.side)
	if x.route != nil {
		name = fmt.Sprintf("%s of %s", x.side, x.route.binding.document.Name)
	}
	switch {
	case errors.Is(err, errTooLarge):
		return refusal{status: http.StatusRequestEntityTooLarge, reason: ReasonTooLarge, message: errTooLarge.Error()}
	case errors.Is(err, edge.ErrMalformed):
		return refusal{status: http.StatusBadRequest, reason: ReasonMalformed, message: edge.ErrMalformed.Error()}
	case errors.Is(err, errStalled):
		return refusal{status: http.StatusRequestTimeout, reason: ReasonStalled, message: errStalled.Error()}
	case errors.Is(err, errShort):
		return refusal{status: http.StatusBadRequest, reason: ReasonGone, message: errShort.Error()}
	case errors.Is(err, pool.ErrUnwritable):
		return refusal{status: http.StatusBadRequest, reason: ReasonRequest, message: pool.ErrUnwritable.Error()}
	case errors.Is(err, pool.ErrTooLarge):
		return refusal{status: http.StatusRequestHeaderFieldsTooLarge, reason: ReasonRequest, message: pool.ErrTooLarge.Error()}
	case errors.Is(err, errShutdown):
		return x.cutOff(err)
	case errors.Is(err, errUpgrade):
		return refusal{status: http.StatusBadGateway, reason: ReasonBroken, message: name + " changed to a protocol that was not asked for" + unknown(x.class)}
	case errors.Is(err, errClientGone):
		return refusal{status: statusGone, reason: ReasonGone, message: errClientGone.Error()}
	case errors.As(err, &behind):
		return refusal{status: http.StatusServiceUnavailable, reason: ReasonBehind, after: time.Second,
			message: name + " cannot be reached, and the other side might show older data"}
	case errors.As(err, &open) && open.Operator && x.route != nil:
		return refusal{status: http.StatusServiceUnavailable, reason: ReasonBreaker, after: open.After,
			message: fmt.Sprintf("an operator has opened the breaker of %s, until one gives it back (strangler status %[2]s shows it, strangler breaker %[2]s %[3]s enforce undoes it); "+
				"the request has touched nothing", name, x.capability(), x.side)}
	case errors.As(err, &open):
		return refusal{status: http.StatusServiceUnavailable, reason: ReasonBreaker, after: max(open.After, time.Second),
			message: name + " is failing, its breaker is open; the request has touched nothing"}
	case errors.Is(err, errBusy):
		return refusal{status: http.StatusServiceUnavailable, reason: ReasonBusy, after: time.Second,
			message: name + " is busy; the request has touched nothing"}
	case errors.Is(err, pool.ErrExhausted):
		return refusal{status: http.StatusServiceUnavailable, reason: ReasonExhausted, after: time.Second,
			message: "the proxy cannot make another connection; the request has touched nothing"}
	case unsent(err):
		return refusal{status: http.StatusServiceUnavailable, reason: ReasonNowhere, after: time.Second,
			message: name + " cannot be reached; the request has touched nothing"}
	case errors.Is(err, errTimeout):
		return refusal{status: http.StatusGatewayTimeout, reason: ReasonTimeout, message: name + " did not answer in time" + unknown(x.class)}
	}
	return refusal{status: http.StatusBadGateway, reason: ReasonBroken, message: "the connection to " + name + " broke" + unknown(x.class)}
}

// cutOff answers what the end of the grace cut off. A write that may have been
// sent is not promised to have touched nothing.
func (x *exchange) cutOff(err error) refusal {
	f := refusal{status: http.StatusServiceUnavailable, reason: ReasonShutdown, after: time.Second, message: errShutdown.Error()}
	if x.class == capability.Write && !unsent(err) {
		f.status, f.after = http.StatusBadGateway, 0
		f.message += unknown(x.class)
	}
	return f
}

func unknown(class capability.Class) string {
	if class == capability.Write {
		return "; it is not known whether the request took effect"
	}
	return ""
}
