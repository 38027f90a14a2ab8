package proxy

import (
	"net/http"

	"strangler/proxy/match"
)

// serverPath stands where a request asks the server as a whole.
const serverPath = "*"

// target returns the escaped path that a request asks for. A target in absolute
// form may lack it: then it is the root, and for OPTIONS without a query the
// server as a whole (RFC 9112, section 3.2.4), which only OPTIONS can ask.
func target(r *http.Request) (escaped string, server bool) {
	escaped = r.URL.EscapedPath()
	switch {
	case r.Method == http.MethodOptions && (escaped == serverPath || escaped == "" && r.URL.RawQuery == "" && !r.URL.ForceQuery):
		return serverPath, true
	case escaped == "":
		return "/", false
	}
	return escaped, false
}

// find gives a request the route that claims it, if one does. To a question about
// the server as a whole the monolith is the server.
func (x *exchange) find(t *table) (err error) {
	escaped, server := target(x.request)
	if server {
		x.path = match.Path{Match: serverPath, Raw: serverPath}
		x.decision = unclaimed(x.request.Method)
		return nil
	}
	if x.path, err = match.Normalise(escaped); err != nil {
		return err
	}
	x.decision = decide(t, x.request, x.path, x.client)
	return nil
}
