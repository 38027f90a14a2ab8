package edge

import (
	"net/http"
	"net/url"
)

// What the guard sees to over HTTP/1 is done here for HTTP/2, of which net/http
// hands over what it has parsed.

// prepare makes ready an HTTP/2 request, or answers one that costs too much, which
// it reports.
func (s *Server) prepare(a *answer, r *http.Request) (refused bool) {
	if headerSize(r) > s.limits.HeaderBytes {
		s.tooLarge(r.RemoteAddr)
		letGo(r)
		a.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
		return true
	}
	if a.trails = r.Trailer != nil; a.trails && a.streams.trailing.Add(1) > s.limits.trailing() {
		a.Header().Set("Retry-After", "1")
		a.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	showExpect(r)
	write, read := s.newStalls(a.ResponseWriter)
	a.stall = write
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &slowBody{r.Body, read, r.Trailer, s.limits.HeaderBytes}
	}
	return false
}

// headerSize counts as HTTP/2 does.
func headerSize(r *http.Request) int {
	// method, path, scheme and authority; the scheme is not handed over
	pseudo := len(":method:path:scheme:authority") + len(r.Method) + len(r.RequestURI) + len("https") + len(r.Host) + 4*fieldCost
	return pseudo + listSize(r.Header) + listSize(r.Trailer)
}

// fieldCost is what a field counts beside its name and value (RFC 9113, section 6.5.2).
const fieldCost = 32

// listSize is how HTTP/2 counts fields, in bytes. Trailers that are announced have
// no values yet.
func listSize(h http.Header) (size int) {
	for name, values := range h {
		if len(values) == 0 {
			size += len(name)
		}
		for _, value := range values {
			size += len(name) + len(value) + fieldCost
		}
	}
	return size
}

// letGo frees what net/http has read of a header that is too large, and more than
// HeaderBytes, because it could not refuse the one request otherwise.
func letGo(r *http.Request) {
	clear(r.Header)
	clear(r.Trailer)
	r.URL, r.RequestURI, r.Host = &url.URL{}, "", ""
}
