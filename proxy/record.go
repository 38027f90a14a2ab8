package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// recorder is the client's ResponseWriter with a place for what became of the
// request. Flush and the rest are found through Unwrap.
type recorder struct {
	http.ResponseWriter
	exchange *exchange
	begun    bool // a final header was written
}

// WriteHeader notes that the answer has begun, unless it panics over the status.
func (rec *recorder) WriteHeader(status int) {
	rec.ResponseWriter.WriteHeader(status)
	rec.begun = rec.begun || status >= http.StatusOK || status == http.StatusSwitchingProtocols
}

func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// tellOfSemicolon is for whoever wonders what became of a query with a ";", which some
// servers take for the end of a parameter and others for part of its value. What is asked
// for stays untold.
func (x *exchange) tellOfSemicolon() {
	x.proxy.semicolons.Log(x.proxy.log, slog.LevelInfo, "passed on a query with ; as it came: it is part of a value here, and ends one for some servers",
		slog.String("request_id", x.id), slog.String("path", x.request.URL.Path), slog.String("capability", x.capability()),
		slog.String("client", x.client.Address))
}

// record writes down what became of one request.
func (p *Proxy) record(x *exchange) {
	took := time.Since(x.started)
	if x.carried != nil {
		p.metrics.request(x, x.carried.after) // how long people stay connected is no answer time
	} else {
		p.metrics.request(x, took)
	}
	level := slog.LevelInfo
	if x.status < http.StatusInternalServerError && x.grpc.asHTTP() < http.StatusInternalServerError {
		if n := p.served.Add(1); n%p.options.AccessEvery != 0 {
			return
		}
	} else {
		level = slog.LevelWarn
	}
	ctx := context.Background()
	if !p.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 20)
	attrs = append(attrs,
		slog.String("request_id", x.id), slog.String("method", x.request.Method), slog.String("path", x.request.URL.Path),
		slog.Int("status", x.status), slog.Duration("duration", took),
		slog.String("side", string(x.side)), slog.String("reason", string(x.reason)), slog.String("class", string(x.class)),
		slog.String("upstream", x.endpoint), slog.Int("attempts", x.attempts), slog.String("client", x.client.Address))
	if x.route != nil {
		attrs = append(attrs, slog.String("capability", x.route.binding.document.Name), slog.String("route", x.route.Path))
	}
	if x.grpc != "" {
		attrs = append(attrs, slog.String("grpc_status", x.grpc.name()))
	}
	if c := x.carried; c != nil {
		attrs = append(attrs, slog.Int64("bytes_up", c.FromClient), slog.Int64("bytes_down", c.FromUpstream), slog.String("end", string(c.End)))
	}
	if x.failure != "" {
		attrs = append(attrs, slog.String("failure", x.failure))
	}
	p.log.LogAttrs(ctx, level, "request", attrs...)
}
