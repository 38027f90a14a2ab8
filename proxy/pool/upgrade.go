package pool

import (
	"net/http"
	"strings"
)

// upgrades reports whether the request asks for another protocol on its
// connection.
func upgrades(req *http.Request) bool {
	if len(req.Header["Upgrade"]) == 0 {
		return false
	}
	for _, value := range req.Header["Connection"] {
		for token := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return true
			}
		}
	}
	return false
}
