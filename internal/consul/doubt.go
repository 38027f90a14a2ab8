package consul

import (
	"context"
	"net"
	"net/url"
	"sync"

	"strangler/capability"
)

// probes is how many instances are probed at once: a thousand that are lost
// together are no reason to open a thousand connections.
const probes = 128

// suspects returns the instances whose loss is not believed without a probe:
// all of those that are missing when nothing is left, when more than half of two
// or more went at once, and as long as an earlier answer is in doubt. Consul has
// answered with an empty list during elections and from followers that were far
// behind.
func suspects(good, answer []capability.Instance, doubt bool) []capability.Instance {
	lost := without(good, answer)
	if doubt || len(answer) == 0 || len(good) >= 2 && 2*len(lost) > len(good) {
		return lost
	}
	return nil
}

// alive returns the instances that accept a TCP connection, in their order.
func (d *Discovery) alive(ctx context.Context, all []capability.Instance) []capability.Instance {
	answers := make([]bool, len(all))
	free := make(chan struct{}, probes)
	var running sync.WaitGroup
	for i, one := range all {
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			answers[i] = d.accepts(ctx, one.Address)
		})
	}
	running.Wait()
	var living []capability.Instance
	for i, one := range all {
		if answers[i] {
			living = append(living, one)
		}
	}
	return living
}

func (d *Discovery) accepts(ctx context.Context, endpoint string) bool {
	ctx, cancel := context.WithTimeout(ctx, d.bounds.probe)
	defer cancel()
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return false
	}
	_ = conn.Close() // it was opened to see that it opens
	return true
}
