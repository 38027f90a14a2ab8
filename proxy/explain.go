package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"strangler/capability"
	"strangler/proxy/breaker"
)

// Request is a request that is asked about rather than sent.
type Request struct {
	Method  string      `json:"method"`
	URL     string      `json:"url"` // as a client sends it: absolute, or from the path on, without a fragment
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

// Check says what is wrong with q, if it is no request that a client could send.
func (q Request) Check() error {
	_, err := q.read()
	return err
}

// read makes of q what a server would have read off the connection.
func (q Request) read() (*http.Request, error) {
	r, err := http.NewRequest(q.Method, "/", nil)
	if err != nil || strings.Contains(q.Method, "/") {
		return nil, fmt.Errorf("%q is no method: write one as in GET /api/orders", q.Method)
	}
	if strings.ContainsFunc(q.URL, func(c rune) bool { return c <= ' ' || c == '\x7f' }) {
		return nil, fmt.Errorf("%q is no URL: the line of a request ends at its first space; write a space as %%20", q.URL)
	}
	if r.URL, err = url.ParseRequestURI(q.URL); err != nil {
		return nil, fmt.Errorf("%q is no URL: write /PATH or http://HOST/PATH (%w)", q.URL, reasonOf(err))
	}
	absolute := (r.URL.Scheme == "http" || r.URL.Scheme == "https") && r.URL.Host != ""
	if !absolute && !strings.HasPrefix(q.URL, "/") {
		return nil, fmt.Errorf("%q is no URL: write /PATH or http://HOST/PATH", q.URL)
	}
	if absolute && r.URL.Path == "" {
		r.URL.Path = "/"
	}
	r.Host = r.URL.Host
	for name, values := range q.Headers {
		if !headerName(name) {
			return nil, fmt.Errorf("%q is no name of a header: write letters, digits and dashes", name)
		}
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	r.Header.Del("Host") // servers keep it apart
	r.RemoteAddr, err = remote(q.Address)
	return r, err
}

// headerName reports whether s can be the name of a header (RFC 9110, token).
func headerName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", c)
	})
}

func reasonOf(err error) error {
	if of := new(url.Error); errors.As(err, &of) {
		return of.Err
	}
	return err
}

// remote is the address of a client as a server has it. An address may come
// without a port, and be left out.
func remote(address string) (string, error) {
	if address == "" {
		return "", nil
	}
	if _, err := netip.ParseAddrPort(address); err == nil {
		return address, nil
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return "", fmt.Errorf("%q is no address of a client: write an IP address as in 192.0.2.1 or [2001:db8::1]:1234", address)
	}
	return netip.AddrPortFrom(ip, 0).String(), nil
}

// Explain decides a request by the code that routes, sends nothing and changes
// nothing. It returns an error only for what is no request.
func (p *Proxy) Explain(q Request) (Decision, error) {
	r, err := q.read()
	if err != nil {
		return Decision{}, err
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
	if x.route != nil {
		out.Reasons = append(out.Reasons, x.broken()...)
	}
	if out.Side = x.side; out.Side == "" {
		return out, nil
	}
	to := x.reach()
	if e := to.pool.Pick(nil); e != nil {
		out.Endpoint = e.Address()
	} else {
		out.Reasons = append(out.Reasons, fmt.Sprintf("%s has no endpoint", x.side))
	}
	if to.rewrite.path(x.path.Raw) != x.path.Raw {
		out.Reasons = append(out.Reasons, fmt.Sprintf("%s is asked for %s", x.side, to.rewrite.path(x.path.Raw)))
	}
	return out, nil
}

// broken says what the breaker of the side makes of the request, and sends it to
// where it would go then: to nobody where the answer would be 503.
func (x *exchange) broken() []string {
	is := x.reach().breaker.Info()
	if is.State == breaker.Closed {
		return nil
	}
	out := []string{fmt.Sprintf("the breaker of %s is %s: %s", x.side, is.State, is.Reason)}
	switch {
	case is.Mode == capability.BreakerObserve:
		return append(out, "it only observes, so the request would pass")
	case is.State == breaker.HalfOpen:
		return append(out, "the request would pass as a trial, unless as many as are allowed are under way")
	}
	if ok, why := x.standsIn(); !ok {
		x.side = ""
		if why == ReasonBehind {
			return append(out, "the other side might show older data, so the answer would be 503")
		}
		return append(out, "there is no fallback for it, so the answer would be 503")
	}
	x.side = x.side.Other()
	return append(out, fmt.Sprintf("it would fall back to %s", x.side))
}

// reasons puts a decision into sentences.
func (d *decision) reasons(bucket int) []string {
	b, e := d.route.binding, d.route.binding.effective
	out := []string{fmt.Sprintf("capability %s claims it with %s as a %s", b.document.Name, d.route.Path, d.class)}
	if d.upgrades {
		out = append(out, "it asks for a connection of its own, on which it may write: `class: read` of the route, or `streams: keep`, says that it does not")
	}
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
