package config

import (
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"

	"strangler/capability"
)

// setting is one key of config.yaml: its default, and how it is read into the
// Config. An empty default means there is none.
type setting struct {
	key      string
	fallback string
	read     func(value, *Config)
}

var times = capability.DefaultTimes()

var settings = []setting{
	{"listen", ":8080", func(v value, c *Config) { keep(v, &c.Listen, value.address) }},
	{"admin", "127.0.0.1:8090", func(v value, c *Config) { keep(v, &c.Admin, value.address) }},
	{"legacy.endpoints", "", func(v value, c *Config) { keep(v, &c.Legacy.Upstream.Endpoints, value.endpoints) }},
	{"legacy.consul", "", func(v value, c *Config) { keep(v, &c.Legacy.Upstream.Consul, value.service) }},
	{"legacy.database", "", func(v value, c *Config) { keep(v, &c.Legacy.Database, value.database) }},
	{"routes", "routes", func(v value, c *Config) { keep(v, &c.Routes, value.text) }},
	{"state", ".strangler", func(v value, c *Config) { keep(v, &c.State, value.text) }},
	{"consul.address", "", func(v value, c *Config) { keep(v, &c.consul().Address, value.agent) }},
	{"consul.token", "", func(v value, c *Config) { keep(v, &c.consul().Token, value.hidden) }},
	{"consul.prefix", "", func(v value, c *Config) { keep(v, &c.consul().Prefix, value.prefix) }},
	{"consul.datacenter", "", func(v value, c *Config) { keep(v, &c.consul().Datacenter, value.text) }},
	{"switch.gap", times.Gap.String(), func(v value, c *Config) { keep(v, &c.Switch.Gap, value.duration) }},
	{"switch.lease", times.Lease.String(), func(v value, c *Config) { keep(v, &c.Switch.Lease, value.duration) }},
	{"switch.age", times.Age.String(), func(v value, c *Config) { keep(v, &c.Switch.Age, value.duration) }},
	{"hold.requests", "1000", func(v value, c *Config) { keep(v, &c.Hold.Requests, value.count) }},
	{"hold.bytes", "64MiB", func(v value, c *Config) { keep(v, &c.Hold.Bytes, value.size) }},
	{"mover.rate", "", func(v value, c *Config) { keep(v, &c.Rate, value.count) }},
	{"log.level", "info", func(v value, c *Config) { keep(v, &c.Log.Level, value.level) }},
	{"log.format", "json", func(v value, c *Config) {
		keep(v, &c.Log.Format, func(v value) (string, bool) { return v.oneOf("json", "text") })
	}},
	{"log.access", "true", func(v value, c *Config) { keep(v, &c.Log.Access, value.boolean) }},
}

// keep stores what was read, if it could be.
func keep[T any](v value, into *T, read func(value) (T, bool)) {
	if got, ok := read(v); ok {
		*into = got
	}
}

// consul makes the section, with its defaults, when the first of its keys is
// read.
func (c *Config) consul() *Consul {
	if c.Consul == nil {
		c.Consul = &Consul{Address: "127.0.0.1:8500", Prefix: "strangler"}
	}
	return c.Consul
}

// address reads host:port to listen on; the host may be left out.
func (v value) address() (string, bool) {
	text, ok := v.text()
	if ok && !hostPort(text) {
		v.problem("is no address to listen on", "write host:port, as in 127.0.0.1:8080")
		return "", false
	}
	return text, ok
}

func hostPort(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && 0 <= n && n <= 65535
}

// agent reads where Consul's HTTP API is.
func (v value) agent() (string, bool) {
	text, ok := v.text()
	if !ok {
		return "", false
	}
	_, message := endpoint(text)
	if host, _, err := net.SplitHostPort(text); message != "" && (err != nil || host == "" || !hostPort(text)) {
		v.problem("is no address of a Consul agent", "write host:port, as in 127.0.0.1:8500, or a URL")
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

func (v value) count() (int, bool) {
	n, ok := v.integer(1, math.MaxInt32)
	return int(n), ok
}

// size reads bytes: 65536, 512KiB, 64MiB, 1GiB.
func (v value) size() (int64, bool) {
	const mend = "write it as in 64MiB"
	text, ok := v.scalar("a size", mend, "!!str", "!!int")
	if !ok {
		return 0, false
	}
	number, unit := text, int64(1)
	for suffix, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, found := strings.CutSuffix(text, suffix); found {
			number, unit = strings.TrimSpace(rest), bytes
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || n > math.MaxInt64/unit {
		v.problem("is no size above zero", mend)
		return 0, false
	}
	return n * unit, true
}

func (v value) boolean() (bool, bool) {
	text, ok := v.scalar("true or false", "write true or false", "!!bool")
	if !ok {
		return false, false
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		v.problem("is neither true nor false", "write true or false")
		return false, false
	}
	return b, true
}

func (v value) level() (slog.Level, bool) {
	word, ok := v.oneOf("debug", "info", "warn", "error")
	if !ok {
		return 0, false
	}
	var level slog.Level
	err := level.UnmarshalText([]byte(word))
	return level, err == nil
}
