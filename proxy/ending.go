package proxy

import (
	"net/http"
	"strconv"
)

// grpcStatus is the status of a gRPC call as it stands in the answer, which nobody
// has looked at: any text.
type grpcStatus string

// grpcNames are those of the codes 0 to 16.
var grpcNames = [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
	"UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}

// name is that of the code; OTHER for what is none.
func (s grpcStatus) name() string {
	if n, err := strconv.ParseUint(string(s), 10, 8); err == nil && n < uint64(len(grpcNames)) {
		return grpcNames[n]
	}
	return "OTHER"
}

// asHTTP is the status of HTTP that says as much about the side, as Envoy maps them. What a
// client can bring about by itself is 200: RESOURCE_EXHAUSTED, which is its quota or
// a message that is too large, and UNIMPLEMENTED, which is a method that is not there.
func (s grpcStatus) asHTTP() int {
	switch s.name() {
	case "UNAVAILABLE":
		return http.StatusServiceUnavailable
	case "DEADLINE_EXCEEDED":
		return http.StatusGatewayTimeout
	case "UNKNOWN", "INTERNAL", "DATA_LOSS":
		return http.StatusInternalServerError
	}
	return http.StatusOK
}

// hearGRPC keeps the status of a call, where the header or the trailer has one.
func (x *exchange) hearGRPC(h http.Header) {
	if s := h.Get("Grpc-Status"); s != "" && isGRPC(x.request) {
		x.grpc = grpcStatus(s)
	}
}

// late reports whether a call ended with the deadline of its client, which says no
// more than the client's own end of it.
func (x *exchange) late() bool { return x.grpc.name() == "DEADLINE_EXCEEDED" && x.overdue() }

// standing is the status by which a side and its endpoint are judged: that of HTTP, or
// what the status of a gRPC call says in its place; and how it is told to operators.
func (x *exchange) standing(res *http.Response) (status int, said string) {
	if res.StatusCode == http.StatusOK && x.grpc != "" {
		return x.grpc.asHTTP(), "answered " + x.grpc.name()
	}
	return res.StatusCode, "answered " + strconv.Itoa(res.StatusCode)
}
