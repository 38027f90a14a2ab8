package proxy

import (
	"net/http"
	"strconv"
)

const headerMaxForwards = "Max-Forwards"

// hops returns how many more proxies an OPTIONS or a TRACE may pass (RFC 9110,
// section 7.6.2), this one included; -1: any number.
func hops(r *http.Request) int {
	if r.Method != http.MethodOptions && r.Method != http.MethodTrace {
		return -1
	}
	lines := r.Header[headerMaxForwards]
	if len(lines) != 1 {
		return -1
	}
	n, err := strconv.ParseUint(lines[0], 10, 31)
	if err != nil {
		return -1
	}
	return int(n) //nolint:gosec // 31 bits
}

// answerLast answers a request that is to go no further, and reports whether it was
// one. A TRACE would give back what scripts must not see, as cookies.
func (rec *recorder) answerLast() bool {
	x := rec.exchange
	if hops(x.request) != 0 {
		return false
	}
	x.reason, x.status = ReasonLast, http.StatusNoContent
	if x.request.Method == http.MethodTrace {
		rec.refuse(refusal{status: http.StatusNotImplemented, reason: ReasonLast, message: "TRACE is not answered by the proxy"})
		return true
	}
	x.mark(rec.Header())
	rec.WriteHeader(x.status)
	return true
}

// passOn counts this proxy.
func passOn(out http.Header, in *http.Request) {
	if n := hops(in); n > 0 {
		out[headerMaxForwards] = []string{strconv.Itoa(n - 1)}
	}
}
