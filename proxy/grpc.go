package proxy

import (
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

// overdueBody is the answer to a gRPC call, which ends with a status of its own when
// the upstream resets the call at the client's deadline.
type overdueBody struct {
	io.ReadCloser
	exchange *exchange
	answer   *http.Response
}

func (b *overdueBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && b.exchange.overdue() {
		b.answer.Trailer = http.Header{"Grpc-Status": {strconv.Itoa(grpcDeadline)}}
		b.exchange.failure = errOverdue.Error()
		return n, io.EOF
	}
	return n, err
}
