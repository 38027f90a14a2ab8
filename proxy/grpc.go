package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// errOverdue is the end of a gRPC call at the deadline that its client has set. The
// upstream knows it too (grpc-timeout) and may be the first to reset the call, which
// says no more about it than the client's own reset.
var errOverdue = fmt.Errorf("%w: the deadline of the call has passed", errClientGone)

// isGRPC reports whether a request is a gRPC call, whose client looks for a status
// of its own kind.
func isGRPC(r *http.Request) bool {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), "+")
	return r.ProtoMajor == 2 && kind == "application/grpc"
}

// overdue reports whether the deadline that the client of a gRPC call has set has
// passed. The upstream's clock began later than ours.
func (x *exchange) overdue() bool {
	if !isGRPC(x.request) {
		return false
	}
	patience, ok := grpcTimeout(x.request.Header.Get("Grpc-Timeout"))
	return ok && time.Since(x.started) >= patience
}

// grpcTimeout reads up to eight digits and a unit.
func grpcTimeout(text string) (time.Duration, bool) {
	units := map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond}
	if len(text) < 2 || len(text) > 9 {
		return 0, false
	}
	unit, ok := units[text[len(text)-1]]
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 32)
	if !ok || err != nil || unit > 0 && n > uint64(1<<63-1)/uint64(unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true //nolint:gosec // 32 bits
}

// Codes of gRPC, by what the proxy refuses with.
const (
	grpcCanceled  = 1
	grpcUnknown   = 2
	grpcInvalid   = 3
	grpcDeadline  = 4
	grpcExhausted = 8
	grpcAway      = 14
)

func (x *exchange) grpcCode(status int) int {
	switch {
	case status == http.StatusGatewayTimeout, status == statusGone && x.overdue():
		return grpcDeadline
	case status == statusGone:
		return grpcCanceled
	case status == http.StatusRequestEntityTooLarge:
		return grpcExhausted
	case status == http.StatusServiceUnavailable, status == http.StatusBadGateway:
		return grpcAway
	case status < http.StatusInternalServerError:
		return grpcInvalid
	}
	return grpcUnknown
}

// refuseGRPC answers with a status in the header and nothing else.
func (rec *recorder) refuseGRPC(f refusal) {
	h := rec.Header()
	h.Set("Content-Type", "application/grpc")
	rec.exchange.grpc = grpcStatus(strconv.Itoa(rec.exchange.grpcCode(f.status)))
	h.Set("Grpc-Status", string(rec.exchange.grpc))
	h.Set("Grpc-Message", url.PathEscape(f.message))
	rec.WriteHeader(http.StatusOK)
}

// callBody is the answer to a gRPC call, which ends with a status of its own when
// the upstream resets the call at the client's deadline. A second message in it shows
// that the call is a stream.
type callBody struct {
	io.ReadCloser
	exchange *exchange
	answer   *http.Response
	messages messages
}

func (b *callBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.messages.hear(p[:n]) > 1 {
		b.exchange.goesOn()
	}
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(context.Cause(b.answer.Request.Context()), errMoved) {
		b.answer.Trailer = http.Header{"Grpc-Status": {strconv.Itoa(grpcAway)}, "Grpc-Message": {url.PathEscape(errMoved.Error())}}
		b.exchange.failure, b.exchange.reason = errMoved.Error(), ReasonMoved
		return n, io.EOF
	}
	if err != nil && !errors.Is(err, io.EOF) && b.exchange.overdue() {
		b.answer.Trailer = http.Header{"Grpc-Status": {strconv.Itoa(grpcDeadline)}}
		b.exchange.failure = errOverdue.Error()
		return n, io.EOF
	}
	return n, err
}

// messages counts those of a call: each has five bytes in front, of which four are its
// length.
type messages struct {
	begun  int
	prefix int    // bytes of it that are there
	left   uint32 // of the message, in bytes
}

// hear takes the next piece, and returns how many messages have begun.
func (m *messages) hear(p []byte) int {
	for m.begun < 2 && len(p) > 0 {
		if m.prefix == 5 {
			n := min(uint64(m.left), uint64(len(p)))
			p, m.left = p[n:], m.left-uint32(n) //nolint:gosec // no more than left
			if m.left == 0 {
				m.prefix = 0
			}
			continue
		}
		switch m.prefix {
		case 0:
			m.begun++
			m.left = 0
		default:
			m.left = m.left<<8 | uint32(p[0])
		}
		m.prefix, p = m.prefix+1, p[1:]
		if m.prefix == 5 && m.left == 0 {
			m.prefix = 0
		}
	}
	return m.begun
}
