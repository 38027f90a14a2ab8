package config

import (
	"log/slog"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"strangler/capability"
)

var (
	times     = capability.DefaultTimes()
	restraint = capability.DefaultRestraint()
	leases    = DefaultLeases()
)

// settings are the keys of config.yaml, in the order in which they are read.
var settings = slices.Concat(
	[]key[Config]{
		{"listen", ":8080", func(v value, c *Config) { keep(v, &c.Listen, value.address) }},
		{"admin", "127.0.0.1:8090", func(v value, c *Config) { keep(v, &c.Admin, value.address) }},
		{"advertise", "", func(v value, c *Config) { keep(v, &c.Advertise, value.peer) }},
		{"admin_names", "", func(v value, c *Config) { keep(v, &c.AdminNames, value.ownNames) }},
		{"zone", "", func(v value, c *Config) { keep(v, &c.Zone, value.zone) }},
		{"store", string(StoreFiles), func(v value, c *Config) { keep(v, &c.Store, words(StoreFiles, StoreConsul)) }},
	},
	within("legacy", upstreamKeys, func(c *Config) *capability.Upstream { return &c.Legacy.Upstream }),
	[]key[Config]{
		{"legacy.database", "", func(v value, c *Config) { keep(v, &c.Legacy.Database, value.database) }},
		{"legacy.timeout", "0s", func(v value, c *Config) { keep(v, &c.Legacy.Timeout, value.pause) }},
		{"legacy.allow", "", func(v value, c *Config) { keep(v, &c.Legacy.Allow, value.oddities) }},
	},
	within("legacy.concurrency", concurrencyKeys, (*Config).unclaimed),
	[]key[Config]{
		{"routes", "routes", func(v value, c *Config) { keep(v, &c.Routes, value.text) }},
		{"state", ".strangler", func(v value, c *Config) { keep(v, &c.State, value.text) }},
	},
	within("edge", edgeKeys, func(c *Config) *Edge { return &c.Edge }),
	within("consul", agentKeys, (*Config).consul),
	[]key[Config]{
		{"switch.gap", times.Gap.String(), func(v value, c *Config) { keep(v, &c.Switch.Gap, value.duration) }},
		{"switch.lease", times.Lease.String(), func(v value, c *Config) { keep(v, &c.Switch.Lease, value.duration) }},
		{"switch.age", times.Age.String(), func(v value, c *Config) { keep(v, &c.Switch.Age, value.duration) }},
		{"leases.controller", leases.Controller.String(), func(v value, c *Config) { keep(v, &c.Leases.Controller, value.lease) }},
		{"leases.proxy", leases.Proxy.String(), func(v value, c *Config) { keep(v, &c.Leases.Proxy, value.lease) }},
		{"hold.requests", "1000", func(v value, c *Config) { keep(v, &c.Hold.Requests, value.count) }},
		{"hold.release", "1000", func(v value, c *Config) { keep(v, &c.Hold.Release, number(1, 1_000_000)) }},
		{"hold.bytes", "64MiB", func(v value, c *Config) { keep(v, &c.Hold.Bytes, value.size) }},
		{"mover.rate", "", func(v value, c *Config) { keep(v, &c.Rate, value.count) }},
		{"mover.replica_lag", restraint.ReplicaLag.String(), func(v value, c *Config) { keep(v, &c.Restraint.ReplicaLag, value.pause) }},
		{"mover.busy", "0", func(v value, c *Config) { keep(v, &c.Restraint.Busy, number(0, math.MaxInt32)) }},
		{"mover.headroom", "1GiB", func(v value, c *Config) { keep(v, &c.Restraint.Headroom, value.sizeOrNone) }},
		{"mover.retain", "32GiB", func(v value, c *Config) { keep(v, &c.Restraint.Retain, value.sizeOrNone) }},
		{"log.level", "info", func(v value, c *Config) { keep(v, &c.Log.Level, value.level) }},
		{"log.format", "json", func(v value, c *Config) { keep(v, &c.Log.Format, words("json", "text")) }},
		{"log.access", "true", func(v value, c *Config) { keep(v, &c.Log.Access, value.boolean) }},
	},
)

// unclaimed makes the bounds of unclaimed requests when the first of their keys
// is read.
func (c *Config) unclaimed() *capability.Concurrency {
	if c.Legacy.Concurrency == nil {
		c.Legacy.Concurrency = &capability.Concurrency{}
	}
	return c.Legacy.Concurrency
}

// keep stores what was read, if it could be.
func keep[T any](v value, into *T, read func(value) (T, bool)) {
	if got, ok := read(v); ok {
		*into = got
	}
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

// peer reads an address at which others reach this process.
func (v value) peer() (string, bool) {
	text, ok := v.text()
	if host, port, err := net.SplitHostPort(text); ok && (err != nil || host == "" || port == "0" || !hostPort(text)) {
		v.problem("is no address that others could reach", "write host:port, as in 10.0.0.7:8090")
		return "", false
	}
	return text, ok
}

// lease reads how long one that has died keeps others waiting: it is renewed several
// times within, over a network.
func (v value) lease() (time.Duration, bool) {
	d, ok := v.duration()
	if ok && (d < time.Second || d > 5*time.Minute) {
		v.problem("is a lease that is too short to be renewed, or too long to wait for", "write a duration from 1s to 5m")
		return 0, false
	}
	return d, ok
}

// ownNames reads names under which this process is asked.
func (v value) ownNames() ([]string, bool) {
	return distinct(v, func(item value) (string, bool) { return item.server(false) })
}

func hostPort(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && 0 <= n && n <= 65535
}

// zone reads the name of a zone, which is compared as it stands.
func (v value) zone() (string, bool) {
	text, ok := v.text()
	if ok && !serviceForm.MatchString(text) {
		v.problem("is no name of a zone", "write letters, digits, dots and dashes, as in eu-1a")
		return "", false
	}
	return text, ok
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
