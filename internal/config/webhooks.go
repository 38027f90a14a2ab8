package config

import (
	"net/url"
	"time"

	"strangler/capability"
)

// webhookMost bounds how long a switch waits for an answer: what it would hold up is
// its own beginning, and whoever typed it.
const (
	webhookTimeout = 2 * time.Second
	webhookMost    = 30 * time.Second
)

var webhookKeys = []key[capability.Webhooks]{
	{"before", "", func(v value, w *capability.Webhooks) { keep(v, &w.Before, value.addresses) }},
	{"after", "", func(v value, w *capability.Webhooks) { keep(v, &w.After, value.addresses) }},
	{"timeout", "", func(v value, w *capability.Webhooks) {
		keep(v, &w.Timeout, func(v value) (time.Duration, bool) {
			d, ok := v.duration()
			if ok && d > webhookMost {
				v.problem("is longer than a switch should wait", "write 30s or less")
			}
			return d, ok && d <= webhookMost
		})
	}},
}

// addresses reads URLs that are posted to.
func (v value) addresses() ([]string, bool) {
	return distinct(v, func(item value) (string, bool) {
		text, ok := item.text()
		if !ok {
			return "", false
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
			item.problem("is no http or https URL without credentials", "write it as in https://orders.internal/hooks/switch")
			return "", false
		}
		return text, true
	})
}
