package proxy

import (
	"fmt"
	"net/http"

	"strangler/capability"
	"strangler/proxy/breaker"
)

// Request is a request that is asked about rather than sent.
type Request struct {
	Method  string      `json:"method"`
	URL     string      `json:"url"` // absolute, or from the path on
	Headers http.Header `json:"headers"`
	Address string      `json:"address"` // host:port of the client
}

// Decision is where one request would go at this moment, and why.
type Decision struct {
	Capability string           `json:"capability,omitempty"` // empty: unclaimed
	Route      string           `json:"route,omitempty"`
	Class      capability.Class `json:"class"`
	Subject    string           `json:"subject,omitempty"`
	Bucket     int              `json:"bucket"` // 0 to 9999; below the weight is extracted
	Side       capability.Side  `json:"side,omitempty"`
	Endpoint   string           `json:"endpoint,omitempty"`
	Reasons    []string         `json:"reasons"`
}

// Explain decides a request by the code that routes, sends nothing and changes
// nothing. It returns an error only for what is no request.
func (p *Proxy) Explain(q Request) (Decision, error) {
	r, err := http.NewRequest(q.Method, q.URL, nil)
	if err != nil {
		return Decision{}, fmt.Errorf("read request: %w", err)
	}
	r.RemoteAddr = q.Address
	for name, values := range q.Headers {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	t := p.table.Load()
	if t == nil {
		return Decision{Reasons: []string{"no routes are loaded yet: 503"}}, nil
	}
	x := exchange{proxy: p, request: r, client: p.options.Peers.Client(r)}
	if refused := x.decide(t); refused != nil {
		return Decision{Reasons: []string{fmt.Sprintf("%s: %d", refused.message, refused.status)}}, nil
	}
	d := x.decision
	out := Decision{Class: d.class, Side: d.side, Subject: d.subject.value}
	if d.route == nil {
		out.Reasons = []string{"no capability claims " + q.Method + " " + x.path.Decoded() + ", so it is the monolith's"}
	} else {
		b := d.route.binding
		out.Capability, out.Route = b.document.Name, d.route.Path
		out.Bucket = int(capability.Bucket(b.salt(), d.subject.value))
		out.Reasons = d.reasons(out.Bucket)
	}
	to := x.reach()
	if e := to.pool.Pick(nil); e != nil {
		out.Endpoint = e.Address()
	} else {
		out.Reasons = append(out.Reasons, fmt.Sprintf("%s has no endpoint", d.side))
	}
	if to.rewrite.path(x.path.Raw) != x.path.Raw {
		out.Reasons = append(out.Reasons, fmt.Sprintf("%s is asked for %s", d.side, to.rewrite.path(x.path.Raw)))
	}
	if to.breaker != nil {
		if is := to.breaker.Info(); is.State != breaker.Closed {
			out.Reasons = append(out.Reasons, fmt.Sprintf("the breaker of %s is %s: %s", d.side, is.State, is.Reason), d.instead(is.Mode))
		}
	}
	return out, nil
}

// reasons puts a decision into sentences.
func (d *decision) reasons(bucket int) []string {
	b, e := d.route.binding, d.route.binding.effective
	out := []string{fmt.Sprintf("capability %s claims it with %s as a %s", b.document.Name, d.route.Path, d.class)}
	if d.subject.minted {
		out = append(out, "the subject is new: it would get a cookie, and with it a place of its own")
	} else {
		out = append(out, fmt.Sprintf("the subject is known by %s", d.subject.source))
	}
	switch d.reason {
	case ReasonOwner:
		if d.class == capability.Read {
			out = append(out, fmt.Sprintf("it would go to %s, but the data there does not follow closely enough now; %s owns it", e.Owner.Other(), e.Owner))
			break
		}
		out = append(out, fmt.Sprintf("writes go to the owner, which is %s", e.Owner))
	case ReasonListed:
		out = append(out, fmt.Sprintf("the document lists the subject by name, which says %s", d.side))
	case ReasonOverride:
		out = append(out, fmt.Sprintf("its header asks for %s, and the peer is trusted", d.side))
	case ReasonOwnWrite:
		out = append(out, fmt.Sprintf("the weight says %s, but a write of the subject has not reached it yet", d.side.Other()))
	default:
		out = append(out, fmt.Sprintf("its place %d against the weight %s (%d) says %s", bucket, e.Weight, int(e.Weight), d.side))
	}
	if held := b.lasting.hold.state(); d.class == capability.Write && held.Phase == capability.Switching {
		out = append(out, "the owner is changing: it would wait for the new one")
	}
	return out
}

func (d *decision) instead(mode capability.BreakerMode) string {
	ok, why := d.standsIn()
	switch {
	case mode == capability.BreakerObserve:
		return "it only observes, so the request would pass"
	case ok:
		return fmt.Sprintf("it would fall back to %s", d.side.Other())
	case why == ReasonBehind:
		return fmt.Sprintf("%s might show older data, so the answer would be 503", d.side.Other())
	}
	return "there is no fallback for it, so the answer would be 503"
}
