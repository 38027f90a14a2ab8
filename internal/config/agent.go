package config

import (
	"net"
	"slices"
	"strings"
	"time"

	"strangler/capability"
)

// Consul is where the agent is; nil in Config where there is none.
type Consul struct {
	Address    string // host:port, or a URL; a URL of https where TLS says anything
	Token      string
	Prefix     string // of keys
	Datacenter string // empty: the agent's
	TLS        capability.UpstreamTLS
	Stale      time.Duration // oldest answer of a follower that is taken
	Service    string        // under which proxies register themselves; empty: they do not
}

var agentKeys = slices.Concat([]key[Consul]{
	{"address", "", func(v value, c *Consul) { keep(v, &c.Address, value.agent) }},
	{"token", "", func(v value, c *Consul) { keep(v, &c.Token, value.hidden) }},
	{"prefix", "", func(v value, c *Consul) { keep(v, &c.Prefix, value.prefix) }},
	{"datacenter", "", func(v value, c *Consul) { keep(v, &c.Datacenter, value.text) }},
	{"stale", "", func(v value, c *Consul) { keep(v, &c.Stale, value.duration) }},
	{"service", "", func(v value, c *Consul) { keep(v, &c.Service, orNone(value.service)) }},
}, within("tls", tlsKeys, func(c *Consul) *capability.UpstreamTLS { return &c.TLS }))

// consul makes the section, with its defaults, when the first of its keys is
// read: without any of them there is no Consul, so settings have no defaults for
// it.
func (c *Config) consul() *Consul {
	if c.Consul == nil {
		c.Consul = &Consul{Address: "127.0.0.1:8500", Prefix: "strangler", Stale: 10 * time.Second, Service: "strangler"}
	}
	return c.Consul
}

// check looks at what only shows between the keys, and settles what is spoken to
// the agent.
func (c *Consul) check(r *reading) {
	r.checkTLS("consul.tls", c.TLS)
	if c.TLS == (capability.UpstreamTLS{}) {
		return
	}
	switch scheme, _, isURL := strings.Cut(c.Address, "://"); {
	case !isURL:
		c.Address = "https://" + c.Address
	case scheme != "https":
		r.add(r.lines["consul.tls"], "consul.tls", "", "is of no use: the address is one of http", "write https in consul.address, or take it out")
	}
}

// agent reads where Consul's HTTP API is.
func (v value) agent() (string, bool) {
	text, ok := v.text()
	if !ok {
		return "", false
	}
	_, message := endpoint(text)
	if host, _, err := net.SplitHostPort(text); message != "" && (err != nil || host == "" || !hostPort(text)) {
		// A password may stand in front of it, with a scheme or without.
		v.secret = strings.Contains(text, "@") && !strings.Contains(text, "://")
		v.problem("is no address of a Consul agent", "write host:port, as in 127.0.0.1:8500, or a URL of the same")
		return "", false
	}
	return text, true
}

func (v value) hidden() (string, bool) {
	v.secret = true
	return v.text()
}

func (v value) prefix() (string, bool) {
	text, ok := v.text()
	if text = strings.Trim(text, "/"); ok && text == "" {
		v.problem("is no prefix of keys", "write it as in strangler")
		return "", false
	}
	return text, ok
}
