package httpx

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
)

// Trail names one transaction of a client wherever it goes: what came in with the request is logged and
// handed on with every call made for it, also by a worker that finishes it after a crash.
type Trail struct {
	RequestID   string
	Traceparent string
	Tracestate  string
}

type trailKey struct{}

// maxTrail bounds what is believed of a header: it goes into logs and rows.
const maxTrail = 256

// WithTrail attaches t to ctx.
func WithTrail(ctx context.Context, t Trail) context.Context {
	return context.WithValue(ctx, trailKey{}, t)
}

// TrailOf returns the trail of ctx, or an empty one.
func TrailOf(ctx context.Context) Trail {
	t, _ := ctx.Value(trailKey{}).(Trail)
	return t
}

// trailFrom reads the trail of a request and makes up a request id where there is none.
func trailFrom(r *http.Request) Trail {
	t := Trail{
		RequestID:   bounded(r.Header.Get("X-Request-Id")),
		Traceparent: bounded(r.Header.Get("Traceparent")),
		Tracestate:  bounded(r.Header.Get("Tracestate")),
	}
	if t.RequestID == "" {
		t.RequestID = rand.Text()
	}
	return t
}

func bounded(s string) string {
	if len(s) > maxTrail {
		return ""
	}
	return s
}

// apply puts the trail into the headers of an outgoing call.
func (t Trail) apply(h http.Header) {
	for name, value := range map[string]string{
		"X-Request-Id": t.RequestID, "Traceparent": t.Traceparent, "Tracestate": t.Tracestate,
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
}

// LogValue makes a trail one group of attributes.
func (t Trail) LogValue() slog.Value {
	return slog.GroupValue(slog.String("request_id", t.RequestID), slog.String("traceparent", t.Traceparent))
}
