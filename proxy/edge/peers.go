package edge

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Peers are the networks whose hosts are believed when they speak for others:
// balancers and proxies of our own. The zero value believes nobody.
type Peers struct {
	networks []netip.Prefix
	local    bool // clients of Unix sockets
}

// ParsePeers takes networks in CIDR notation, single addresses, and "unix" for
// whoever may open our Unix sockets. It reports every bad one at once. IPv4 in
// IPv6 is the IPv4 address; an address with a zone is refused, because a network
// has none.
func ParsePeers(list []string) (Peers, error) {
	var p Peers
	var problems []error
	for _, s := range list {
		if s == local {
			p.local = true
			continue
		}
		network, err := parseNetwork(strings.TrimSpace(s))
		if err != nil {
			problems = append(problems, fmt.Errorf("trusted peer %q: %w", s, err))
			continue
		}
		p.networks = append(p.networks, network)
	}
	if len(problems) > 0 {
		return Peers{}, errors.Join(problems...)
	}
	return p, nil
}

func parseNetwork(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, errors.New("neither an address nor a network")
		}
		if a.Zone() != "" {
			return netip.Prefix{}, errors.New("an address with a zone")
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	n, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errors.New("neither an address nor a network")
	}
	if a := n.Addr(); a.Is4In6() {
		if n.Bits() < 96 {
			return netip.Prefix{}, errors.New("an IPv4 network in IPv6 has at least 96 bits")
		}
		n = netip.PrefixFrom(a.Unmap(), n.Bits()-96)
	}
	if n != n.Masked() {
		return netip.Prefix{}, fmt.Errorf("bits beyond the mask; the network is %s", n.Masked())
	}
	return n, nil
}

// Contains reports whether a host at that address is believed. The zone of an
// address does not matter, and IPv4 in IPv6 is the IPv4 address.
func (p Peers) Contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, n := range p.networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
