package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"strangler/internal/api"
	"strangler/internal/config"
	"strangler/proxy/breaker"
)

// labelled returns the lines of a status that have the label.
func labelled(text, label string) (found []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  "+label) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// Breakers are shown wherever somebody may look, also while they are closed and
// nothing has ever happened to them.
func TestBreakersAreShownEverywhere(t *testing.T) {
	t.Parallel()
	dir, clients, admin := trafficHouse(t, "log: {access: false}\n")
	h := &house{t: t, dir: dir, name: "orders"}
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(failing.Close)
	h.write("routes/orders.yaml", "capability: orders\nroutes: [{path: /api/orders/**}]\nextracted: {endpoints: ["+failing.URL+"]}\n"+
		"traffic: {owner: extracted, weight: 100%}\nresilience: {fallback: none, breaker: {requests: 2, open_for: 5m}}\n")
	h.up()
	h.types("weight", "orders", "100%") // and so every proxy serves it
	out := labelled(h.types("status"), "breaker")
	for i, side := range capability.Sides {
		want := regexp.MustCompile(`^breaker   ` + fmt.Sprintf("%-9s", side) + `  closed     since \d\d:\d\d:\d\d, never changed$`)
		if len(out) != 2 || !want.MatchString(out[i]) {
			t.Fatalf("closed breakers: %q, want %s", out, want)
		}
	}
	for range 2 {
		response, err := http.Get("http://" + clients + "/api/orders/1")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	out = labelled(h.types("status", "orders"), "breaker")
	want := regexp.MustCompile(`^breaker   extracted  open       since \d\d:\d\d:\d\d, tried again in [45]m\d+s: 2 of 2 requests failed within 10s; the last: answered 502$`)
	if len(out) != 2 || !want.MatchString(out[1]) {
		t.Errorf("an open breaker: %q, want %s", out, want)
	}
	h.types("breaker", "orders", "legacy", "observe")
	if out = labelled(h.types("status", "orders"), "breaker"); len(out) != 2 || !strings.Contains(out[0], "never changed (observe: everything passes)") {
		t.Errorf("a breaker that observes: %q", out)
	}
	text, _ := h.try("status", "orders", "--json")
	var s shownStatus
	h.must(json.Unmarshal([]byte(text), &s))
	if len(s.Breakers) != 2 || s.Breakers[1].State != breaker.Open || !strings.Contains(s.Breakers[1].Reason, "answered 502") || s.Breakers[1].Since.IsZero() ||
		s.Breakers[1].Proxy == "" || s.Breakers[0].State != breaker.Closed || len(s.Endpoints) != 1 {
		t.Errorf("in JSON: %+v, %+v", s.Breakers, s.Endpoints)
	}
	client := api.NewClient(admin, "test")
	defer client.Close()
	reported, err := client.Upstreams(t.Context())
	if err != nil || len(reported) != 1 || len(reported[0].Breakers) != 2 || reported[0].Breakers[1].State != breaker.Open {
		t.Errorf("in the API: %+v, %v", reported, err)
	}
	metrics, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(metrics.Body)
	_ = metrics.Body.Close()
	for _, want := range []string{
		`strangler_breaker_state{capability="orders",side="extracted"} 2`, `strangler_breaker_state{capability="orders",side="legacy"} 0`,
		`strangler_breaker_changed_timestamp_seconds{capability="orders",side="extracted"}`,
		`strangler_breaker_info{capability="orders",mode="enforce",reason="N of N requests failed within N; the last: answered 502",side="extracted"} 1`,
		`strangler_edge_connections `, `strangler_edge_turned_away_total 0`,
		`strangler_breaker_info{capability="orders",mode="observe",reason="never changed",side="legacy"} 1`,
	} {
		if err != nil || !strings.Contains(string(content), want) {
			t.Errorf("the metrics lack %s (%v)", want, err)
		}
	}
}

// apart runs a controller and a proxy as two processes would, until the test ends.
func (h *house) apart() {
	h.t.Helper()
	log, err := os.Create(filepath.Join(h.dir, "log"))
	h.must(err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 2)
	for _, args := range [][]string{{"controller"}, {"proxy", "--admin", "127.0.0.1:0"}} {
		go func() {
			ended <- run(ctx, &goodbye{}, append(args, "-c", filepath.Join(h.dir, "config.yaml")), log, log)
		}()
	}
	h.t.Cleanup(func() {
		stop()
		for range 2 {
			if status := <-ended; status != 0 {
				h.t.Errorf("ended with %d", status)
			}
		}
		if h.t.Failed() {
			content, _ := os.ReadFile(log.Name())
			h.t.Logf("%s", content)
		}
		_ = log.Close()
	})
}

// With the legacy database away no controller leads: the status says why, and
// shows what the proxies say all the same.
func TestStatusWithoutController(t *testing.T) {
	t.Parallel()
	dir, _, _ := trafficHouse(t, "log: {access: false}\n")
	h := &house{t: t, dir: dir, name: "orders"}
	content, err := os.ReadFile(filepath.Join(dir, "config.yaml"))
	h.must(err)
	h.write("config.yaml", strings.Replace(string(content), "legacy: {", "legacy: {database: 'postgres://127.0.0.1:1/shop', ", 1))
	h.apart()
	out, status := "", 0
	wanted := regexp.MustCompile(`(?m)^  breaker   orders  extracted  closed     since \d\d:\d\d:\d\d, never changed$`)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && (!wanted.MatchString(out) || !strings.Contains(out, "refused")); {
		out, status = h.try("status")
	}
	if status != 1 || !wanted.MatchString(out) || !strings.Contains(out, "error: no controller leads in this process: reach legacy database") {
		t.Errorf("exit status %d\n%s", status, out)
	}
	if out, status = h.try("status", "nosuch"); status != 1 || len(labelled(out, "breaker")) > 0 {
		t.Errorf("of another capability: exit status %d\n%s", status, out)
	}
}

// With a controller and proxies apart, the status shows the breakers of each
// proxy, and says of one that is gone that it does not answer, with its address
// once.
func TestStatusOfManyProxies(t *testing.T) {
	t.Parallel()
	dir, _, admin := trafficHouse(t, "log: {access: false}\n")
	h := &house{t: t, dir: dir, name: "orders"}
	h.apart()
	settings, problems := config.Load(filepath.Join(dir, "config.yaml"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s, err := newStore(settings, slog.New(slog.DiscardHandler))
	h.must(err)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	h.must(s.Register(t.Context(), capability.Registration{ID: "elsewhere-1", Admin: gone.URL, Renewed: time.Now().Add(time.Minute)}))
	out := ""
	for deadline := time.Now().Add(20 * time.Second); len(labelled(out, "breaker")) < 2 && time.Now().Before(deadline); {
		out, _ = h.try("status")
	}
	if len(labelled(out, "breaker")) != 2 {
		t.Errorf("the breakers of a proxy apart: %s", out)
	}
	silent := regexp.MustCompile(`(?m)^  proxy     elsewhere-1 \(http://127\.0\.0\.1:\d+: connect: connection refused\) does not answer$`)
	if !silent.MatchString(out) {
		t.Errorf("a proxy that is gone: %s", out)
	}
	if out := h.types("weight", "orders", "60%"); !strings.Contains(out, "warning: elsewhere-1 (") {
		t.Errorf("a weight does not say who may not serve it: %s", out)
	}
	if out, status := h.try("route", "list"); status != 1 || !strings.Contains(out, "ask the admin address of a proxy") {
		t.Errorf("a controller is asked for routes: %s", out)
	}
	client := api.NewClient(admin, "test")
	defer client.Close()
	reported, err := client.Upstreams(t.Context())
	if err != nil || len(reported) != 2 || reported[0].Proxy != "elsewhere-1" || reported[0].Error != "connect: connection refused" || len(reported[1].Breakers) != 2 {
		t.Errorf("in the API: %+v, %v", reported, err)
	}
}
