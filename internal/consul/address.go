package consul

import (
	"net"
	"slices"
	"strconv"

	"github.com/hashicorp/consul/api"
)

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
