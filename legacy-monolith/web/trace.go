package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
)

// Trace is what identifies one transaction across processes.
type Trace struct {
	RequestID   string
	Traceparent string
	Tracestate  string
}

type traceKey struct{}

// traceOf reads the incoming identifiers; a request without an id gets one, so
// that its log lines can be found.
func traceOf(r *http.Request) Trace {
	t := Trace{
		RequestID:   r.Header.Get("X-Request-Id"),
		Traceparent: r.Header.Get("traceparent"),
		Tracestate:  r.Header.Get("tracestate"),
	}
	if t.RequestID == "" {
		var id [8]byte
		_, _ = rand.Read(id[:]) // never fails, by the package's promise
		t.RequestID = hex.EncodeToString(id[:])
	}
	return t
}

// Propagate copies the identifiers of the request being served into the header
// of a call made on its behalf.
func Propagate(ctx context.Context, header http.Header) {
	t, ok := ctx.Value(traceKey{}).(Trace)
	if !ok {
		return
	}
	for name, value := range map[string]string{
		"X-Request-Id": t.RequestID, "traceparent": t.Traceparent, "tracestate": t.Tracestate,
	} {
		if value != "" {
			header.Set(name, value)
		}
	}
}

// TraceHandler adds the identifiers of the request being served to every line
// that is logged with its context.
func TraceHandler(next slog.Handler) slog.Handler { return traceHandler{next} }

type traceHandler struct{ slog.Handler }

func (h traceHandler) Handle(ctx context.Context, record slog.Record) error {
	if t, ok := ctx.Value(traceKey{}).(Trace); ok {
		record.AddAttrs(slog.String("request_id", t.RequestID))
		if t.Traceparent != "" {
			record.AddAttrs(slog.String("traceparent", t.Traceparent))
		}
	}
	return h.Handler.Handle(ctx, record)
}

func (h traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceHandler{h.Handler.WithAttrs(attrs)}
}

func (h traceHandler) WithGroup(name string) slog.Handler {
	return traceHandler{h.Handler.WithGroup(name)}
}
