package proxy

import (
	"net/http"
	"slices"
	"strings"

	"strangler/proxy/edge"
)

// misplaced are fields that have no business in a trailer (RFC 9110, section 6.5.1):
// they frame a message, route it, ask for it, say how to read it, keep it or where
// else it is, or who somebody is. Some readers merge trailers into the header, where
// the checks that a header has passed lie behind already. Sums, signatures, timings,
// Etag and the status of gRPC belong there.
var misplaced = []string{
	"Content-Length", "Host",
	"Content-Encoding", "Content-Type", "Content-Range", "Content-Location", "Location", "Refresh",
	"Age", "Cache-Control", "Date", "Expires", "Pragma", "Retry-After", "Vary", "Warning",
	"Authorization", "Proxy-Authorization", "Www-Authenticate", "Cookie", "Set-Cookie",
	"Expect", headerMaxForwards, "Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range",
	headerRequestID, headerTraceparent, "Alt-Svc",
}

// scrubTrailer takes out of a request's trailer what may not be said there: a client
// could speak for others in it as well as in the header.
func scrubTrailer(trailer http.Header) {
	edge.Scrub(trailer, false, nil)
	dropMisplaced(trailer)
}

func dropMisplaced(trailer http.Header) {
	dropHopByHop(trailer)
	for _, name := range misplaced {
		delete(trailer, name)
	}
}

// trailing scrubs the trailer of an answer: what is announced of it now, and what has
// come in with each call of the function that it returns.
func trailing(res *http.Response) func() {
	connection := slices.Clone(res.Header["Connection"]) // httputil takes it away
	scrub := func() {
		if len(res.Trailer) == 0 {
			return
		}
		for _, line := range connection {
			for name := range strings.SplitSeq(line, ",") {
				res.Trailer.Del(strings.TrimSpace(name))
			}
		}
		edge.ScrubOurs(res.Trailer, "")
		dropMisplaced(res.Trailer)
	}
	scrub()
	return scrub
}
