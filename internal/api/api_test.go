package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"strangler/capability"
	"strangler/controller"
	"strangler/proxy"
)

// serve serves a router as the admin address would be, and returns a client.
func serve(t *testing.T, router *mux.Router) (*Client, string) {
	t.Helper()
	server := httptest.NewServer(Protect(router, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	client := NewClient(server.URL, "cli:tester")
	t.Cleanup(client.Close)
	return client, server.URL
}

// TestStreamEndsWithResultOrFailure: a step that failed is not the end, the last
// line is; and a stream without a last line is an error of its own.
func TestStreamEndsWithResultOrFailure(t *testing.T) {
	t.Parallel()
	ends := map[string]func(w http.ResponseWriter){
		"result": func(w http.ResponseWriter) {
			stream(w, func(report func(capability.Progress)) (any, error) {
				report(capability.Progress{Step: capability.StepHold, State: "failed", Message: "once"})
				report(capability.Progress{State: "backfill", Done: 3, Total: 9, Result: capability.BackfillStatus{Rows: 3}})
				return controller.SwitchResult{To: capability.Extracted, Epoch: 4}, nil
			})
		},
		"failure": func(w http.ResponseWriter) {
			stream(w, func(func(capability.Progress)) (any, error) { return nil, errors.New("the tables are locked") })
		},
		"cut": func(w http.ResponseWriter) {
			fmt.Fprintln(w, `{"step":"hold","state":"started"}`) //nolint:errcheck // a test server
		},
	}
	router := mux.NewRouter()
	for name, end := range ends {
		router.HandleFunc("/api/capabilities/"+name+"/switch", func(w http.ResponseWriter, _ *http.Request) { end(w) })
	}
	client, _ := serve(t, router)
	var seen []capability.Progress
	var result controller.SwitchResult
	err := client.Switch(t.Context(), "result", SwitchRequest{To: capability.Extracted}, func(p capability.Progress) { seen = append(seen, p) }, &result)
	if err != nil || result.Epoch != 4 || len(seen) != 2 || seen[1].Done != 3 {
		t.Errorf("%v, %+v, %+v", err, result, seen)
	}
	err = client.Switch(t.Context(), "failure", SwitchRequest{}, func(capability.Progress) {}, nil)
	if err == nil || err.Error() != "the tables are locked" {
		t.Errorf("failure: %v", err)
	}
	err = client.Switch(t.Context(), "cut", SwitchRequest{}, func(capability.Progress) {}, nil)
	if err == nil || !strings.Contains(err.Error(), "strangler status") {
		t.Errorf("cut: %v", err)
	}
}

// TestOtherSitesAreRefused: a page that a person at the admin address has open
// elsewhere must not switch an owner.
func TestOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	router := mux.NewRouter()
	Control(router, func() (*controller.Controller, error) { return nil, errors.New("another one leads") })
	_, url := serve(t, router)
	for header, want := range map[string]int{"": http.StatusServiceUnavailable, "https://elsewhere.example": http.StatusForbidden} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/capabilities/orders/switch", strings.NewReader(`{"to":"extracted"}`))
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			request.Header.Set("Origin", header)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != want {
			t.Errorf("from %q: %d %v, want %d", header, response.StatusCode, err, want)
		}
		_ = response.Body.Close()
	}
}

