package pool

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
)

// wants are what this machine says when it lacks what a connection needs.
var wants = []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM}

// unreachable says that no connection could be made, and whose want that is.
func unreachable(err error) error {
	for _, want := range wants {
		if errors.Is(err, want) || unresolved(err, want) {
			return fmt.Errorf("%w: %w", ErrExhausted, err)
		}
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// unresolved reports whether a name could not be looked up for that want: net keeps
// the text alone.
func unresolved(err error, want syscall.Errno) bool {
	var lookup *net.DNSError
	return errors.As(err, &lookup) && strings.Contains(lookup.Err, want.Error())
}

// flawed reports whether an error is about the request itself, which no connection
// would have taken. net/http exports these errors in no other way than their text,
// and makes them before it writes anything; one that is not recognised is the
// connection's.
func flawed(err error) bool {
	text := strings.TrimPrefix(err.Error(), "http2: ")
	for _, of := range []string{
		"http: invalid header ", "http: invalid trailer ", "http: invalid method ", "http: invalid Host ", "idna: ",
		// of HTTP/2
		"invalid HTTP header ", "invalid HTTP trailer ", "invalid Host ", "invalid Trailer key ", "invalid request :path ",
		"invalid Connection ", "invalid Transfer-Encoding ", "invalid Upgrade ",
	} {
		if strings.HasPrefix(text, of) {
			return true
		}
	}
	return false
}

// beyond reports whether the header is larger than an HTTP/2 peer has said that it
// takes (SETTINGS_MAX_HEADER_LIST_SIZE).
func beyond(err error) bool {
	return strings.HasSuffix(err.Error(), "request header list larger than peer's advertised limit")
}
