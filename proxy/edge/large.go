package edge

import (
	"log/slog"
	"net/http"
	"net/url"
)

// answerTooLarge is net/http's own, which the guard gives in its place.
const answerTooLarge = "HTTP/1.1 431 Request Header Fields Too Large\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n431 Request Header Fields Too Large"

// refuseLarge answers an HTTP/2 request whose header is too large, and reports
// whether it was. net/http has read more than HeaderBytes, because it could not
// refuse the one request otherwise. The answer has no body, which a client might
// refuse to take, and the header is let go before it.
func (s *Server) refuseLarge(w http.ResponseWriter, r *http.Request) bool {
	// method, path, scheme and authority; the scheme is not handed over
	pseudo := len(":method:path:scheme:authority") + len(r.Method) + len(r.RequestURI) + len("https") + len(r.Host) + 4*fieldCost
	if pseudo+listSize(r.Header)+listSize(r.Trailer) <= s.limits.HeaderBytes {
		return false
	}
	s.tooLarge(r.RemoteAddr)
	clear(r.Header)
	clear(r.Trailer)
	r.URL, r.RequestURI, r.Host = &url.URL{}, "", ""
	w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
	return true
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

func (s *Server) tooLarge(peer string) {
	s.counters.tooLarge.Add(1)
	s.log.Info("refused a request whose header is too large", slog.String("peer", peer), slog.Int("most", s.limits.HeaderBytes))
}
