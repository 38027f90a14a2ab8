package pool

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"weak"
)

// quietClient sends a little of a body and is then silent until the test ends.
func quietClient(t *testing.T) io.Reader {
	t.Helper()
	body, say := io.Pipe()
	t.Cleanup(func() { say.Close() })
	go func() { _, _ = io.WriteString(say, "part") }()
	return body
}

// What ends an exchange ends it for the caller also while a read of the request's
// body waits for the client: the context, a broken connection, and the closing of
// an answer that came early.
func TestExchangeEndsWhileTheClientIsSilent(t *testing.T) {
	for _, kind := range spoken {
		t.Run(kind.name, func(t *testing.T) {
			got := make(chan struct{}, 1)
			to, u := serve(t, kind.tls, nil, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadFull(r.Body, make([]byte, 4))
				switch r.Header.Get("X-Do") {
				case "answer":
					_ = http.NewResponseController(w).EnableFullDuplex()
					w.WriteHeader(http.StatusRequestEntityTooLarge)
					_, _ = io.WriteString(w, "too much")
				case "break":
					if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
						conn.Close()
						return
					}
					panic(http.ErrAbortHandler)
				case "wait":
					got <- struct{}{}
					_, _ = io.Copy(io.Discard, r.Body)
				}
			})
			u.Protocol = kind.protocol
			leg := legTo(t, to, u)
			ask := func(ctx context.Context, do string) (*http.Response, error) {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String()+"/", quietClient(t))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("X-Do", do)
				return leg.RoundTrip(req)
			}
			res, err := ask(t.Context(), "answer")
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(res.Body); res.StatusCode != http.StatusRequestEntityTooLarge || string(b) != "too much" || err != nil {
				t.Errorf("%d %q %v", res.StatusCode, b, err)
			}
			res.Body.Close()
			if _, err := ask(t.Context(), "break"); err == nil || errors.Is(err, ErrUnsent) || errors.Is(err, ErrUnreachable) {
				t.Errorf("a broken exchange: %v", err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() { <-got; cancel(iotest.ErrTimeout) }()
			if _, err := ask(ctx, "wait"); err == nil {
				t.Error("the end of the context was not noticed")
			}
		})
	}
}

// An answer that is there when the connection ends is the answer.
func TestAnswerBeforeTheEndCounts(t *testing.T) {
	p := &parcel{spool: NewSpool(io.NopCloser(quietClient(t))), stuck: make(chan struct{})}
	p.settle()
	if p.abandon(); p.closed {
		t.Error("the body of an answered attempt was taken away")
	}
	select {
	case <-p.stuck:
		t.Error("it counts as stuck")
	case <-time.After(time.Millisecond):
	}
}

// An idle connection keeps nothing of the request that it carried last.
func TestAnIdleConnectionKeepsNoBody(t *testing.T) {
	for _, kind := range spoken {
		t.Run(kind.name, func(t *testing.T) {
			to, u := serve(t, kind.tls, nil, func(http.ResponseWriter, *http.Request) {})
			u.Protocol = kind.protocol
			leg := legTo(t, to, u)
			kept := func() weak.Pointer[Spool] {
				s := NewSpool(readCloser{strings.NewReader("body")})
				if _, _, err := exchange(t, leg, http.MethodPost, to, s); err != nil {
					t.Fatal(err)
				}
				return weak.Make(s)
			}()
			for deadline := time.Now().Add(20 * time.Second); kept.Value() != nil; runtime.GC() {
				if time.Now().After(deadline) {
					t.Fatal("the body is kept")
				}
			}
		})
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
