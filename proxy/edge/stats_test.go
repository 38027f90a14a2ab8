package edge

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/http2"
)

// Everything that is counted is in the metrics, and clients do not choose how much is
// logged.
func TestWhatClientsDoIsInTheMetrics(t *testing.T) {
	t.Parallel()
	inside, done := make(chan bool, 1), make(chan bool, 1)
	log, registry := &lines{}, prometheus.NewRegistry()
	s := run(t, Options{Log: log.logger(), Metrics: registry, HTTP2: true, Limits: Limits{HeaderBytes: 4 << 10}, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		inside <- true
		<-r.Context().Done()
		done <- true
	})})
	for range 5 {
		for _, raw := range []string{"GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 4<<10) + "\r\n\r\n"} {
			c := dial(t, s.address)
			send(t, c, raw)
			if _, err := io.ReadAll(c); err != nil {
				t.Error(err)
			}
		}
	}
	f := speak(t, dial(t, s.address))
	f.request(1, true)
	within(t, "the request", inside)
	f.must(f.WriteRSTStream(1, http2.ErrCodeCancel))
	within(t, "its end", done)
	until(t, "one connection is left", func() bool { return s.Stats().Open == 1 && s.Stats().Resets == 1 })
	want := `# HELP strangler_edge_connections Connections of clients that are open, upgraded ones included.
# TYPE strangler_edge_connections gauge
strangler_edge_connections 1
# HELP strangler_edge_failed_handshakes_total TLS handshakes that failed.
# TYPE strangler_edge_failed_handshakes_total counter
strangler_edge_failed_handshakes_total 0
# HELP strangler_edge_malformed_total Requests refused because two servers could read them differently.
# TYPE strangler_edge_malformed_total counter
strangler_edge_malformed_total 5
# HELP strangler_edge_resets_total HTTP/2 requests that their clients took back before they were answered.
# TYPE strangler_edge_resets_total counter
strangler_edge_resets_total 1
# HELP strangler_edge_stalled_total Connections and HTTP/2 streams given up because their client stalled.
# TYPE strangler_edge_stalled_total counter
strangler_edge_stalled_total 0
# HELP strangler_edge_too_large_total Requests refused because of edge.limits.header_bytes.
# TYPE strangler_edge_too_large_total counter
strangler_edge_too_large_total 5
# HELP strangler_edge_turned_away_total Connections closed at once because edge.limits.connections were open.
# TYPE strangler_edge_turned_away_total counter
strangler_edge_turned_away_total 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if log.count("malformed request") != 1 || log.count("too large") != 1 {
		t.Errorf("the log:\n%s", log)
	}
}

func TestALineLeftOutIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &lines{}
		var s Seldom
		log := func() { s.Log(out.logger(), slog.LevelInfo, "again", slog.Int("a", 1)) }
		for range 4 {
			log()
		}
		time.Sleep(between)
		log()
		log()
		if out.count("again") != 2 || out.count("a=1 left_out=3") != 1 || out.count("left_out") != 1 {
			t.Errorf("the log:\n%s", out)
		}
	})
}
