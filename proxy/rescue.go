package proxy

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
)

// rescue is deferred by whoever answers with rec. A panic is a mistake in the proxy
// unless it is http.ErrAbortHandler, which it passes on: it is said with its stack, and
// answered if nothing was yet, else the answer breaks off.
func (rec *recorder) rescue() {
	cause := recover()
	switch cause {
	case nil:
		return
	case http.ErrAbortHandler: // as net/http compares it
		panic(cause)
	}
	x := rec.exchange
	x.proxy.metrics.panics.Inc()
	x.proxy.log.Error("panic in a handler", slog.String("request_id", x.id), slog.String("method", x.request.Method),
		slog.String("path", x.request.URL.Path), slog.String("panic", fmt.Sprint(cause)), slog.String("stack", string(debug.Stack())))
	if x.answer != nil {
		x.answer.abandon()
	}
	x.failure = fmt.Sprintf("panic: %v", cause)
	if rec.begun || x.carried != nil {
		x.status, x.reason = http.StatusInternalServerError, ReasonPanic
		panic(http.ErrAbortHandler)
	}
	clear(rec.Header()) // it may hold the upstream's already
	f := refusal{status: http.StatusInternalServerError, reason: ReasonPanic, message: "a mistake in the proxy has ended the request"}
	if x.attempts > 0 {
		f.message += unknown(x.class)
	}
	rec.refuse(f)
}