// TestNamesOfOthersAreRefused: a page that has had its own name pointed at the admin
// address asks from its own site, and is known by that name alone. Health is asked by
// balancers under any.
func TestNamesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	router := NewRouter()
	Control(router, func() (*controller.Controller, error) { return nil, errors.New("another one leads") })
	Health(router, http.NotFoundHandler())
	var log strings.Builder
	handler := Protect(router, slog.New(slog.NewTextHandler(&log, nil)), "Admin.internal", "")
	ask := func(method, path, host string) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(`{"weight":10000}`))
		r.Host = host
		if method != http.MethodGet {
			r.Header.Set("Origin", "http://"+host)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	const change, read = "/api/capabilities/orders/traffic", "/api/capabilities"
	for _, host := range []string{"127.0.0.1:8090", "10.0.0.4", "[::1]:8090", "[2001:db8::1]", "localhost:8090", "LOCALHOST", "admin.internal:8090", "ADMIN.internal.", ""} {
		if got := ask(http.MethodPut, change, host).Code; host != "" && got != http.StatusServiceUnavailable {
			t.Errorf("a change at %q: %d", host, got)
		}
		if got := ask(http.MethodGet, read, host).Code; got != http.StatusServiceUnavailable {
			t.Errorf("a look at %q: %d", host, got)
		}
	}
	for _, host := range []string{"evil.example:8090", "evil.example", "127.0.0.1.evil.example:8090", "localhost.evil.example", "admin.internal.evil.example:8090", "evil.example:127.0.0.1", ":8090"} {
		for method, path := range map[string]string{http.MethodPut: change, http.MethodGet: read} {
			w := ask(method, path, host)
			if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "admin_names") {
				t.Errorf("%s at %q: %d %s", method, host, w.Code, w.Body)
			}
		}
	}
	if got := ask(http.MethodGet, "/healthz", "strangler.example").Code; got != http.StatusOK {
		t.Errorf("healthz: %d", got)
	}
	if n := strings.Count(log.String(), "host=evil.example:8090"); n != 1 {
		t.Errorf("one that asks twice is logged %d times:\n%s", n, log.String())
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	client := NewClient(server.URL, "")
	defer client.Close()
	_, err := client.Capabilities(t.Context())
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, syscall.ECONNREFUSED) || strings.Count(err.Error(), strings.TrimPrefix(server.URL, "http://")) != 1 {
		t.Errorf("%v", err)
	}
}

// TestDataPlane asks a real proxy through the API.
func TestDataPlane(t *testing.T) {
	t.Parallel()
	p, err := proxy.New(proxy.Options{ID: "one", Legacy: capability.Upstream{Endpoints: []string{"http://127.0.0.1:1"}}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	router := NewRouter()
	DataPlane(router, p)
	client, url := serve(t, router)
	if _, err := client.Capabilities(t.Context()); err == nil || !strings.Contains(err.Error(), "ask the admin address of the controller") {
		t.Errorf("a proxy alone is asked for capabilities: %v", err)
	}
	if status := get(t, url+"/proxy/explain"); status != http.StatusMethodNotAllowed {
		t.Errorf("GET of what is asked by POST: %d", status)
	}
	if err := client.Get(t.Context(), "/readyz", new(string)); err == nil {
		t.Error("ready without routes")
	}
	doc := capability.Document{Name: "orders", Routes: []capability.Route{{Path: "/api/orders/**"}}, Extracted: capability.Upstream{Endpoints: []string{"http://127.0.0.1:2"}}, Data: &capability.Data{}}
	state := capability.Effective{Capability: "orders", Revision: 5, Owner: capability.Legacy, Phase: capability.Switching, HasData: true}
	p.Update([]capability.Document{doc}, map[string]capability.Effective{"orders": state})
	var ready string
	if err := client.Get(t.Context(), "/readyz", &ready); err != nil {
		t.Error(err)
	}
	s, err := client.Serving(t.Context(), "orders", 5, true, time.Second)
	if err != nil || !s.Holding || s.Revision != 5 || s.Proxy != "one" {
		t.Errorf("%+v %v", s, err)
	}
	// A question for a revision that never comes is answered with what is true.
	if s, err = client.Serving(t.Context(), "orders", 6, false, time.Millisecond); err != nil || s.Revision != 5 {
		t.Errorf("%+v %v", s, err)
	}
	var d proxy.Decision
	if err := client.Post(t.Context(), "/proxy/explain", proxy.Request{Method: "POST", URL: "/api/orders/1", Address: "192.0.2.1:1"}, &d); err != nil || d.Capability != "orders" || d.Class != capability.Write {
		t.Errorf("%+v %v", d, err)
	}
	for _, bad := range []string{"/proxy/serving?revision=x", "/proxy/serving?wait=-1s", "/proxy/serving?wait=1h"} {
		if status := get(t, url+bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, status)
		}
	}
	if err := client.Post(context.WithoutCancel(t.Context()), "/proxy/explain", map[string]int{"unknown": 1}, &d); err == nil {
		t.Error("an unknown field passes")
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // read by nobody
	return response.StatusCode
}
