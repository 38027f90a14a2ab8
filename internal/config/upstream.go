package config

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"strangler/capability"
)

// upstreamKeys are how a side is reached: `extracted` of a document, `legacy` of
// config.yaml.
var upstreamKeys = slices.Concat(
	[]key[capability.Upstream]{
		{"endpoints", "", func(v value, u *capability.Upstream) { keep(v, &u.Endpoints, value.endpoints) }},
		{"consul", "", func(v value, u *capability.Upstream) { keep(v, &u.Consul, value.service) }},
		{"protocol", "", func(v value, u *capability.Upstream) {
			keep(v, &u.Protocol, words(capability.ProtocolAuto, capability.ProtocolHTTP1, capability.ProtocolHTTP2, capability.ProtocolH2C))
		}},
		{"slow_start", "", func(v value, u *capability.Upstream) { keep(v, &u.SlowStart, value.pause) }},
	},
	within("tls", tlsKeys, func(u *capability.Upstream) *capability.UpstreamTLS { return &u.TLS }),
	within("check", checkKeys, func(u *capability.Upstream) *capability.Check { return &u.Check }),
	within("ejection", ejectionKeys, func(u *capability.Upstream) *capability.Ejection { return &u.Ejection }),
	within("rewrite", rewriteKeys, func(u *capability.Upstream) *capability.Rewrite { return &u.Rewrite }),
)

var tlsKeys = []key[capability.UpstreamTLS]{
	{"ca", "", func(v value, t *capability.UpstreamTLS) { keep(v, &t.CA, value.authorities) }},
	{"certificate", "", func(v value, t *capability.UpstreamTLS) { keep(v, &t.Certificate, value.file) }},
	{"key", "", func(v value, t *capability.UpstreamTLS) { keep(v, &t.Key, value.file) }},
	{"server_name", "", func(v value, t *capability.UpstreamTLS) {
		keep(v, &t.ServerName, func(v value) (string, bool) { return v.server(false) })
	}},
}

var checkKeys = []key[capability.Check]{
	{"path", "", func(v value, c *capability.Check) { keep(v, &c.Path, value.target) }},
	{"every", "", func(v value, c *capability.Check) { keep(v, &c.Every, value.duration) }},
	{"timeout", "", func(v value, c *capability.Check) { keep(v, &c.Timeout, value.duration) }},
	{"healthy", "", func(v value, c *capability.Check) { keep(v, &c.Healthy, number(1, 1000)) }},
	{"unhealthy", "", func(v value, c *capability.Check) { keep(v, &c.Unhealthy, number(1, 1000)) }},
}

var ejectionKeys = []key[capability.Ejection]{
	{asWord, "", func(v value, e *capability.Ejection) {
		if _, ok := v.oneOf("off"); ok {
			e.Off = true
		}
	}},
	{"failures", "", func(v value, e *capability.Ejection) { keep(v, &e.Failures, number(1, math.MaxInt32)) }},
	{"for", "", func(v value, e *capability.Ejection) { keep(v, &e.For, value.duration) }},
	{"most", "", func(v value, e *capability.Ejection) { keep(v, &e.Most, someWeight("write ejection: off")) }},
}

// checkUpstream looks at what only shows between the keys of one side.
func (r *reading) checkUpstream(path string, u capability.Upstream) {
	if slices.Contains(r.wrong, path) {
		return // it is no section
	}
	line := r.lines[path]
	switch listed, found := r.given(path+".endpoints"), r.given(path+".consul"); {
	case listed && found:
		r.add(line, path, "", "has endpoints and a consul service", "keep one of the two")
	case !listed && !found:
		r.add(line, path, "", "has no addresses", "write endpoints: [http://127.0.0.1:9000], or consul: SERVICE")
	case r.sound(path+".endpoints", path+".protocol"):
		r.checkProtocol(path, u)
	}
	r.checkTLS(path+".tls", u.TLS)
	r.checkHealth(path+".check", u.Check)
	r.checkRewrite(path+".rewrite", u.Rewrite)
}

// checkProtocol holds the protocol against the endpoints. What Consul will name
// is not known here.
func (r *reading) checkProtocol(path string, u capability.Upstream) {
	say := func(key, value, message, mend string) { r.add(r.lines[path+key], path+key, value, message, mend) }
	secure, plain := 0, ""
	for _, e := range u.Endpoints {
		if strings.HasPrefix(e, "https:") {
			secure++
		} else {
			plain = e
		}
	}
	switch {
	case u.Protocol == capability.ProtocolHTTP2 && plain != "":
		say(".protocol", "h2", "is HTTP/2 over TLS, and "+plain+" has none", "write https endpoints, or h2c")
	case u.Protocol == capability.ProtocolH2C && secure > 0:
		say(".protocol", "h2c", "is HTTP/2 without TLS, and there are https endpoints", "write h2, or http endpoints")
	case u.TLS == capability.UpstreamTLS{}:
	case u.Protocol == capability.ProtocolH2C:
		say(".tls", "", "is of no use with protocol h2c, which is without TLS", "take one of the two out")
	case u.Consul == "" && secure == 0:
		say(".tls", "", "is of no use: no endpoint is one of https", "write https endpoints, or take it out")
	}
}

// checkHealth holds the timeout of active checks against their interval, both
// with the defaults that capability.Check states.
func (r *reading) checkHealth(path string, c capability.Check) {
	if !r.sound(path) {
		return
	}
	if c.Path == "" && (r.given(path) || c != capability.Check{}) {
		r.add(r.lines[path], path+".path", "", "is missing", "say what is asked for, as in /healthz")
		return
	}
	every, timeout := cmp.Or(c.Every, 5*time.Second), cmp.Or(c.Timeout, time.Second)
	if timeout > every {
		at := path + ".timeout"
		if c.Timeout == 0 {
			at = path + ".every"
		}
		r.add(r.lines[at], at, "", "a check may last "+timeout.String()+" and the next one comes after "+every.String(), "write a timeout of "+every.String()+" at most")
	}
}

// someWeight reads a share above zero, which would stand for the default.
func someWeight(mend string) func(value) (capability.Weight, bool) {
	return func(v value) (capability.Weight, bool) {
		weight, ok := v.weight()
		if ok && weight == 0 {
			v.problem("is nothing at all", mend)
			return 0, false
		}
		return weight, ok
	}
}
