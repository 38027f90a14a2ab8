package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"strangler/capability"
	"strangler/proxy/pool"
)

// What an endpoint sends beyond its answers is counted for its side.
func TestUnaskedAnswersInMetrics(t *testing.T) {
	up := rawUpstream(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok?")
		}
	})
	registry := prometheus.NewRegistry()
	r := pairing{fronts[0], backs[0], pool.Standard}.before(t, nil, up, func(o *Options, _ *capability.Document) { o.Metrics = registry })
	r.get("GET", "/unclaimed", 200, nil)
	const want = "# HELP strangler_unasked_answers_total How often an endpoint of the extracted side, or of the monolith (no capability), sent more than it had announced.\n" +
		"# TYPE strangler_unasked_answers_total counter\n" +
		"strangler_unasked_answers_total{capability=\"\"} 1\nstrangler_unasked_answers_total{capability=\"orders\"} 0\n"
	var last error
	defer func() {
		if t.Failed() {
			t.Log(last)
		}
	}()
	eventually(t, "it is counted", func() bool {
		last = testutil.GatherAndCompare(registry, strings.NewReader(want), "strangler_unasked_answers_total")
		return last == nil
	})
}
