package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"legacy-monolith/web"
)

func TestRunningRequestsAreAnsweredAtTheEnd(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started, release := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener, handler, slog.New(slog.DiscardHandler)) }()
	answered := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer func() { _ = response.Body.Close() }()
		body, _ := io.ReadAll(response.Body)
		answered <- string(body)
	}()
	<-started
	stop()
	close(release)
	equal(t, "answer", <-answered, "done")
	equal(t, "end of serve", <-ended, nil)
}

func TestHealthAndTrace(t *testing.T) {
	t.Parallel()
	b := openBranch(t)
	var lines bytes.Buffer
	log, err := logger(&lines, "")
	if err != nil {
		t.Fatal(err)
	}
	handler := shop(b.pool, serviceToken, "", log)
	ask := func(path string) *recorder {
		lines.Reset()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Request-Id", "request-1")
		request.Header.Set("Traceparent", "trace-1")
		answer := &recorder{header: http.Header{}}
		handler.ServeHTTP(answer, request)
		return answer
	}
	equal(t, "status", ask("/healthz").status, http.StatusOK)
	var line map[string]any
	if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
		t.Fatalf("access log is not one line of JSON: %s", lines.String())
	}
	for name, want := range map[string]any{"request_id": "request-1", "traceparent": "trace-1", "path": "/healthz", "status": 200.0} {
		equal(t, "log attribute "+name, line[name], want)
	}
	b.pool.Close()
	equal(t, "status without a database", ask("/healthz").status, http.StatusServiceUnavailable)
	equal(t, "status of a page without a database", ask("/").status, http.StatusInternalServerError)
	if !strings.Contains(lines.String(), `"level":"ERROR"`) {
		t.Errorf("the fault was not logged: %s", lines.String())
	}
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header                { return r.header }
func (r *recorder) WriteHeader(status int)             { r.status = status }
func (r *recorder) Write(body []byte) (n int, e error) { return len(body), nil }

func TestPanicIsAnAnswer(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	log, err := logger(&lines, "warn")
	if err != nil {
		t.Fatal(err)
	}
	answer := &recorder{header: http.Header{}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	web.Frame(log, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oops") })).ServeHTTP(answer, request)
	equal(t, "status", answer.status, http.StatusInternalServerError)
	if !strings.Contains(lines.String(), "oops") {
		t.Errorf("the panic was not logged: %s", lines.String())
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	empty := func(string) string { return "" }
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no verb":      {nil, "usage"},
		"unknown verb": {[]string{"sell"}, "usage"},
		"no database":  {[]string{"serve"}, "DATABASE_URL is not set"},
		"extra":        {[]string{"migrate", "now"}, `unexpected argument "now"`},
		"bad level":    {[]string{"migrate", "--database-url", "postgres://x", "--log-level", "loud"}, "LOG_LEVEL"},
		"bad flag":     {[]string{"generate", "--orders", "many"}, "invalid value"},
	} {
		err := run(t.Context(), test.args, empty, io.Discard)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %v, want it to contain %q", name, err, test.want)
		}
	}
}
