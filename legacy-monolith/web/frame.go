package web

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
)

// Frame wraps the whole shop: it marks every answer with X-Served-By, carries the
// trace of the request in its context, writes one access line per request and
// turns a panic into a 500.
func Frame(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		ctx := context.WithValue(r.Context(), traceKey{}, traceOf(r))
		answer := &answer{ResponseWriter: w}
		w.Header().Set("X-Served-By", ServedBy)
		defer func() {
			if fault := recover(); fault != nil {
				if fault == http.ErrAbortHandler {
					panic(fault)
				}
				log.ErrorContext(ctx, "handler panicked", "fault", fault, "stack", string(debug.Stack()))
				if answer.status == 0 {
					http.Error(answer, `{"error":"internal error"}`, http.StatusInternalServerError)
				}
			}
			log.InfoContext(ctx, "request served",
				"method", r.Method, "path", r.URL.Path, "status", answer.status,
				"bytes", answer.bytes, "took_ms", float64(time.Since(started).Microseconds())/1000)
		}()
		next.ServeHTTP(answer, r.WithContext(ctx))
	})
}

// answer remembers what was written, for the access line.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(body []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(body)
	a.bytes += n
	return n, err
}

// Unwrap lets http.ResponseController reach the writer underneath.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
