package edge

import (
	"net/http"
	"time"
)

// Limits is what a client may cost. Zero fields take the default; a negative
// duration is no limit.
type Limits struct {
	// Connections are open at once over all listeners; 10,000. One more is closed as
	// soon as it is accepted, and counted: whoever balances in front sees that at
	// once, where a queue in the kernel would look like a slow server.
	Connections int
	// HeaderBytes bounds request line and header; 64 KiB. Over HTTP/2 each header
	// counts 32 bytes more (RFC 9113, section 6.5.2), and the trailer by itself. A
	// larger request gets 431.
	HeaderBytes int
	// HeaderTime bounds the TLS handshake, and the time from the first byte of a
	// request to the end of its header; 10 s. A header that does not end over HTTP/2
	// ends with the ping that its client cannot answer, after 45 s.
	HeaderTime time.Duration
	// BodyStall is the longest wait for the next byte of a request's body, and
	// WriteStall the longest for the client to take a byte of an answer; 30 s. Any
	// progress renews them (over HTTP/2 each 8 KiB that were taken), so that long
	// uploads, downloads and streams live. Both
	// are kept to within an eighth. Neither holds for upgraded connections.
	BodyStall, WriteStall time.Duration
	// Idle is how long a connection stays open between requests; 2 min.
	Idle time.Duration
	// Streams are HTTP/2 requests at once on one connection; 250.
	Streams int
}

func (l Limits) withDefaults() Limits {
	number := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	duration := func(t *time.Duration, d time.Duration) {
		if *t == 0 {
			*t = d
		}
	}
	number(&l.Connections, 10_000)
	number(&l.HeaderBytes, 64<<10)
	number(&l.Streams, 250)
	duration(&l.HeaderTime, 10*time.Second)
	duration(&l.BodyStall, 30*time.Second)
	duration(&l.WriteStall, 30*time.Second)
	duration(&l.Idle, 2*time.Minute)
	return l
}

// decoded is up to where net/http takes a header apart, in bytes as HTTP/2 counts
// them. Beyond it an HTTP/2 connection ends with all its requests, because what
// follows could not be read any more (HPACK). Below, one request is refused, and
// its header let go at once; a connection has at most one such header under way,
// beside those of requests whose handlers are about to begin. 1 MiB is what
// net/http takes by itself.
func (l Limits) decoded() int { return max(1<<20, 2*l.HeaderBytes) }

// trailing is how many requests of one HTTP/2 connection may run that have
// announced a trailer. net/http keeps of it up to decoded bytes, which nobody can
// refuse; together no more than of the headers of all Streams.
func (l Limits) trailing() int64 {
	return max(8, int64(l.Streams)*int64(l.HeaderBytes)/int64(l.decoded()))
}

// http2 pings connections that are silent while requests run: their clients may
// be gone without a word. How long a write may stall is the wire's business.
func (l Limits) http2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams: l.Streams,
		SendPingTimeout:      30 * time.Second,
		PingTimeout:          15 * time.Second,
	}
}
