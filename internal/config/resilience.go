package config

import (
	"slices"
	"time"

	"strangler/capability"
)

// defaultResilience has the defaults that are not the zero value of a field;
// those the field's own comment states.
func defaultResilience() capability.Resilience {
	return capability.Resilience{
		Timeout: 5 * time.Second, Retries: 1, Fallback: true, Streams: capability.StreamsDrain,
		Breaker: capability.Breaker{Ratio: 0.5, Requests: 10, Window: 10 * time.Second, OpenFor: 5 * time.Second, Trials: 3},
	}
}

var resilienceKeys = slices.Concat(
	[]key[capability.Resilience]{
		{"timeout", "", func(v value, r *capability.Resilience) { keep(v, &r.Timeout, value.duration) }},
		{"retries", "", func(v value, r *capability.Resilience) { keep(v, &r.Retries, value.retries) }},
		{"fallback", "", func(v value, r *capability.Resilience) { keep(v, &r.Fallback, value.fallback) }},
		{"streams", "", func(v value, r *capability.Resilience) {
			keep(v, &r.Streams, words(capability.StreamsDrain, capability.StreamsKeep, capability.StreamsClose))
		}},
	},
	within("breaker", breakerKeys, func(r *capability.Resilience) *capability.Breaker { return &r.Breaker }),
	within("concurrency", concurrencyKeys, func(r *capability.Resilience) *capability.Concurrency { return &r.Concurrency }),
	within("budget", budgetKeys, func(r *capability.Resilience) *capability.Budget { return &r.Budget }),
)

func (v value) retries() (int, bool) { return number(0, 10)(v) }

func (v value) fallback() (bool, bool) {
	word, ok := v.oneOf("reads", "none")
	return word == "reads", ok
}

var breakerKeys = []key[capability.Breaker]{
	{"ratio", "", func(v value, b *capability.Breaker) { keep(v, &b.Ratio, value.share) }},
	{"requests", "", func(v value, b *capability.Breaker) { keep(v, &b.Requests, number(1, 1_000_000)) }},
	{"window", "", func(v value, b *capability.Breaker) { keep(v, &b.Window, value.duration) }},
	{"open_for", "", func(v value, b *capability.Breaker) { keep(v, &b.OpenFor, value.duration) }},
	{"open_most", "", func(v value, b *capability.Breaker) { keep(v, &b.OpenMost, value.duration) }},
	{"trials", "", func(v value, b *capability.Breaker) { keep(v, &b.Trials, number(1, 1000)) }},
	{"slow", "", func(v value, b *capability.Breaker) { keep(v, &b.Slow, value.duration) }},
	{"slow_ratio", "", func(v value, b *capability.Breaker) { keep(v, &b.SlowRatio, value.share) }},
}

var concurrencyKeys = []key[capability.Concurrency]{
	{"requests", "", func(v value, c *capability.Concurrency) { keep(v, &c.Requests, number(1, 10_000_000)) }},
	{"queue", "", func(v value, c *capability.Concurrency) { keep(v, &c.Queue, number(1, 10_000_000)) }},
	{"wait", "", func(v value, c *capability.Concurrency) { keep(v, &c.Wait, value.duration) }},
}

var budgetKeys = []key[capability.Budget]{
	{"share", "", func(v value, b *capability.Budget) { keep(v, &b.Share, someWeight("write resilience.retries: 0")) }},
	{"least", "", func(v value, b *capability.Budget) { keep(v, &b.Least, number(1, 1_000_000)) }},
}

// modeKeys are the operator's hand on the breakers.
var modeKeys = []key[capability.BreakerModes]{
	{string(capability.Legacy), "", func(v value, m *capability.BreakerModes) { keep(v, &m.Legacy, mode) }},
	{string(capability.Extracted), "", func(v value, m *capability.BreakerModes) { keep(v, &m.Extracted, mode) }},
}

var mode = words(capability.BreakerEnforce, capability.BreakerObserve, capability.BreakerDisabled, capability.BreakerForced)

// checkBreaker looks at what only shows between the keys.
func (r *reading) checkBreaker(path string, b capability.Breaker) {
	if !r.sound(path) {
		return
	}
	if b.OpenMost != 0 && b.OpenMost < b.OpenFor {
		r.add(r.lines[path+".open_most"], path+".open_most", b.OpenMost.String(), "is less than open_for, "+b.OpenFor.String(), "write "+b.OpenFor.String()+" or more")
	}
	if b.SlowRatio != 0 && b.Slow == 0 {
		r.add(r.lines[path+".slow_ratio"], path+".slow_ratio", "", "is a share of slow answers, and none is slow", "write `slow: 2s` beside it, or take it out")
	}
}
