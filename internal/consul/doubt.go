package consul

import (
	"context"
	"net"
	"net/url"
	"slices"
	"sync"
)

// suspects returns the endpoints whose loss is not believed without a probe:
// all of those that are missing when nothing is left, when more than half of two
// or more went at once, and as long as an earlier answer is in doubt. Consul has
// answered with an empty list during elections and from followers that were far
// behind.
func suspects(good, answer []string, doubt bool) []string {
	var lost []string
	for _, endpoint := range good {
		if !slices.Contains(answer, endpoint) {
			lost = append(lost, endpoint)
		}
	}
	if doubt || len(answer) == 0 || len(good) >= 2 && 2*len(lost) > len(good) {
		return lost
	}
	return nil
}

// alive returns the endpoints that accept a TCP connection, in their order.
func (d *Discovery) alive(ctx context.Context, endpoints []string) []string {
	ctx, cancel := context.WithTimeout(ctx, d.bounds.probe)
	defer cancel()
	answers := make([]bool, len(endpoints))
	var probes sync.WaitGroup
	for i, endpoint := range endpoints {
		probes.Go(func() { answers[i] = accepts(ctx, endpoint) })
	}
	probes.Wait()
	var living []string
	for i, endpoint := range endpoints {
		if answers[i] {
			living = append(living, endpoint)
		}
	}
	return living
}

func accepts(ctx context.Context, endpoint string) bool {
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
