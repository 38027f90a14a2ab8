package proxy

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// recorder is the client's ResponseWriter with a place for what became of the
// request. Flush and the rest are found through Unwrap.
type recorder struct {
	http.ResponseWriter
	exchange *exchange
	tunnel   *tunnel
}

func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// Hijack hands the connection to an upgrade and keeps track of it, because a
// server that shuts down does not know hijacked connections.
func (rec *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(rec.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // httputil compares it with http.ErrNotSupported
	}
	rec.tunnel = rec.exchange.proxy.tunnels.add(conn)
	return conn, buffered, nil
}

// record writes down what became of one request.
func (p *Proxy) record(x *exchange) {
	took := time.Since(x.started)
	p.metrics.request(x, took)
	level := slog.LevelInfo
	if x.status < http.StatusInternalServerError {
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
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.String("request_id", x.id), slog.String("method", x.request.Method), slog.String("path", x.request.URL.Path),
		slog.Int("status", x.status), slog.Duration("duration", took),
		slog.String("side", string(x.side)), slog.String("reason", string(x.reason)), slog.String("class", string(x.class)),
		slog.String("upstream", x.endpoint), slog.Int("attempts", x.attempts), slog.String("client", x.client.Address))
	if x.route != nil {
		attrs = append(attrs, slog.String("capability", x.route.binding.document.Name), slog.String("route", x.route.Path))
	}
	if x.failure != "" {
		attrs = append(attrs, slog.String("failure", x.failure))
	}
	p.log.LogAttrs(ctx, level, "request", attrs...)
}
