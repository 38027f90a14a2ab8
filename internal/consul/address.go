package consul

import (
	"cmp"
	"net"
	"slices"
	"strconv"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
)

// instances returns those of an answer that have an address, in the order of their
// addresses, and the ids of the others. Of two at one address, as a process
// leaves them that registers under a new id at each start, the heavier counts.
func instances(entries []*api.ServiceEntry) (all []capability.Instance, nowhere []string) {
	all = make([]capability.Instance, 0, len(entries))
	for _, entry := range entries {
		at, ok := address(entry)
		if !ok {
			nowhere = append(nowhere, entry.Service.ID)
			continue
		}
		all = append(all, capability.Instance{Address: at, Weight: max(1, entry.Service.Weights.Passing), Zone: zone(entry)})
	}
	slices.SortFunc(all, func(a, b capability.Instance) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Zone, b.Zone))
	})
	same := func(a, b capability.Instance) bool { return a.Address == b.Address }
	return slices.CompactFunc(all, same), nowhere
}

// zone is that of the service's locality, else what its meta say, else the same
// of its node.
func zone(entry *api.ServiceEntry) string {
	z := entry.Service.Meta["zone"]
	if l := entry.Service.Locality; l != nil && l.Zone != "" {
		z = l.Zone
	}
	if z != "" || entry.Node == nil {
		return z
	}
	if l := entry.Node.Locality; l != nil && l.Zone != "" {
		return l.Zone
	}
	return entry.Node.Meta["zone"]
}

func addresses(all []capability.Instance) []string {
	list := make([]string, len(all))
	for i, one := range all {
		list[i] = one.Address
	}
	return list
}

// without returns those of all whose address none of the others has.
func without(all, others []capability.Instance) []capability.Instance {
	there := make(map[string]bool, len(others))
	for _, other := range others {
		there[other.Address] = true
	}
	var rest []capability.Instance
	for _, one := range all {
		if !there[one.Address] {
			rest = append(rest, one)
		}
	}
	return rest
}

// few is what of a long list a log line shows.
func few(all []capability.Instance) []string { return addresses(all[:min(len(all), 8)]) }

// address returns the URL of one instance: the service's own address, or its
// node's where it has none. A tag `scheme=https`, or meta of that name and
// value, makes it https.
func address(entry *api.ServiceEntry) (string, bool) {
	host := entry.Service.Address
	if host == "" && entry.Node != nil {
		host = entry.Node.Address
	}
	port := entry.Service.Port
	if host == "" || port < 1 || port > 65535 {
		return "", false
	}
	scheme := "http"
	if entry.Service.Meta["scheme"] == "https" || slices.Contains(entry.Service.Tags, "scheme=https") {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)), true
}
