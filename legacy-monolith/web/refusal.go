package web

import (
	"context"
	"errors"
	"net/http"

	"github.com/jackc/pgx/v5/pgconn"
)

// Refusal is an error that is an answer: the request was understood and turned
// down. Its message is shown to the client as it stands.
type Refusal struct {
	Status  int
	Message string
}

// Refuse makes a Refusal. Modules keep the ones that callers compare in variables.
func Refuse(status int, message string) *Refusal {
	return &Refusal{Status: status, Message: message}
}

func (r *Refusal) Error() string { return r.Message }

// statusClientGone is logged, never received: the client has hung up.
const statusClientGone = 499

// retryable are the SQLSTATEs after which the same request may succeed a moment
// later: a gate that refuses writes, a serialization failure, a lock not
// available in time, a statement cancelled by its timeout.
var retryable = map[string]bool{gateRefused: true, "40001": true, "55P03": true, "57014": true}

// gateRefused is the SQLSTATE of a gate.
const gateRefused = "P0S01"

// classify turns an error into the status and message of its answer. A message
// of an unexpected error stays in the log.
func classify(ctx context.Context, err error) (status int, message string) {
	var refusal *Refusal
	var tooLarge *http.MaxBytesError
	var fault *pgconn.PgError
	switch {
	case errors.As(err, &refusal):
		return refusal.Status, refusal.Message
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge, "request body too large"
	case errors.As(err, &fault) && retryable[fault.Code]:
		return http.StatusServiceUnavailable, fault.Message
	case ctx.Err() != nil:
		return statusClientGone, "client gone"
	}
	return http.StatusInternalServerError, "internal error"
}

// retryAfter says when a 503 is worth another try, and whether it is a gate's: then
// the shop is well, and only the write came at the wrong time.
func retryAfter(w http.ResponseWriter, status int, err error) {
	if status != http.StatusServiceUnavailable {
		return
	}
	w.Header().Set("Retry-After", "1")
	if fault := (*pgconn.PgError)(nil); errors.As(err, &fault) && fault.Code == gateRefused {
		w.Header().Set("X-Strangler-Gate", "closed")
	}
}
