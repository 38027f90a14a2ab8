package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"strangler/capability"
	"strangler/internal/api"
	"strangler/proxy"
	"strangler/proxy/breaker"
	"strangler/proxy/pool"
)

// upstreams asks all registered proxies at once what they say of their sides. One
// that is slow to answer is said to be.
func (c census) upstreams(ctx context.Context) ([]api.Reported, error) {
	registered, err := c.Registered(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(registered, func(a, b capability.Registration) int { return cmp.Compare(a.ID, b.ID) })
	all := make([]api.Reported, len(registered))
	var asking sync.WaitGroup
	for i, r := range registered {
		asking.Go(func() {
			bounded, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			client := api.NewClient(r.Admin, "controller")
			defer client.Close()
			said, err := client.Report(bounded)
			if said.Proxy = r.ID; err != nil {
				said.Error = plainly(err).Error()
			}
			all[i] = said
		})
	}
	asking.Wait()
	there := make([]api.Reported, 0, len(all))
	for i, said := range all {
		if said.Error == "" || !registered[i].Lapsed {
			there = append(there, said)
		}
	}
	return there, nil
}

// shownBreaker is a breaker with the proxy that it is of.
type shownBreaker struct {
	Proxy string `json:"proxy"`
	proxy.BreakerInfo
}

// shownEndpoint is an endpoint with the proxy that sees it so.
type shownEndpoint struct {
	Proxy string `json:"proxy"`
	proxy.EndpointInfo
}

// shownStatus is a capability's status with what the proxies say of its upstreams.
type shownStatus struct {
	capability.Status
	Breakers  []shownBreaker  `json:"breakers"`
	Endpoints []shownEndpoint `json:"endpoints"` // of the extracted side
}

func shown(s capability.Status, reported []api.Reported) shownStatus {
	out := shownStatus{Status: s, Breakers: []shownBreaker{}, Endpoints: []shownEndpoint{}}
	for _, r := range reported {
		for _, b := range r.Breakers {
			if b.Capability == s.Capability {
				out.Breakers = append(out.Breakers, shownBreaker{r.Proxy, b})
			}
		}
		for _, e := range r.Endpoints {
			if e.Capability == s.Capability {
				out.Endpoints = append(out.Endpoints, shownEndpoint{r.Proxy, e})
			}
		}
	}
	return out
}

// proxyLines prints every proxy that serves the capability, with its breakers and
// those of its endpoints that are not well.
func (c *cli) proxyLines(s capability.Status, reported []api.Reported) {
	p := c.out
	slices.SortFunc(s.Proxies, func(a, b capability.Serving) int { return cmp.Compare(a.Proxy, b.Proxy) })
	for _, v := range s.Proxies {
		p.entry("proxy", fmt.Sprintf("%s serves revision %d, %s in flight, %d held", v.Proxy, v.Revision, count(v.Writes, "write", "writes"), v.Held))
		i := slices.IndexFunc(reported, func(r api.Reported) bool { return r.Proxy == v.Proxy })
		if i < 0 {
			continue
		}
		if reported[i].Error != "" {
			p.entry("breaker", p.red("not known: "+reported[i].Error))
		}
		for _, b := range reported[i].Breakers {
			if b.Capability == s.Capability {
				p.entry("breaker", c.breakerLine(b))
			}
		}
		c.endpointLines(s.Capability, reported[i])
	}
	for _, m := range s.Missing {
		p.entry("proxy", p.red(m+" does not answer"))
	}
}

// withoutController prints what the proxies say where no controller leads: they go
// on, and somebody wants to know how.
func (c *cli) withoutController(ctx context.Context, client *api.Client, name string) {
	reported, err := client.Upstreams(ctx)
	if err != nil {
		return // that nobody leads is what counts
	}
	for _, r := range reported {
		c.out.line(c.out.bold(r.Proxy))
		if r.Error != "" {
			c.out.entry("breaker", c.out.red("not known: "+r.Error))
		}
		for _, b := range r.Breakers {
			if name != "" && name != b.Capability {
				continue
			}
			c.out.entry("breaker", b.Capability+"  "+c.breakerLine(b))
			if b.Side == capability.Extracted {
				c.endpointLines(b.Capability, r)
			}
		}
		c.endpointLines("", r)
	}
}

// breakerLine is a breaker's state, how long it has it, and why.
func (c *cli) breakerLine(b proxy.BreakerInfo) string {
	line := fmt.Sprintf("%-9s  %s  since %s", b.Side, c.painted(b.State), clock(b.Since))
	if b.Remaining > 0 {
		line += ", tried again in " + short(b.Remaining.Round(100*time.Millisecond))
	}
	if b.Reason == "" {
		line += ", never changed"
	} else {
		line += ": " + b.Reason
	}
	switch b.Mode {
	case capability.BreakerObserve:
		line += " (observe: everything passes)"
	case capability.BreakerDisabled:
		line += " (disabled: counts nothing)"
	}
	return line
}

func (c *cli) painted(s breaker.State) string {
	text := fmt.Sprintf("%-9s", s)
	switch s {
	case breaker.Open:
		return c.out.red(text)
	case breaker.HalfOpen:
		return c.out.yellow(text)
	}
	return c.out.green(text)
}

// endpointLines prints the endpoints that are not well, of a capability or of the
// monolith (no name).
func (c *cli) endpointLines(name string, r api.Reported) {
	for _, e := range r.Endpoints {
		if e.Capability == name && e.State != pool.Healthy {
			c.out.entry("endpoint", c.out.red(fmt.Sprintf("%s is %s since %s: %s", e.Address, e.State, clock(e.Since), e.Why)))
		}
	}
}

// monolithLines prints the endpoints of the monolith that are not well, which
// belong to no capability.
func (c *cli) monolithLines(reported []api.Reported) {
	for _, r := range reported {
		unwell := slices.ContainsFunc(r.Endpoints, func(e proxy.EndpointInfo) bool { return e.Capability == "" && e.State != pool.Healthy })
		if unwell {
			c.out.line(c.out.bold("monolith") + "  as " + r.Proxy + " sees it")
			c.endpointLines("", r)
		}
	}
}
