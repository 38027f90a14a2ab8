package proxy

import (
	"time"

	"strangler/proxy/breaker"
)

// bodyOfTrial is how long the breaker waits for the end of a trial's answer once
// that has begun: long enough to see a side that breaks off every body, and short
// enough that a long download keeps nobody out of a side that is well.
const bodyOfTrial = time.Second

// report is what the breaker of a side hears of one exchange. It hears of it once,
// when the answer begins, so that slowness shows at once and a long body delays
// nothing. If the body breaks off, a success becomes a failure. A trial is the
// exception: it may be all that the breaker goes by, so it ends with its body.
type report struct {
	call breaker.Call
	said breaker.Outcome
	took time.Duration
	due  *time.Timer // nil, or a trial of whose body nothing has been heard
	late *time.Timer // nil, or a trial whose request may take too long to come in
}

// await sees to it that no trial waits for a client: one whose request has not come
// in after a second says nothing, and gives its place to the next.
func (r *report) await(u *upload) {
	if u == nil || !r.call.Trial() {
		return
	}
	r.late = time.AfterFunc(bodyOfTrial, func() {
		if !u.complete.Load() {
			r.call.Done(breaker.Excluded(), 0)
		}
	})
}

// begun says how the exchange went until its answer began, which is followed by a
// call of ended if body.
func (r *report) begun(said breaker.Outcome, took time.Duration, body bool) {
	if r.late != nil {
		r.late.Stop()
	}
	r.said, r.took = said, took
	if body && r.call.Trial() && said == breaker.Success() {
		r.due = time.AfterFunc(bodyOfTrial, r.heard)
		return
	}
	r.heard()
}

func (r *report) heard() { r.call.Done(r.said, r.took) }

// ended says that the body has ended, and why it broke off, if it did.
func (r *report) ended(broke string) {
	trial := r.due != nil && r.due.Stop()
	switch {
	case trial && broke != "":
		r.call.Done(breaker.Failure(broke), r.took)
	case trial:
		r.heard()
	case broke != "":
		r.call.Broke(broke)
	}
}
